"""Prompts as T5 and its kin read them (Raffel et al. 2020), for the models whose text encoder that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones import tokens
from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.protocol import Piece, Text


class T5Text:
    """A tokenizer and an encoder. `reads_mask`: the encoder is told which columns are padding. `zero_pads`: their
    embeddings are set to zero, by which a network that reads text under a mask knows them."""

    def __init__(
        self,
        tokenizer: Any,
        encoder: Any,
        *,
        limit: int,
        reads_mask: bool,
        zero_pads: bool,
        prepare: Callable[[str], str],
    ) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder
        self.limit = tokens.text_limit(tokenizer, limit)
        self.reads_mask, self.zero_pads, self.prepare = reads_mask, zero_pads, prepare

    @classmethod
    def load(
        cls,
        layout: Layout,
        facts: Facts,
        *,
        kind: str,
        device: torch.device,
        dtype: torch.dtype,
        reads_mask: bool,
        zero_pads: bool,
    ) -> T5Text:
        """`kind`: the encoder's class in transformers, such as T5EncoderModel."""
        import transformers

        return cls(
            tokens.load_tokenizer(layout),
            load_part(layout, "text_encoder", device=device, dtype=dtype, kind=getattr(transformers, kind)),
            limit=facts.text_limit,
            reads_mask=reads_mask,
            zero_pads=zero_pads,
            prepare=facts.prepare,
        )

    def modules(self) -> tuple[Any, ...]:
        """As Prompts."""
        return (self.encoder,)

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        """As Backbone.tokens."""
        return tokens.pieces(self.tokenizer, prompt, self.limit, self.prepare)

    def text(self, prompt: str) -> Text:
        """As Backbone.text: embeds (1, limit, D)."""
        return self._read(prompt, zero_pads=self.zero_pads)

    def padded(self, prompt: str) -> Text:
        """`text` with what the encoder makes of the padding, in any case."""
        return self._read(prompt, zero_pads=False)

    @torch.no_grad()
    def _read(self, prompt: str, *, zero_pads: bool) -> Text:
        pieces = self.tokens(prompt)
        told = self.tokenizer(
            self.prepare(prompt),
            padding="max_length",
            max_length=self.limit,
            truncation=True,
            return_tensors="pt",
            verbose=False,
        )
        ids, mask = (told[name].to(self.encoder.device) for name in ("input_ids", "attention_mask"))
        embeds = self.encoder(ids, attention_mask=mask if self.reads_mask else None)[0].float()
        if zero_pads:  # set, not multiplied: a narrow encoder may give what isn't finite there
            embeds = embeds.masked_fill(mask[..., None] == 0, 0.0)
        return Text(prompt, embeds, pieces)


def real_columns(embeds: Tensor) -> Tensor:
    """Which rows of embeds (B, L, D) are tokens, bool (B, L): those that aren't all zeros."""
    return embeds.detach().abs().amax(-1) > 0

"""Prompts for Open-Sora 2.0: T5's states of every token, and CLIP's one vector of the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import Piece, Text
from vxedit.backbones.texts import T5Text


class T5AndClip:
    """Both encoders. The embeddings are T5's (1, L, D) and after them, as one more row, CLIP's vector, zeros behind it:
    so both go wherever embeddings go. A token's column is T5's."""

    def __init__(self, t5: T5Text, clip_tokenizer: Any, clip_encoder: Any) -> None:
        self.t5, self.clip_tokenizer, self.clip_encoder = t5, clip_tokenizer, clip_encoder

    def modules(self) -> tuple[Any, ...]:
        """As Prompts."""
        return (self.t5.encoder, self.clip_encoder)

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        """As Backbone.tokens."""
        return self.t5.tokens(prompt)

    def text(self, prompt: str) -> Text:
        """As Backbone.text: embeds (1, L + 1, D)."""
        text = self.t5.text(prompt)
        row = F.pad(self.pooled(prompt), (0, text.embeds.shape[2] - self.width))
        return replace(text, embeds=torch.cat((text.embeds, row[:, None].to(text.embeds)), 1))

    @property
    def width(self) -> int:
        """Numbers in CLIP's vector."""
        return int(self.clip_encoder.config.hidden_size)

    @torch.no_grad()
    def pooled(self, prompt: str) -> Tensor:
        """CLIP's vector (1, D') of the prompt, of which it reads what fits; T5 has read the rest."""
        told = self.clip_tokenizer(
            self.t5.prepare(prompt),
            padding="max_length",
            max_length=int(self.clip_encoder.config.max_position_embeddings),
            truncation=True,
            return_tensors="pt",
        )
        vector: Tensor = self.clip_encoder(told["input_ids"].to(self.clip_encoder.device)).pooler_output
        return vector.float()


def parted(embeds: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Embeddings (B, L + 1, D) as T5's (B, L, D) and CLIP's vector (B, `width`)."""
    return embeds[:, :-1], embeds[:, -1, :width]

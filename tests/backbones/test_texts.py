"""Prompts as T5 reads them, with an encoder that is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.backbones.tiny_t5 import write_tokenizer
from vxedit.backbones.texts import T5Text, real_columns

LIMIT = 12


class Overflowing:
    """Gives ones at tokens and, as a narrow encoder may, what is not finite at padding."""

    device = torch.device("cpu")

    def __init__(self, padding: float) -> None:
        self.padding = padding
        self.masks: list[Tensor | None] = []

    def __call__(self, ids: Tensor, *, attention_mask: Tensor | None) -> Any:
        self.masks.append(attention_mask)
        states = torch.where(ids[..., None] == 0, self.padding, 1.0).expand(-1, -1, 4)
        return (states.to(torch.float16),)


def prompts(folder: Path, encoder: Overflowing, **options: bool) -> T5Text:
    from transformers import AutoTokenizer

    write_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    assert tokenizer.pad_token_id == 0
    return T5Text(tokenizer, encoder, limit=LIMIT, prepare=str.lower, **options)


@pytest.mark.parametrize("padding", [float("inf"), float("nan"), 3.0])
def test_padding_is_rows_of_zeros_whatever_the_encoder_makes_of_it(tmp_path: Path, padding: float) -> None:
    reader = prompts(tmp_path, Overflowing(padding), reads_mask=True, zero_pads=True)
    text = reader.text("a red ball")
    tokens = len(text.pieces) + 1  # and the end
    assert real_columns(text.embeds)[0].tolist() == [True] * tokens + [False] * (LIMIT - tokens)
    assert torch.equal(text.embeds[0, tokens:], torch.zeros(LIMIT - tokens, 4))


def test_an_encoder_is_told_of_padding_where_it_reads_a_mask(tmp_path: Path) -> None:
    for reads_mask in (False, True):
        encoder = Overflowing(3.0)
        text = prompts(tmp_path, encoder, reads_mask=reads_mask, zero_pads=False).text("a red ball")
        assert float(text.embeds.min()) == 1.0
        assert bool(real_columns(text.embeds).all())
        assert (encoder.masks[0] is not None) == reads_mask


def test_the_least_number_of_a_narrow_format_is_still_a_token() -> None:
    embeds = torch.zeros(1, 2, 3, dtype=torch.float16)
    embeds[0, 0, 1] = -torch.finfo(torch.float16).smallest_normal
    assert real_columns(embeds).tolist() == [[True, False]]

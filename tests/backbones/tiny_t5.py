"""A tokenizer and a text encoder of T5's kind, in the layout in which video transformers are published with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

WIDTH = 32
"""Width of the text embeddings."""

WORDS = ("▁a", "▁red", "▁ball", "▁the", "▁on", "▁bur", "ger")
"""With these "ball", "red", "the", "on" and "a" are one token each, "burger" is two, and unknown words are letters."""


def write_tokenizer(folder: Path, *, most: int = 512) -> int:
    """Write tokenizer.json and its settings as T5's are published, and give the number of its tokens back."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import Unigram

    letters = [(letter, -8.0) for letter in "abcdefghijklmnopqrstuvwxyz.,'-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ:!?"]
    vocabulary = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -6.0),
        *((word, -2.0) for word in WORDS),
        *letters,
    ]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {"model_max_length": most, "tokenizer_class": "PreTrainedTokenizerFast", "extra_ids": 0}
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "tokenizer_config.json", settings | special)
    return len(vocabulary)


def write_text(folder: Path, *, kind: str = "T5EncoderModel", width: int = WIDTH, most: int = 512) -> None:
    """Write `tokenizer` and `text_encoder` of random weights into a model's folder."""
    import transformers

    tokens = write_tokenizer(folder / "tokenizer", most=most)
    config_kind = getattr(
        transformers, {"UMT5EncoderModel": "UMT5Config", "MT5EncoderModel": "MT5Config"}.get(kind, "T5Config")
    )
    config = config_kind(
        vocab_size=tokens,
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        getattr(transformers, kind)(config).eval().save_pretrained(folder / "text_encoder")


def save_part(folder: Path, model: Any, *, seed: int = 0, spread: float = 0.2) -> None:
    """Write a part of diffusers' kind with weights drawn anew: the classes begin some of theirs at zero, where a
    gradient would end."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(spread * torch.randn(weight.shape, generator=chance) + (1.0 if weight.ndim == 1 else 0.0))
    model.save_pretrained(folder)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")

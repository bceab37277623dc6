"""The embedded model's tokenizer: CLIP's byte-pair layout with merges learnt from the captions' words alone.

The merges are few, so frequent words are one token and others, as well as every unknown word, are several.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from vxedit.render.backgrounds import BACKGROUNDS
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import TEMPLATES

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 190
LENGTH = 48


def byte_alphabet() -> list[str]:
    """One printable character for each byte, as byte-level BPE writes them (Radford et al. 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    extra = iter(range(256, 512))
    return [chr(b) for b in plain] + [chr(next(extra)) for b in range(256) if b not in plain]


def caption_words() -> Counter[str]:
    """How often each word occurs over all captions the renderer can write."""
    words: Counter[str] = Counter()
    for name in DRAWINGS:
        words.update({word: len(BACKGROUNDS) * len(TEMPLATES) for word in name.split()})
    for place in BACKGROUNDS:
        words.update({word: len(DRAWINGS) * len(TEMPLATES) for word in place.split()})
    for template in TEMPLATES:
        text = template.replace("{objects}", "a").replace("{place}", "the")
        words.update({word: len(DRAWINGS) * len(BACKGROUNDS) for word in text.split()})
    return words


def learn_merges(words: Counter[str], count: int) -> list[tuple[str, str]]:
    """Byte-pair merges: the most frequent neighbouring pair is joined, `count` times (Sennrich et al. 2016)."""
    spelled = {(*word[:-1], word[-1] + "</w>"): n for word, n in words.items()}
    merges = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, n in spelled.items():
            for pair in pairwise(parts):
                pairs[pair] += n
        if not pairs:
            break
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        merges.append(best)
        spelled = {_join(parts, best): n for parts, n in spelled.items()}
    return merges


def _join(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    i = 0
    while i < len(parts):
        hit = parts[i : i + 2] == pair
        joined.append("".join(pair) if hit else parts[i])
        i += 2 if hit else 1
    return tuple(joined)


def write_tokenizer(folder: Path) -> int:
    """Write vocab.json, merges.txt and the two configuration files in CLIP's layout. Returns the vocabulary's size."""
    merges = learn_merges(caption_words(), MERGES)
    letters = byte_alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(
        json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False), "utf-8"
    )
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n", "utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    return len(tokens)

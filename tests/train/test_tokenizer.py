"""The tokenizer: merges learnt as they should be, read by transformers as CLIP's own is."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vxedit.render.backgrounds import BACKGROUNDS
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import TEMPLATES
from vxedit.train.tokenizer import LENGTH, byte_alphabet, caption_words, learn_merges, write_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def longest_captions() -> list[str]:
    names = [" and ".join(f"an {name}" for name in pair) for pair in itertools.permutations(DRAWINGS, 2)]
    longest = sorted(names, key=len)[-3:]
    return [t.format(objects=o, place=p) for t in TEMPLATES for o in longest for p in BACKGROUNDS]


def test_merges_join_the_most_frequent_neighbours_first() -> None:
    """b ends ab but not abc, so a+b</w> (3), then a+b before b+c</w> (2 each, in order), then what is left of abc."""
    words = Counter({"ab": 3, "abc": 2})
    assert learn_merges(words, 9) == [("a", "b</w>"), ("a", "b"), ("ab", "c</w>")]
    assert learn_merges(words, 1) == [("a", "b</w>")]
    assert learn_merges(Counter({"aaaa": 1}), 2) == [("a", "a"), ("a", "a</w>")]
    assert learn_merges(Counter(), 5) == []


def test_the_alphabet_has_one_printable_letter_for_every_byte() -> None:
    letters = byte_alphabet()
    assert len(set(letters)) == 256 and all(letter.isprintable() and letter != " " for letter in letters)
    assert {chr(code) for code in range(ord("a"), ord("z") + 1)} <= set(letters)


def test_every_word_of_a_caption_is_counted() -> None:
    words = caption_words()
    for caption in longest_captions():
        assert set(caption.split()) <= set(words) | {"an"}
    assert words["and"] > words["burger"] > 0


def test_the_vocabulary_has_every_merge_and_no_word_twice(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    merges = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert all(merge.replace(" ", "") in vocabulary for merge in merges)
    assert write_tokenizer(folder) == len(vocabulary)


def test_captions_come_back_and_fit(tokenizer: Any) -> None:
    for caption in longest_captions():
        ids = tokenizer(caption)["input_ids"]
        assert len(ids) <= LENGTH
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == caption
        assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
        assert max(ids) < len(tokenizer)


def test_padding_is_the_end_and_cuts_are_to_length(tokenizer: Any) -> None:
    ids = tokenizer("a ball", padding="max_length", max_length=LENGTH)["input_ids"]
    assert len(ids) == LENGTH and set(ids[4:]) == {tokenizer.eos_token_id}
    assert tokenizer.model_max_length == LENGTH


def test_common_words_are_a_token_and_unknown_ones_are_letters(tokenizer: Any) -> None:
    counts = {word: len(tokenizer.tokenize(word)) for word in caption_words()}
    assert counts["a"] == counts["and"] == counts["over"] == counts["the"] == 1
    assert sum(count == 1 for count in counts.values()) > len(counts) / 2
    assert len(tokenizer.tokenize("xylophone")) > 3
    assert tokenizer.decode(tokenizer("naïve 猫")["input_ids"], skip_special_tokens=True).strip() == "naïve 猫"
    assert tokenizer.unk_token_id not in tokenizer("naïve 猫")["input_ids"][1:-1]

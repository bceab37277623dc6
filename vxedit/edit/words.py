"""Which words two prompts share: what a word edit takes over from the old prompt's attention, column by column.

The three edits of prompt-to-prompt (Hertz et al. 2022, arXiv 2208.01626, section 3): a word swapped for another, words
added, a word made stronger or weaker. Needs the tokenizer alone.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vxedit.backbones.protocol import Piece
from vxedit.backbones.tokens import WORD, columns
from vxedit.errors import UsageError

Tokens = Callable[[str], tuple[Piece, ...]]

UNIT = re.compile(r"\w+|[^\w\s]")
"""What is aligned: runs of word characters, and every other character by itself. Wherever a phrase of whole words is
taken out of a prompt or put into it, the units around it stay what they are."""


class Link(NamedTuple):
    """Columns of the prompt, and those of the new prompt that take their attention over: one to one where they are
    equally many, else each source column's in equal shares to every target column."""

    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class WordEdit:
    """From `prompt` to `target`, the new prompt.

    `links` leads from one's columns to the other's, words and all before them. `changed`: columns of the target that
    are new, replaced or reweighted; `source_changed`: columns of the prompt that are replaced, dropped or reweighted;
    `gone`: those of them that are replaced or dropped.
    `weights`: pairs of a target column and what its attention is multiplied by. `ends`: the column of each prompt's
    end token.
    """

    prompt: str
    target: str
    links: tuple[Link, ...]
    changed: tuple[int, ...]
    source_changed: tuple[int, ...]
    gone: tuple[int, ...]
    weights: tuple[tuple[int, float], ...]
    ends: tuple[int, int]

    def mapping(self, length: int) -> np.ndarray:
        """M (length, length) float32, from source columns (rows) to target columns: P_source M is the attention that
        the target takes over. A row sums to 1, or to 0 for a word that is dropped; columns of zeros are the target's
        own. Raises ValueError where `length` has no room for a prompt."""
        if max(self.ends) >= length:
            raise ValueError(f"the prompts end in columns {self.ends}: the text needs more than {length} columns")
        matrix = np.zeros((length, length), np.float32)
        for source, target in (*self.links, *_tail(*self.ends, length)):
            if len(source) == len(target):
                matrix[source, target] = 1
            else:
                matrix[np.ix_(source, target)] = 1 / len(target)
        return matrix

    def factors(self, length: int) -> np.ndarray:
        """(length,) float32: what the attention to each target column is multiplied by. Weights of the same column
        multiply."""
        factors = np.ones(length, np.float32)
        for column, weight in self.weights:
            factors[column] *= weight
        return factors

    def replaces(self, columns: Sequence[int]) -> bool:
        """Whether these columns of the prompt, or some of them, become or give way to other words."""
        return bool(set(columns) & set(self.gone))

    def carried(self, columns: Sequence[int]) -> tuple[int, ...]:
        """The target's columns of the words that took over from these of the prompt; where they were dropped, the
        columns that changed."""
        found = {column for link in self.links if set(link.source) & set(columns) for column in link.target}
        return tuple(sorted(found)) or self.changed


def word_edit(
    tokens: Tokens,
    prompt: str,
    *,
    replace: Mapping[str, str] | None = None,
    refine: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> WordEdit:
    """The edit that puts words of `replace` in others' places, adds those that `refine`, the new prompt in full, has
    more, and multiplies the attention to words of the new prompt by `weights`.

    Words are aligned, not tokens: those that both prompts have, in their order, keep their attention. Replaced words
    hand theirs on; a word that `refine` alone has gets its own. With both, `refine` holds the replaced words already.
    A word that is there several times is the first one. Raises UsageError where that can't be meant, and the
    tokenizer's own where the new prompt is too long.
    """
    found = tokens(prompt)
    source = _units(prompt, found)
    swaps = sorted(_swap(found, prompt, old, new) for old, new in (replace or {}).items())
    _check_apart(swaps)
    middle = _swapped(prompt, swaps)
    target = middle if refine is None else refine
    _check_asked(source, target, weights)
    target_found = tokens(target)
    groups = tuple(_groups(source, swaps))
    links = _align(groups, _units(target, target_found))
    _check_kept(groups, links, prompt, target)
    weighted = tuple(_weighted(target_found, target, weights or {}))
    stressed = {column for column, weight in weighted if weight != 1}
    handed = {column for link in links for column in link.target}
    changed = {piece.column for piece in target_found} - handed | stressed
    source_changed: set[int] = set()
    gone: set[int] = set()
    for group, link in zip(groups, links, strict=True):
        if group.replaced or not link.target or stressed & set(link.target):
            source_changed |= set(link.source)
            changed |= set(link.target) if group.replaced else set()
        if group.replaced or not link.target:
            gone |= set(link.source)
    start = tuple(Link((column,), (column,)) for column in range(found[0].column))
    return WordEdit(
        prompt,
        target,
        start + tuple(link for link in links if link.source and link.target),
        tuple(sorted(changed)),
        tuple(sorted(source_changed)),
        tuple(sorted(gone)),
        weighted,
        (found[-1].column + 1, target_found[-1].column + 1),
    )


class _Unit(NamedTuple):
    """A word or sign of a prompt: its lower-case text, its characters [start, end), its columns."""

    text: str
    start: int
    end: int
    columns: tuple[int, ...]


class _Swap(NamedTuple):
    """Characters [start, end) of the prompt, and what is put in their place."""

    start: int
    end: int
    old: str
    new: str


class _Group(NamedTuple):
    """Source columns that hand their attention on together, and the words, lower-case, that take it over."""

    columns: tuple[int, ...]
    words: tuple[str, ...]
    replaced: str | None = None


def _units(prompt: str, found: Sequence[Piece]) -> tuple[_Unit, ...]:
    """The prompt's units. A piece belongs to the first unit that ends after the piece's start: some tokenizers count
    the blank before a word to it."""
    spans = [(match[0].casefold(), *match.span()) for match in UNIT.finditer(prompt)]
    owner = {piece: next((k for k, span in enumerate(spans) if span[2] > piece.start), -1) for piece in found}
    return tuple(
        _Unit(*span, tuple(piece.column for piece in found if owner[piece] == k)) for k, span in enumerate(spans)
    )


def _swap(found: Sequence[Piece], prompt: str, old: str, new: str) -> _Swap:
    at = _columns(found, prompt, old, "to replace")
    pieces = [piece for piece in found if piece.column in at]
    start, end = pieces[0].start, pieces[-1].end
    start += len(prompt[start:end]) - len(prompt[start:end].lstrip())
    there = prompt[start:end]
    if not UNIT.search(new):
        raise UsageError(f"to replace: nothing is given to put in the place of {there!r}; give a word, or leave it out")
    if new.casefold().split() == there.casefold().split():
        raise UsageError(f"to replace: {there!r} and {new!r} are the same word; give another, or leave it out")
    return _Swap(start, end, there, new.strip())


def _check_apart(swaps: Sequence[_Swap]) -> None:
    for first, second in itertools.pairwise(swaps):
        if second.start < first.end:
            raise UsageError(f"to replace: {first.old!r} and {second.old!r} are the same place of the prompt; name one")


def _check_asked(source: Sequence[_Unit], target: str, weights: Mapping[str, float] | None) -> None:
    same = [unit.text for unit in source] == _words(target)
    if same and not weights:
        raise UsageError(
            f"the new prompt {target!r} is the old one and no word is weighted: nothing is asked for; "
            "replace a word, add some, or weight one"
        )


def _check_kept(groups: Sequence[_Group], links: Sequence[Link], prompt: str, target: str) -> None:
    for group, link in zip(groups, links, strict=True):
        if group.replaced and not link.target:
            new = " ".join(group.words)
            raise UsageError(f"{new!r}, which replaces {group.replaced!r}, is not in the new prompt {target!r}; add it")
    pairs = zip(groups, links, strict=True)
    if not any(link.source and link.target and any(map(WORD.match, group.words)) for group, link in pairs):
        there = ", ".join(dict.fromkeys(WORD.findall(prompt))) or "none"
        raise UsageError(
            f"the new prompt {target!r} has none of the prompt's words ({there}): nothing of the clip would be kept; "
            "write the prompt anew with words added"
        )


def _weighted(found: Sequence[Piece], target: str, weights: Mapping[str, float]) -> Iterator[tuple[int, float]]:
    for word, weight in weights.items():
        if not math.isfinite(weight):
            raise UsageError(f"the weight of {word!r} is {weight}; give a finite number, 1 to leave the word as it is")
        yield from ((column, float(weight)) for column in _columns(found, target, word, "to weight"))


def _columns(found: Sequence[Piece], prompt: str, word: str, purpose: str) -> tuple[int, ...]:
    try:
        return columns(found, prompt, word)
    except UsageError as err:
        raise UsageError(f"{purpose}: {err}") from err


def _words(prompt: str) -> list[str]:
    return [match[0].casefold() for match in UNIT.finditer(prompt)]


def _swapped(prompt: str, swaps: Sequence[_Swap]) -> str:
    for swap in reversed(swaps):  # from the last on, so that places stay what they are
        prompt = prompt[: swap.start] + swap.new + prompt[swap.end :]
    return prompt


def _groups(source: Sequence[_Unit], swaps: Sequence[_Swap]) -> Iterator[_Group]:
    """The source's units, in order, each by itself or together with the others that one swap replaces."""
    waiting = list(swaps)
    for unit in source:
        swap = next((swap for swap in swaps if swap.start <= unit.start < swap.end), None)
        if swap is None:
            yield _Group(unit.columns, (unit.text,))
        elif swap in waiting:
            waiting.remove(swap)
            taken = (other for other in source if swap.start <= other.start < swap.end)
            at = tuple(column for other in taken for column in other.columns)
            yield _Group(at, tuple(_words(swap.new)), swap.old)


def _align(groups: Sequence[_Group], target: Sequence[_Unit]) -> tuple[Link, ...]:
    """A link for each group, to the units that have its words in the same order; some may have none."""
    words = [(word, k) for k, group in enumerate(groups) for word in group.words]
    matcher = difflib.SequenceMatcher(None, [word for word, _ in words], [unit.text for unit in target], autojunk=False)
    taken: list[tuple[int, ...]] = [()] * len(groups)
    for first, second, size in matcher.get_matching_blocks():
        for (_, k), unit in zip(words[first : first + size], target[second : second + size], strict=True):
            taken[k] += unit.columns
    return tuple(Link(group.columns, at) for group, at in zip(groups, taken, strict=True))


def _tail(source_end: int, target_end: int, length: int) -> Iterator[Link]:
    """The end token to the end token, padding to padding in the same column. Where one prompt has padding and the
    other words, that padding's attention joins the first column that is padding in both."""
    first = max(source_end, target_end) + 1
    if first >= length:  # one of them has no padding
        yield Link(tuple(range(source_end, length)), tuple(range(target_end, length)))
        return
    yield Link((source_end,), (target_end,))
    yield Link(tuple(range(source_end + 1, first + 1)), tuple(range(target_end + 1, first + 1)))
    yield from (Link((column,), (column,)) for column in range(first + 1, length))

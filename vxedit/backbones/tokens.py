"""From a prompt to its tokens, and from the object's word to its columns in the text embeddings."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vxedit.backbones.family import Tokenizer, as_it_is
from vxedit.backbones.layout import Layout, first_line
from vxedit.backbones.protocol import Piece
from vxedit.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

SENTENCEPIECE = "run `pip install vxedit[dit]`, which brings sentencepiece and protobuf"

WORD = re.compile(r"\w+(?:['’-]\w+)*")


def load_tokenizer(layout: Layout, which: Tokenizer | None = None) -> Any:
    """The model's tokenizer, or `which` of its tokenizers, a fast one; needs no torch. Raises ModelError where it can't
    be read."""
    where = which or layout.family.tokenizer
    folder = layout.path(where.folder)
    try:
        if where.kind == "clip":
            from transformers import CLIPTokenizerFast

            return CLIPTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=True)
    except ImportError as err:
        raise ModelError(f"{folder} needs a package to be read ({first_line(err)}): {SENTENCEPIECE}") from err
    except Exception as err:
        raise ModelError(f"{folder} can't be read: {first_line(err)}; get the model's files again") from err


def text_limit(tokenizer: Any, positions: int) -> int:
    """Columns that a prompt may take with start and end: published tokenizers often leave it to the text encoder, whose
    configuration gives its `positions`."""
    return min(int(tokenizer.model_max_length), positions)


def pieces(tokenizer: Any, prompt: str, limit: int, prepare: Callable[[str], str] = as_it_is) -> tuple[Piece, ...]:
    """The tokens that `prompt` is made of, start, end and padding left out, from a fast tokenizer's offsets. `prepare`
    as Facts': what it adds after the prompt is left out too.

    Raises UsageError, naming the words that don't fit, where the prompt with start and end takes over `limit` columns.
    """
    told = tokenizer(prepare(prompt), return_offsets_mapping=True, truncation=False, verbose=False)
    offsets = told["offset_mapping"]
    # Start and end cover no characters. They can't be told by id: ModelScope pads with "!", which prompts have too.
    spans = [(start + _blanks(prompt[start:end]), end) for start, end in offsets]
    found = tuple(
        Piece(column, start, end) for column, (start, end) in enumerate(spans) if start < min(end, len(prompt))
    )
    if len(offsets) > limit:
        room = max(0, limit - (len(offsets) - len(found)))
        cut = [match[0] for match in WORD.finditer(prompt) if match.end() > found[room].start]
        raise UsageError(
            f"the prompt has {len(found)} tokens and the model takes {room}: these words don't fit: {', '.join(cut)}; "
            "shorten the prompt"
        )
    return found


def _blanks(text: str) -> int:
    """How many blanks a token begins with: sentencepiece counts the one before a word to the word."""
    return len(text) - len(text.lstrip())


def token_ids(tokenizer: Any, prompt: str, limit: int) -> Tensor:
    """The prompt as the text encoder takes it: ids (1, limit), padded."""
    return tokenizer(prompt, padding="max_length", max_length=limit, return_tensors="pt", verbose=False)["input_ids"]


def columns(found: Sequence[Piece], prompt: str, obj: str) -> tuple[int, ...]:
    """The columns of the first place in `prompt` where the word or phrase `obj` stands, every piece of it.

    Whole words, in any case. Where `obj` itself isn't there, its plural, singular or possessive is taken, and logged.
    Raises UsageError, naming the words that are there, where none is.
    """
    start, end = _place(prompt, obj)
    chosen = tuple(piece.column for piece in found if piece.start < end and piece.end > start)
    if not chosen:
        raise UsageError(f"the model's tokens leave out {obj!r}: name the object with another word of the prompt")
    return chosen


def _place(prompt: str, obj: str) -> tuple[int, int]:
    for words in _forms(obj.split()):
        pattern = r"(?<!\w)" + r"\s+".join(re.escape(word) for word in words) + r"(?!\w)"
        places = [match.span() for match in re.finditer(pattern, prompt, re.IGNORECASE)]
        if not places:
            continue
        start, end = places[0]
        if words != obj.split():
            logger.warning("%r is not in the prompt, taking %r", obj, prompt[start:end])
        if len(places) > 1:
            logger.info("%r is in the prompt %d times, taking the first", obj, len(places))
        return start, end
    raise UsageError(_absent(prompt, obj))


def _forms(words: list[str]) -> Iterator[list[str]]:
    """What is looked for, the word itself first: then its last word without or with an ending."""
    if not words:
        return
    *before, last = words
    yield words
    lower = last.lower()
    for ending in ("'s", "’s", "es", "s"):
        if lower.endswith(ending) and len(last) > len(ending) + 1:
            yield [*before, last[: -len(ending)]]
    for ending in ("s", "es"):
        yield [*before, last + ending]
    if lower.endswith("y"):
        yield [*before, last[:-1] + "ies"]
    if lower.endswith("ies"):
        yield [*before, last[:-3] + "y"]


def _absent(prompt: str, obj: str) -> str:
    words = list(dict.fromkeys(match[0] for match in WORD.finditer(prompt)))
    there = f"its words are: {', '.join(words)}" if words else "it has no words"
    if not obj.strip():
        return f"the object's word is empty: name a word of the prompt; {there}"
    near = difflib.get_close_matches(obj.lower(), [word.lower() for word in words], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{obj!r} is not in the prompt {prompt!r}; {hint}{there}; name one of them, or change --prompt"

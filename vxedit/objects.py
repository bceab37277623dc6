"""The objects of a job: what is known of each before the model is loaded, and where each is in the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vxedit.backbones.protocol import Piece
from vxedit.backbones.tokens import columns
from vxedit.edit.comoving import with_comoving
from vxedit.edit.locate import Located, locate, mask_boxes
from vxedit.edit.novel import with_novel
from vxedit.edit.path import Path as Motion
from vxedit.edit.refine import refine
from vxedit.edit.steady import steadied_object
from vxedit.edit.track import follow, follow_mask
from vxedit.errors import UsageError
from vxedit.io.fit import resize_frames
from vxedit.job import ObjectJob

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Wanted:
    """One object: the word `obj`, its tokens' `columns`, its `motion`, and what says where it is in the source, if
    anything does: a `box` in the first frame, or `masks` bool (1 or F, H, W)."""

    obj: str
    columns: tuple[int, ...]
    motion: Motion
    box: Box | None = None
    masks: np.ndarray | None = None


def check_words(objects: Sequence[ObjectJob], pieces: Sequence[Piece], prompt: str) -> list[tuple[int, ...]]:
    """Every object's columns. Raises UsageError where a word is not in the prompt, or two objects share one."""
    found = [columns(pieces, prompt, one.obj) for one in objects]
    for i, here in enumerate(found):
        for j in range(i):
            if set(here) & set(found[j]):
                raise UsageError(
                    f"two objects are named by the same word of the prompt: {objects[j].obj!r} and {objects[i].obj!r}; "
                    "give each its own, or give the one two keyframes"
                )
    return found


def check_place(one: ObjectJob) -> None:
    """Raises UsageError where it is said twice where the object is, or in a way that can't be meant."""
    if one.box is not None and one.mask is not None:
        raise UsageError("--box and --mask both say where the object is: give one of them")
    check_box(one.box)


def check_box(box: Box | None) -> None:
    """Raises UsageError unless box is None or a box in shares of the frame."""
    if box is None:
        return
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise UsageError(f"--box {x0},{y0},{x1},{y1} is no box: give shares of the frame, 0 <= x0 < x1 <= 1, y alike")


def find_objects(wanted: Sequence[Wanted], seen: np.ndarray, attentions: Sequence[np.ndarray]) -> list[Located]:
    """Where the objects are in frames uint8 (F, H, W, 3) at the model's size: from their masks or box, else from the
    attention (F, h, w) on their words. What two found by attention both claim is the one's that is looked at more."""
    found = [_find(one, seen, attention) for one, attention in zip(wanted, attentions, strict=True)]
    if len(found) < 2:
        return found
    size = (seen.shape[2], seen.shape[1])
    scores = [np.stack([cv2.resize(a, size) for a in attention / attention.max()]) for attention in attentions]
    best = np.argmax(scores, 0)
    apart = []
    for k, one in enumerate(found):
        others = np.logical_or.reduce([other.masks for j, other in enumerate(found) if j != k])
        lost = others & (best != k)
        masks = one.masks & ~lost
        if wanted[k].masks is not None or wanted[k].box is not None or not masks.any():
            apart.append(one)
            continue
        reach = None if one.reach is None else one.reach & ~lost
        cover = None if one.cover is None else np.where(lost, 0, one.cover)
        boxes = mask_boxes(masks) if (masks != one.masks).any() else one.boxes
        apart.append(Located(masks, boxes, reach, one.camera, cover))
    return apart


def _find(wanted: Wanted, seen: np.ndarray, attention: np.ndarray) -> Located:
    if wanted.masks is not None:
        masks = np.stack([_resized(mask, *seen.shape[1:3]) for mask in wanted.masks])
        return follow_mask(seen, masks[0]) if len(masks) == 1 else Located(masks, mask_boxes(masks))
    if wanted.box is not None:
        return steadied_object(seen, follow(seen, np.array(wanted.box, float)), boxes=False)
    return steadied_object(seen, with_novel(seen, with_comoving(seen, refine(seen, locate(seen, attention)))))


def _resized(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    levels = np.repeat(mask[None, ..., None].astype(np.uint8) * 255, 3, -1)
    return resize_frames(levels, height, width)[0, ..., 0] > 127

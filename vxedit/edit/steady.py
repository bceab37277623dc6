"""An object's outline and box made steady: what its neighbouring frames say of a pixel counts as well.

A cut of one frame loses a tail here and a leaf there, and a result that is laid from it flickers. So each frame's mask
is voted on by those around it, the object's own motion undone, and by colour: a pixel that looks like the object does
in the other frames, and not like the background, is the object's.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from vxedit.edit.locate import Located, filled, grown, mask_boxes
from vxedit.edit.pieces import strongest_piece
from vxedit.edit.plate import Plate, clean_plate
from vxedit.edit.refine import camera_of, hidden_by
from vxedit.edit.scene import soften
from vxedit.edit.track import similarity
from vxedit.optical_flow import flow_between

REACH = 3
"""Frames to either side that have a vote, the farther the less."""

VOTES = 8.0
"""How much votes weigh: a unanimous one half of this, against colour, which weighs at most 3."""

ALIKE = 12.0
"""Grey levels by which a pixel must be nearer to the object than to the background for colour to weigh 1."""

EDGE = 2.0
"""Pixels of a frame 128 wide beyond a mask over which an outline's edge may run."""

DOUBT = 4.0
"""Pixels of a frame 128 wide beyond a mask that its frames agree on that may be the object's still."""

CONTRAST = 1.3
"""How much narrower than the votes' own spread an outline's soft edge is."""


def steadied_object(frames: np.ndarray, found: Located, *, boxes: bool = True) -> Located:
    """The object with masks that agree from frame to frame of frames uint8 (F, H, W, 3), and its soft `cover`.

    Its boxes are then those of the masks, smoothed over time; `boxes` False leaves them as they were found.
    """
    if len(frames) < 2:
        return found
    moves = object_motion(frames, found.masks)
    hidden = hidden_by(found, margin=8.0)
    camera = camera_of(frames, found)
    plate = clean_plate(frames, hidden, camera)
    sigma = 0.8 * frames.shape[2] / 128
    soft = soften(found.masks, sigma)
    masks = np.stack([_voted(frames, found.masks, soft, moves, plate, i) for i in range(len(frames))])
    soft = soften(masks, sigma)
    cover = np.stack([_votes(soft, moves, i).share for i in range(len(frames))])
    masks = np.stack([_kept(one > 0.5, before, one) for one, before in zip(cover, masks, strict=True)])
    cover = np.clip((cover - 0.5) * CONTRAST + 0.5, 0, 1) * _near(masks, EDGE)
    tight = smoothed(mask_boxes(masks)) if boxes else found.boxes
    reach = None if found.reach is None else masks | (found.reach & _near(masks, DOUBT))
    return replace(found, masks=masks, boxes=tight, reach=reach, camera=camera, cover=cover.astype(np.float32))


def object_motion(frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(F, 3, 3): maps from the object's pixels in frame 0 to the same points' in frame i; shift, scale and turn, from
    the dense flow of its inner pixels, sought from where the masks' middles lead. Where too few agree the object is
    taken to stand still between two frames."""
    maps = [np.eye(3)]
    middles = [middle(mask) if mask.any() else None for mask in masks]
    inner = np.stack([cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) for mask in masks]) > 0
    for (before, after), mask, (here, there) in zip(pairwise(frames), inner[:-1], pairwise(middles), strict=True):
        shift = None if here is None or there is None else there - here
        warp = similarity(mask, flow_between(before, after, shift))
        maps.append(np.vstack([np.eye(3)[:2] if warp is None else warp, [0, 0, 1]]) @ maps[-1])
    return np.stack(maps)


def middle(mask: np.ndarray) -> np.ndarray:
    """The mean place (2,) of a mask's pixels, across and down; of one (H, W) bool that is not empty."""
    return np.argwhere(mask).mean(0)[::-1]


def smoothed(boxes: np.ndarray, *, reach: int = 3) -> np.ndarray:
    """Boxes (F, 4) without the jitter of whole pixels: in each frame the value of a parabola fitted to those up to
    `reach` frames away, the nearer counting more (LOESS, Cleveland 1979)."""
    times, out = np.arange(len(boxes), dtype=float), np.empty(boxes.shape)
    for i in range(len(boxes)):
        weight = np.clip(1 - (np.abs(times - i) / (reach + 1)) ** 3, 0, None) ** 1.5
        use = weight > 0
        terms = np.vander(times[use] - i, min(3, int(use.sum())), increasing=True)
        fitted, *_ = np.linalg.lstsq(terms * weight[use, None], boxes[use] * weight[use, None], rcond=None)
        out[i] = fitted[0]
    return out


class _Votes(NamedTuple):
    """Of the frames around one: the `share` (H, W) of their votes for the object, and of those but the frame itself the
    object's `colour` (H, W, 3) and how surely it is one, `sure` (H, W) in [0, 1]."""

    share: np.ndarray
    colour: np.ndarray
    sure: np.ndarray


def _votes(soft: np.ndarray, moves: np.ndarray, i: int, frames: np.ndarray | None = None) -> _Votes:
    """What the frames around frame i, their masks softened, say of it, seen along the object's motion (F, 3, 3)."""
    height, width = soft.shape[1:]
    total, share = 0.0, np.zeros((height, width), np.float32)
    seen, colour, sure = np.zeros_like(share), np.zeros((height, width, 3), np.float32), np.zeros_like(share)
    for j in range(max(0, i - REACH), min(len(soft), i + REACH + 1)):
        warp = (moves[i] @ np.linalg.inv(moves[j]))[:2]
        vote = cv2.warpAffine(soft[j], warp, (width, height), flags=cv2.INTER_LINEAR)
        weight = 1 - abs(i - j) / (REACH + 1)
        share += weight * vote
        total += weight
        if frames is not None and j != i:
            view = cv2.warpAffine(frames[j].astype(np.float32), warp, (width, height), flags=cv2.INTER_LINEAR)
            colour += view * (weight * vote)[..., None]
            seen += weight * vote
            sure = np.maximum(sure, weight * vote)
    return _Votes(share / total, colour / np.maximum(seen, 1e-6)[..., None], sure)


def _voted(
    frames: np.ndarray, masks: np.ndarray, soft: np.ndarray, moves: np.ndarray, plate: Plate, i: int
) -> np.ndarray:
    votes = _votes(soft, moves, i, frames)
    frame = frames[i].astype(np.float32)
    apart = [np.abs(frame - other).max(-1) for other in (plate.frames[i].astype(np.float32), votes.colour)]
    telling = plate.known[i] & (votes.sure > 0.5)
    colour = np.where(telling, np.clip((apart[0] - apart[1]) / ALIKE, -3, 3), 0)
    near = grown((votes.share > 0.25) | masks[i], frames.shape[2] / 128)
    return _kept((VOTES * (votes.share - 0.5) + colour > 0) & near, masks[i], votes.share)


def _kept(mask: np.ndarray, before: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The mask's main piece without holes; the one before where most of that is gone: the votes don't agree then."""
    piece = filled(strongest_piece(mask, score))
    return piece if piece.sum() >= 0.35 * before.sum() else before


def _near(masks: np.ndarray, margin: float) -> np.ndarray:
    """Masks (F, H, W) bool grown by `margin` pixels of a frame 128 wide."""
    return np.stack([grown(mask, margin * masks.shape[2] / 128) for mask in masks])

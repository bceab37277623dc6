"""Where the object is in the source: from the attention on its word, a box, or a mask, sharpened on the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from vxedit.backbones.protocol import Backbone
from vxedit.edit.attention import mean_map, words_maps
from vxedit.edit.pieces import strongest_piece, strongest_track
from vxedit.errors import UsageError
from vxedit.invert.inversion import Inversion

LEVELS = (0.95, 0.85, 0.7, 0.5)
"""Signal shares (abar) at which the word's attention is read: enough picture to see by, enough noise to have to
look."""

SURROUND = 0.5
"""How far round a box, in shares of its sides, its background is looked at."""

CUT_SIDE = 320
"""The geometric mean of the sides, in pixels, at which an outline is cut."""

CUT_PIXELS = 2**21
"""The most pixels of one cut."""

LEAST_CUT = 0.3
"""The share of its box's ellipse that a cut-out fills at least; below, colours don't tell the object from its
background, and the ellipse is taken."""


@dataclass(frozen=True)
class Located:
    """The object through the source: `masks` bool (F, H, W) and their `boxes` (F, 4) xyxy in [0, 1].

    `reach` bool (F, H, W), or None for the masks alone: what may be the object too, and so can't be taken for
    background.
    `camera` (F, 3, 3): the camera's motion in pixels, as `plate.register` gives it, where it has been found already.
    `cover` float32 (F, H, W) in [0, 1]: how much of each pixel is the object's, or None where the masks alone say it.
    """

    masks: np.ndarray
    boxes: np.ndarray
    reach: np.ndarray | None = None
    camera: np.ndarray | None = None
    cover: np.ndarray | None = None

    @property
    def extent(self) -> np.ndarray:
        """All that may be the object, bool (F, H, W): its reach, or the masks alone."""
        return self.masks if self.reach is None else self.reach

    def with_masks(self, masks: np.ndarray) -> Located:
        """The object with other masks, bool (F, H, W), their boxes, and a reach that holds them and what it held; the
        rest stays."""
        reach = masks if self.reach is None else masks | self.reach
        return replace(self, masks=masks, boxes=mask_boxes(masks), reach=reach)


def words_attention(
    backbone: Backbone,
    inversion: Inversion,
    words: Sequence[Sequence[int]],
    *,
    layers: Sequence[str] | None = None,
) -> list[np.ndarray]:
    """The attention on each word, given by its columns, along the trajectory: (f, h, w) on the latents' grid, the mean
    over a few levels of noise."""
    embeds = backbone.text(inversion.prompt).embeds
    height, width = inversion.pivots.shape[-2:]
    abar = np.array(inversion.schedule.abar[:-1])
    chosen = sorted({int(np.abs(abar - level).argmin()) for level in LEVELS})
    total = torch.zeros(len(words), inversion.pivots.shape[2], height, width)
    with torch.no_grad():
        for i in chosen:
            maps = words_maps(
                backbone, inversion.pivot(i), inversion.schedule.timesteps[i], embeds, words, layers=layers
            )
            for k in range(len(words)):
                one = {name: found[:, k] for name, found in maps.items()}
                total[k] += mean_map(one, (height, width))[0].float().cpu()
    return list((total / len(chosen)).numpy())


def per_frame(values: np.ndarray, spans: Sequence[Sequence[int]], frames: int) -> np.ndarray:
    """What is known of the latents' frames, (f, ...), for each of the clip's `frames`, (F, ...): that of the one whose
    span, as Backbone.spans gives it, it is in."""
    owner = np.zeros(frames, int)
    for i, span in enumerate(spans):
        owner[list(span)] = i
    return values[owner]


def attention_in_frames(
    backbone: Backbone, inversion: Inversion, words: Sequence[Sequence[int]], frames: int
) -> list[np.ndarray]:
    """The attention on each word, given by its columns, in every one of the clip's `frames`: (F, h, w)."""
    spans = backbone.spans(frames)
    return [per_frame(one, spans, frames) for one in words_attention(backbone, inversion, words)]


def concentration(attention: np.ndarray) -> np.ndarray:
    """How much more of a map's mass lies in the tenth of the frame where it is strongest than if it were flat: (F,), 1
    to 10."""
    flat = np.sort(attention.reshape(len(attention), -1), axis=1)[:, ::-1]
    tenth = max(1, flat.shape[1] // 10)
    return flat[:, :tenth].sum(1) / np.maximum(flat.sum(1), 1e-12) / (tenth / flat.shape[1])


def locate(frames: np.ndarray, attention: np.ndarray) -> Located:
    """The object's masks from frames uint8 (F, H, W, 3) and the attention on its word (F, h, w).

    Each map, halfway between its median and its peak, gives a rough region, of which one piece is followed through the
    clip; a graph cut on the pixels' colours (GrabCut, Rother et al. 2004) then finds its outline.
    """
    height, width = frames.shape[1:3]
    smooth = np.stack(
        [cv2.resize(a, (width, height), interpolation=cv2.INTER_CUBIC) for a in attention.astype(np.float32)]
    )
    low, high = np.median(smooth, (1, 2), keepdims=True), np.quantile(smooth, 0.995, (1, 2), keepdims=True)
    score = np.clip((smooth - low) / np.maximum(high - low, 1e-9), 0, 1)
    pooled = np.stack([score[max(0, i - 1) : i + 2].mean(0) for i in range(len(score))])
    rough = strongest_track((score > 0.4) & (pooled > 0.25), score)
    trimaps = np.stack([_trimap(one, region) for one, region in zip(score, rough, strict=True)])
    cuts = _cut(frames, trimaps)
    masks = np.stack([_checked(*one) for one in zip(cuts, rough, score, strict=True)])
    return Located(masks, mask_boxes(masks), masks | rough)


def _trimap(score: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """What the cut starts from in one frame: surely the object, probably, probably not, surely not (uint8)."""
    trimap = np.full(score.shape, cv2.GC_BGD, np.uint8)
    trimap[grown(rough, 1.5 * score.shape[1] / 16)] = cv2.GC_PR_BGD
    trimap[rough] = cv2.GC_PR_FGD
    trimap[rough & (score > 0.75)] = cv2.GC_FGD
    return trimap


def _checked(cut: np.ndarray, rough: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The cut's piece on the object, without holes; the rough region where the cut ran away or collapsed, which says
    that colours do not tell the object from its background here."""
    piece = filled(strongest_piece(cut, score * rough))
    return piece if 0.35 <= piece.sum() / max(1, rough.sum()) <= 3.0 else rough


def _cut(frames: np.ndarray, trimaps: np.ndarray) -> np.ndarray:
    """The foreground, bool (F, H, W), of frames uint8 (F, H, W, 3) whose trimaps say what is sure.

    One cut through frames on top of each other: what shows an object's colours in one frame tells them in all. The
    cut's graph takes some hundred bytes a pixel and its time grows faster than its size, so larger frames are cut at
    CUT_SIDE and the outline brought back, and no more than CUT_PIXELS at once.
    """
    count, height, width = trimaps.shape
    shrink = min(1.0, CUT_SIDE / (height * width) ** 0.5)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if shrink < 1:
        frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        trimaps = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in trimaps])
    parts = [
        _grab_cut(np.concatenate(frames[part]), np.concatenate(trimaps[part])).reshape(trimaps[part].shape)
        for part in np.array_split(np.arange(count), -(-trimaps.size // CUT_PIXELS))
    ]
    cuts = np.concatenate(parts)
    if shrink == 1:
        return cuts
    return np.stack([cv2.resize(cut.astype(np.float32), (width, height)) > 0.5 for cut in cuts])


def _grab_cut(frame: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """The graph cut's foreground (H, W) bool; the rough foreground where it can't be run."""
    sides = [(trimap == cv2.GC_BGD).any(), ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).any()]
    if not all(sides):
        return trimap == cv2.GC_PR_FGD
    trimap = trimap.copy()
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(frame[..., ::-1]),
        trimap,
        None,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        4,
        cv2.GC_INIT_WITH_MASK,
    )
    return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)


def grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask (H, W) bool grown by a radius in pixels."""
    side = 2 * max(0, round(radius)) + 1
    return cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))).astype(bool)


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) bool without holes."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, -1).astype(bool)


def locate_in_boxes(frames: np.ndarray, boxes: np.ndarray) -> Located:
    """The object's masks where its boxes (F, 4) are given: the cut-out inside each, which may reach the box's sides.

    What lies round a box says what the background looks like; what is farther away would only mislead, since a scene's
    other things may have the object's colours. One cut through all frames, as `locate` does it.
    """
    height, width = frames.shape[1:3]
    places = [pixel_box(box, height, width) for box in boxes]
    tall, wide = (
        min(side, round((1 + 2 * SURROUND) * max(place[k + 2] - place[k] for place in places)) + 2)
        for k, side in ((1, height), (0, width))
    )
    corners = [_corner(place, (tall, wide), (height, width)) for place in places]
    trimaps = np.full((len(frames), tall, wide), cv2.GC_BGD, np.uint8)
    for trimap, (x0, y0, x1, y1), (top, left) in zip(trimaps, places, corners, strict=True):
        trimap[y0 - top : y1 - top, x0 - left : x1 - left] = cv2.GC_PR_FGD
    views = [f[top : top + tall, left : left + wide] for f, (top, left) in zip(frames, corners, strict=True)]
    cuts = _cut(np.stack(views), trimaps)
    masks = np.zeros(frames.shape[:3], bool)
    for mask, cut, place, (top, left) in zip(masks, cuts, places, corners, strict=True):
        middle, piece = _ellipse(place, (top, left), (tall, wide)), filled(cut)
        mask[top : top + tall, left : left + wide] = piece if piece.sum() >= LEAST_CUT * middle.sum() else middle
    return Located(masks, np.asarray(boxes, float))


def _ellipse(place: tuple[int, int, int, int], corner: tuple[int, int], view: tuple[int, int]) -> np.ndarray:
    """The ellipse in a box of whole pixels, bool on a view (height, width) whose top left pixel is at `corner`."""
    (x0, y0, x1, y1), (top, left) = place, corner
    y, x = np.mgrid[: view[0], : view[1]]
    down, across = (y + top + 0.5 - (y0 + y1) / 2) / (y1 - y0), (x + left + 0.5 - (x0 + x1) / 2) / (x1 - x0)
    return down**2 + across**2 <= 0.25


def _corner(place: tuple[int, int, int, int], view: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """The top left pixel (y, x) of a view, height by width, round a box of whole pixels, within the frame."""
    middle = ((place[1] + place[3]) / 2, (place[0] + place[2]) / 2)
    y, x = (
        int(np.clip(round(m - side / 2), 0, whole - side)) for m, side, whole in zip(middle, view, frame, strict=True)
    )
    return y, x


def pixel_box(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """A box xyxy in [0, 1] as whole pixels that cover it, at least one."""
    x0, y0 = int(np.floor(box[0] * width)), int(np.floor(box[1] * height))
    x1, y1 = int(np.ceil(box[2] * width)), int(np.ceil(box[3] * height))
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return x0, y0, min(max(x1, x0 + 1), width), min(max(y1, y0 + 1), height)


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """The tight boxes (F, 4) xyxy in [0, 1] of masks (F, H, W) bool; an empty mask takes its nearest neighbour's box.

    Raises UsageError where all are empty.
    """
    height, width = masks.shape[1:]
    full = np.flatnonzero(masks.any((1, 2)))
    if not len(full):
        raise UsageError("the mask is empty in every frame: give a mask that marks the object, or --box")
    boxes = {}
    for i in full:
        rows, columns = np.flatnonzero(masks[i].any(1)), np.flatnonzero(masks[i].any(0))
        boxes[int(i)] = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
    return np.array([boxes[int(full[np.abs(full - i).argmin()])] for i in range(len(masks))])

"""Transport: the object's pixels and its noise carried from where it is to where it should be."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def box_map(source: np.ndarray, target: np.ndarray, height: int, width: int) -> np.ndarray:
    """The 2 x 3 affine map of pixel indices that takes box `source` to box `target`, xyxy in [0, 1] of a height x
    width frame."""
    size = np.array([width, height], float)
    scale = (target[2:] - target[:2]) / np.maximum(source[2:] - source[:2], 1e-6)
    # pixel i's centre lies at i + 0.5
    offset = target[:2] * size - scale * source[:2] * size + 0.5 * scale - 0.5
    return np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])


def carry(
    colours: np.ndarray, alpha: np.ndarray, sources: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move the object: its colours premultiplied with alpha, float32 (F, H, W, 3), and its alpha (F, H, W) in [0, 1],
    from boxes to boxes (F, 4).

    Returns both at the target. Shrinking averages.
    """
    count, height, width = alpha.shape
    colour, cover = np.empty(colours.shape, np.float32), np.empty(alpha.shape, np.float32)
    for i in range(count):
        warp = box_map(sources[i], targets[i], height, width)
        layer = np.dstack([colours[i], alpha[i]])
        shrink = min(warp[0, 0], warp[1, 1])
        if shrink < 1:
            layer = cv2.GaussianBlur(layer, (0, 0), max(0.5 * (1 / shrink - 1), 1e-3))
        moved = cv2.warpAffine(layer, warp, (width, height), flags=cv2.INTER_LINEAR if shrink < 1 else cv2.INTER_CUBIC)
        cover[i] = np.clip(moved[..., 3], 0, 1)
        # cubic overshoot beyond full cover is not light: both are scaled back together
        colour[i] = np.clip(moved[..., :3] / np.maximum(moved[..., 3:], 1), 0, 255 * cover[i][..., None])
    return colour, cover


def carry_noise(noise: Tensor, sources: np.ndarray, targets: np.ndarray, masks: Tensor) -> Tensor:
    """Noise (1, C, f, h, w) with the object's share moved along: inside `masks` (f, h, w) in [0, 1], its place at the
    target, each cell is the nearest source cell's. Cells are taken whole, so the noise stays as strong as it was."""
    _, _, frames, height, width = noise.shape
    moved = noise.clone()
    for i in range(frames):
        inverse = cv2.invertAffineTransform(box_map(sources[i], targets[i], height, width))
        ys, xs = np.mgrid[:height, :width]
        x = np.clip(np.rint(inverse[0, 0] * xs + inverse[0, 2]), 0, width - 1).astype(int)
        y = np.clip(np.rint(inverse[1, 1] * ys + inverse[1, 2]), 0, height - 1).astype(int)
        inside = masks[i] > 0.5
        moved[0, :, i] = torch.where(inside, noise[0, :, i, torch.from_numpy(y), torch.from_numpy(x)], moved[0, :, i])
    return moved


def refill_noise(noise: Tensor, hole: Tensor, generator: torch.Generator) -> Tensor:
    """Noise (1, C, f, h, w) with that inside `hole` (f, h, w) bool replaced by noise from elsewhere in the same frame.

    The inverted noise at the object's old place still holds the object; noise permuted from the background does not,
    and has the background's statistics (stochastic latent modulation, in "Dynamic View Synthesis as an Inverse
    Problem", 2025).
    """
    filled = noise.clone()
    for i in range(noise.shape[2]):
        inside = hole[i].flatten().nonzero()[:, 0]
        outside = (~hole[i]).flatten().nonzero()[:, 0]
        if not len(inside) or not len(outside):
            continue
        pick = outside[torch.randint(len(outside), (len(inside),), generator=generator)]
        flat = filled[0, :, i].flatten(1)
        flat[:, inside] = noise[0, :, i].flatten(1)[:, pick]
        filled[0, :, i] = flat.view_as(filled[0, :, i])
    return filled

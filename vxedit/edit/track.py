"""An object followed from its place in the first frame, by the pixels' motion."""

from __future__ import annotations

import cv2
import numpy as np

from vxedit.edit.locate import Located, locate_in_boxes, mask_boxes, pixel_box
from vxedit.edit.transport import box_map
from vxedit.optical_flow import flow_between


def follow_box(frames: np.ndarray, box: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """The box (4,) xyxy in [0, 1] of the first frame followed through frames uint8 (F, H, W, 3): (F, 4).

    Dense optical flow (DIS, Kroeger et al. 2016) of the object's pixels, `inside` (H, W) bool or the box's own, gives
    a shift and a scale from frame to frame, fitted robustly. A frame where too few pixels agree keeps the box as it
    was.
    """
    height, width = frames.shape[1:3]
    boxes = [np.asarray(box, float)]
    mask = inside if inside is not None else locate_in_boxes(frames[:1], boxes[0][None]).masks[0]
    for i in range(1, len(frames)):
        warp = _upright(mask, flow_between(frames[i - 1], frames[i]))
        size = np.array([width, height] * 2)
        corners = (boxes[-1] * size).reshape(2, 2) - 0.5
        moved = corners @ warp[:, :2].T + warp[:, 2] + 0.5
        boxes.append(np.clip(moved.reshape(4) / size, 0, 1))
        mask = cv2.warpAffine(mask.astype(np.uint8), warp, (width, height), flags=cv2.INTER_NEAREST).astype(bool)
    return np.stack(boxes)


def similarity(mask: np.ndarray, flow: np.ndarray) -> np.ndarray | None:
    """The shift, scale and turn (2, 3) that most of the masked pixels' flow (H, W, 2) agrees with; None where there are
    too few pixels, or they agree on none."""
    ys, xs = np.nonzero(mask)
    if len(xs) < 8:
        return None
    start = np.stack([xs, ys], 1).astype(np.float32)
    warp, _ = cv2.estimateAffinePartial2D(start, start + flow[ys, xs], method=cv2.RANSAC, ransacReprojThreshold=1.0)
    return warp


def _upright(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The shift and scale (2, 3) of masked pixels, which a box can follow: nothing where they don't agree."""
    warp = similarity(mask, flow)
    if warp is None:
        return np.array([[1.0, 0, 0], [0, 1, 0]])
    scale = float(np.clip(np.hypot(warp[0, 0], warp[1, 0]), 0.9, 1.1))
    ys, xs = np.nonzero(mask)
    centre = np.array([xs.mean(), ys.mean()])
    target = warp[:, :2] @ centre + warp[:, 2]
    return np.array([[scale, 0, target[0] - scale * centre[0]], [0, scale, target[1] - scale * centre[1]]])


def follow_mask(frames: np.ndarray, mask: np.ndarray) -> Located:
    """The object of a mask (H, W) bool in the first frame, followed through the clip; later masks are the first one
    moved."""
    first = mask_boxes(mask[None])[0]
    boxes = follow_box(frames, first, mask)
    height, width = mask.shape
    masks = [mask] + [
        cv2.warpAffine(
            mask.astype(np.uint8), box_map(first, box, height, width), (width, height), flags=cv2.INTER_NEAREST
        ).astype(bool)
        for box in boxes[1:]
    ]
    return Located(np.stack(masks), boxes)


def follow(frames: np.ndarray, box: np.ndarray) -> Located:
    """The object of a box (4,) xyxy in the first frame, followed through the clip and cut out in every frame."""
    height, width = frames.shape[1:3]
    x0, y0, x1, y1 = pixel_box(np.asarray(box, float), height, width)
    return locate_in_boxes(frames, follow_box(frames, np.array([x0 / width, y0 / height, x1 / width, y1 / height])))

"""How much of the object is still to be seen where it was."""

from __future__ import annotations

import numpy as np

LEAST_PIXELS = 30  # fewer vacated pixels than this say little
_FAINT = 9.0  # mean squared levels between object and background below which a ghost could not be seen


def ghost(
    edited: np.ndarray, source: np.ndarray, clean: np.ndarray, *, source_mask: np.ndarray, target_mask: np.ndarray
) -> float:
    """Share of the object that is left in the vacated region: 1, it is still there; 0, the background is.

    edited, source, clean: uint8 (F, H, W, 3), `clean` the source's background without its objects. source_mask,
    target_mask: bool (F, H, W), the object's place before and after; the first without the second is what was vacated.

    Per frame the projection <edited - clean, source - clean> / |source - clean|^2 over the vacated pixels, cut to
    [0, 1]: the alpha of a blend of the two. Mean over the frames with at least 30 vacated pixels in which the object
    differs from the background; NaN when there is none, as when nothing moved.
    """
    shapes = [v.shape for v in (edited, source, clean, source_mask, target_mask)]
    if len(set(shapes[:3])) > 1 or shapes[3:] != [edited.shape[:3]] * 2:
        raise ValueError(f"ghost needs three clips (F, H, W, 3) and two masks (F, H, W) of one size, got {shapes}")
    vacated = source_mask.astype(bool) & ~target_mask.astype(bool)
    shares = []
    for now, then, empty, region in zip(edited, source, clean, vacated, strict=True):
        left = now[region].astype(np.float64) - empty[region]
        whole = then[region].astype(np.float64) - empty[region]
        power = (whole * whole).sum()
        if region.sum() >= LEAST_PIXELS and power >= _FAINT * whole.size:
            shares.append(np.clip((left * whole).sum() / power, 0, 1))
    return float(np.mean(shares)) if shares else float("nan")

"""How a model is to see a clip: in which windows of time, and which part of the frame at what size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import Outline
from vxedit.checks import sampled
from vxedit.edit.locate import mask_boxes
from vxedit.edit.recipes.names import OURS
from vxedit.errors import UsageError
from vxedit.io.crop import Placement, middle, place
from vxedit.io.frames import OpenClip
from vxedit.io.letterbox import letterbox
from vxedit.job import RealJob
from vxedit.objects import Wanted
from vxedit.windows import Window, windows


def windows_of(job: RealJob, described: Outline, frames: int) -> tuple[Window, ...]:
    """The pieces that the clip is edited in. Raises UsageError where the model doesn't take so long ones, or something
    needs the clip in one piece."""
    length, most = job.selection.window, described.max_frames
    if length is not None and length > most:
        raise UsageError(f"--window {length} is more than {job.model} does in one piece: at most {most}")
    if length is None:
        length = most if frames <= most else min(most, described.native.frames)
    found = windows(frames, length)
    if len(found) > 1 and job.extras.gif:
        raise UsageError(
            f"--gif is for a clip that is edited in one piece, and {frames} frames are edited in {len(found)}: "
            "leave it out, or take --side-by-side"
        )
    if len(found) > 1 and job.edit.recipe != OURS:
        raise UsageError(
            f"the recipe {job.edit.recipe} knows nothing of windows, and {frames} frames are more than "
            f"{job.model} does in one piece: take at most {most} of them (--num-frames, --start), or a lower --fps"
        )
    return found


def place_of(
    job: RealJob, described: Outline, footage: OpenClip, wanted: Sequence[Wanted], frames: int
) -> tuple[Placement, Size]:
    """What of the frames the model sees, and at what size."""
    frame, chosen = (footage.width, footage.height), job.selection
    picture = None if chosen.keep_letterbox else letterbox(footage.sample())
    x0, y0, x1, y1 = picture or (0, 0, *frame)
    if chosen.size is None:
        size = described.fit(frames, y1 - y0, x1 - x0)
    else:
        width, height = chosen.size
        size = described.check(frames, height, width)
    sources = [known for one in wanted if (known := _source_boxes(one)) is not None]
    paths = [path.boxes for one in wanted if (path := sampled(one, footage)) is not None]
    middles = [middle(np.concatenate(boxes)) for boxes in (sources + paths, sources) if boxes]
    found = [
        place(frame, (size.width, size.height), fit=chosen.fit, picture=picture, centre=centre)
        for centre in middles or [((x0 + x1) / 2 / frame[0], (y0 + y1) / 2 / frame[1])]
    ]
    # round the objects alone where they and their paths are too far apart
    holding = (one for one in found if all(bool(one.covers(boxes).all()) for boxes in sources))
    return next(holding, found[0]), size


def _source_boxes(one: Wanted) -> np.ndarray | None:
    """Where an object is said to be, boxes (n, 4) in shares of the frame; None where its word's attention says it."""
    if one.box is not None:
        return np.array([one.box], float)
    return None if one.masks is None else mask_boxes(one.masks)


def check_placement(placement: Placement, wanted: Sequence[Wanted], footage: OpenClip) -> list[str]:
    """What is to be said of how the model sees the frames. Raises UsageError where it can't see an object."""
    said = []
    if placement.picture != (0, 0, *placement.frame):
        x0, y0, x1, y1 = placement.picture
        said.append(
            f"black bars round the picture, {x1 - x0}x{y1 - y0} of {footage.width}x{footage.height}, stay as they are: "
            "the model sees the picture alone (--keep-letterbox takes them for picture)"
        )
    if abs(placement.stretch - 1) > 0.02:
        (wide, tall), (model_wide, model_tall) = placement.size, placement.model
        said.append(
            f"the model sees {wide}x{tall} as {model_wide}x{model_tall}, its nearest size: shapes are "
            f"stretched by {100 * (placement.stretch - 1):+.0f} % for it and brought back afterwards "
            "(--fit crop and --fit pad keep them)"
        )
    hidden = placement.taken != placement.picture
    for one in wanted:
        known, path = _source_boxes(one), sampled(one, footage)
        if known is None and hidden:
            said.append(
                f"nothing says yet where {one.obj!r} is, and what --fit crop leaves out of the picture can't be "
                "changed: say it with --box or --mask, or take --fit pad"
            )
        elif known is not None and not bool(placement.covers(known).all()):
            flag = "--box" if one.box is not None else "--mask"
            raise UsageError(
                f"{flag} of {one.obj!r} isn't all in what the model sees of the frame, "
                f"{_corners(placement)}: {_remedy(placement)}"
            )
        if path is not None and not bool(placement.covers(path.boxes).all()):
            said.append(
                f"the path of {one.obj!r} leaves what the model sees of the frame, {_corners(placement)}; nothing can "
                f"be changed outside: {_remedy(placement)}, or take another path"
            )
    return said


def _corners(placement: Placement) -> str:
    """What can be changed, as --box would say it."""
    shares = np.array(placement.taken) / np.tile(placement.frame, 2)
    return "the box " + ",".join(f"{share:.3f}" for share in shares)


def _remedy(placement: Placement) -> str:
    return "take --fit pad" if placement.taken != placement.picture else "take --keep-letterbox"

"""What an object becomes when its word does: drawn by the model in a clip of its own under the new prompt, cut out of
it, and from then on moved like any object.

Drawn in the old object's place, frame by frame held to a background that was filmed, an object's shape changes from
frame to frame; where the model is free, it is one object through the whole clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vxedit.backbones.protocol import Backbone, Size
from vxedit.edit.generate import generate
from vxedit.edit.locate import attention_in_frames
from vxedit.edit.scene import Cutout, cut_out
from vxedit.edit.words import WordEdit
from vxedit.errors import VxeditError
from vxedit.objects import Wanted, find_objects


@dataclass(frozen=True)
class StandIns:
    """`cutouts`: what each of an edit's objects becomes, None for those that stay what they are. Passes of the network
    that it took, without a gradient and with one."""

    cutouts: tuple[Cutout | None, ...]
    forwards: int = 0
    gradient_passes: int = 0

    def between(self, begin: int, end: int) -> StandIns:
        """Those for frames [begin, end) of a longer clip: there and back again over what was drawn, as often as it
        takes, so that nothing jumps. What it took is counted with the first frames."""
        cutouts = tuple(one and one.at(there_and_back(begin, end, len(one.boxes))) for one in self.cutouts)
        return replace(self, cutouts=cutouts) if begin == 0 else StandIns(cutouts)


def there_and_back(begin: int, end: int, count: int) -> list[int]:
    """Numbers below `count` for the moments [begin, end): 0, 1, ... up to the last, and back again."""
    period = max(1, 2 * (count - 1))
    return [min(at % period, period - at % period) for at in range(begin, end)]


def becoming(words: WordEdit | None, objects: Sequence[Wanted]) -> list[Wanted]:
    """Those of the objects whose words become others."""
    return [one for one in objects if words is not None and words.replaces(one.columns)]


def stand_ins(
    backbone: Backbone,
    words: WordEdit,
    objects: Sequence[Wanted],
    size: Size,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> StandIns:
    """Draw what those of the `objects` become whose words `words` replaces, in a clip of `size`. Raises VxeditError
    where the network gives values that are not finite."""
    others = becoming(words, objects)
    if not others:
        return StandIns((None,) * len(objects))
    columns = [words.carried(one.columns) for one in others]
    try:
        made = generate(
            backbone,
            words.target,
            size,
            steps=None,
            guidance_scale=None,
            generator=torch.Generator().manual_seed(seed),
            eta=None,
            steady=columns if backbone.steady else (),
            progress=progress,
        )
    except ValueError as err:
        raise VxeditError(str(err)) from err
    frames = backbone.decode(made.clean, size.frames)
    looked = attention_in_frames(backbone, made, columns, size.frames)
    named = [replace(one, columns=at, box=None, masks=None) for one, at in zip(others, columns, strict=True)]
    found = find_objects(named, frames, looked)
    drawn = iter([cut_out(frames, one) for one in found])
    cutouts = tuple(next(drawn) if words.replaces(one.columns) else None for one in objects)
    return StandIns(cutouts, made.forwards, made.backwards)


def fitted(boxes: np.ndarray, cutout: Cutout, aspect: float) -> np.ndarray:
    """Boxes (F, 4) in shares of a clip with the middles and areas of these and the shape of what is cut out.

    `aspect`: the width of a frame by its height in the clip, over the same in the frames that it was cut out of.
    """
    sides = cutout.boxes[:, 2:] - cutout.boxes[:, :2]
    shape = float(np.median(sides[:, 0] / sides[:, 1])) / aspect
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    half = np.stack([np.sqrt(area * shape), np.sqrt(area / shape)], 1) / 2
    return np.concatenate([middles - half, middles + half], 1)

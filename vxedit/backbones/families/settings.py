"""What every family reads of a model's files in the same way. Nothing here needs torch.

model_index.json may say under "vxedit": `frames`, `height` and `width`, what the model was trained on; `max_frames`,
the longest clip in one piece; `steering_layers`, patterns of the layers whose maps localise best; `guidance_scale`,
`steps`, `eta` and `shared_noise`, those that it generates with; `steady`, whether it needs help to keep an object on
one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vxedit.backbones.family import Facts
from vxedit.backbones.protocol import Size
from vxedit.errors import ModelError

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout


def native_size(layout: Layout, usual: Size) -> Size:
    """What the model was trained on: `usual` as far as the settings don't say otherwise. Raises ModelError where they
    aren't whole numbers above 0."""
    return Size(*(_whole(layout, name, side) for name, side in zip(Size._fields, usual, strict=True)))


def most_frames(layout: Layout, usual: int) -> int:
    """The longest clip in one piece, as `native_size`."""
    return _whole(layout, "max_frames", usual)


def steering(layout: Layout, usual: Sequence[str] = ()) -> tuple[str, ...]:
    """Patterns of the layers whose maps localise best; none: the network's middle. Raises ModelError where the
    settings give something else than a list of names."""
    given = layout.settings.get("steering_layers", list(usual))
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ModelError(
            f'{layout.tree}: model_index.json has steering_layers {given!r} under "vxedit": give a list of names of '
            "layers, or of patterns of them, or leave it out"
        )
    return tuple(given)


def guidance_scale(layout: Layout, usual: float) -> float:
    """The scale of classifier-free guidance that the model generates at, 1 to 20: `usual`, the authors' own, unless the
    settings say otherwise. Raises ModelError where they give something else."""
    return _number(layout, "guidance_scale", usual, least=1, most=20)


def shared_noise(layout: Layout) -> float:
    """The part of their noise's variance that the frames of a generated clip have in common, 0 to 1: none unless the
    settings say so. Raises ModelError where they give something else."""
    return _number(layout, "shared_noise", Facts.shared_noise, least=0, most=1)


def steps(layout: Layout) -> int:
    """How many steps the model generates in, unless others are asked for. Raises ModelError as `native_size`."""
    return _whole(layout, "steps", Facts.steps)


def eta(layout: Layout) -> float:
    """How much of the noise each of those steps draws anew, 0 (DDIM) to 1 (DDPM): none unless the settings say so.
    Raises ModelError where they give something else."""
    return _number(layout, "eta", Facts.eta, least=0, most=1)


def steady(layout: Layout) -> bool:
    """Whether objects are kept on one way while clips are generated. Raises ModelError for anything but true or
    false."""
    given = layout.settings.get("steady", Facts.steady)
    if not isinstance(given, bool):
        raise ModelError(
            f'{layout.tree}: model_index.json has steady {given!r} under "vxedit": give true or false, or leave it out'
        )
    return given


def refuse_pictures(layout: Layout, taken: int, given: int, *, instead: str) -> None:
    """Raise ModelError where a network takes more channels than it gives: a picture besides the noise. `instead`: a
    model that doesn't."""
    if taken != given:
        raise ModelError(
            f"{layout.tree}: the network takes {taken} channels and gives {given}, so it continues a picture: take a "
            f"text-to-video model, such as {instead}"
        )


def _whole(layout: Layout, name: str, usual: int) -> int:
    given = layout.settings.get(name, usual)
    if not isinstance(given, int) or given < 1:
        raise ModelError(
            f'{layout.tree}: model_index.json has {name} {given!r} under "vxedit": give a whole number above 0, or '
            "leave it out"
        )
    return given


def _number(layout: Layout, name: str, usual: float, *, least: int, most: int) -> float:
    given = layout.settings.get(name, usual)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not least <= given <= most:
        raise ModelError(
            f'{layout.tree}: model_index.json has {name} {given!r} under "vxedit": give a number from {least} to '
            f"{most}, or leave it out"
        )
    return float(given)

"""The editor of real clips: the object of an inverted clip moved along a path, the rest of the clip left as it was.

The recipe, each part of which `Parts` can take out:
transport   the object's pixels are carried to the target over a clean plate, encoded, and put at every level of noise
            together with the inverted noise, carried likewise: where the noise lies decides where the object appears
guidance    gradients of the box energy on the word's attention pull it to the path in the first steps
anchor      early steps are drawn to the transported trajectory; the pull fades, and the model settles seams and light
pinning     outside the edit region every step is the source's own
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone
from vxedit.edit.attention import attention_maps
from vxedit.edit.energy import box_energy, rasterise
from vxedit.edit.guidance import GuidanceSettings, guide
from vxedit.edit.locate import Located
from vxedit.edit.region import Region, region_of, to_cells, touched_cells
from vxedit.edit.scene import Scene, lay
from vxedit.edit.transport import carry_noise, refill_noise
from vxedit.invert.ddim import step
from vxedit.invert.inversion import Inversion, denoiser


@dataclass(frozen=True)
class Parts:
    """Which parts of the recipe take part; all of them by default, for ablations fewer."""

    transport: bool = True
    guidance: bool = True
    anchor: bool = True
    pinning: bool = True


@dataclass(frozen=True)
class Recipe:
    """`start`: the share of the steps that are run anew. `anchor_full`, `anchor_end`: shares of all steps up to which
    the anchor is whole and after which it is gone. `margin`, `seam`: the edit region beyond the object, in pixels of a
    frame 128 wide. `guidance_scale` None: the inversion's own."""

    start: float = 0.8
    anchor_full: float = 0.75
    anchor_end: float = 1.0
    margin: float = 8.0
    seam: float = 4.0
    guidance_scale: float | None = None
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    parts: Parts = field(default_factory=Parts)


def recipe(strength: float, parts: Parts | None = None) -> Recipe:
    """The recipe that `strength` in (0, 1] stands for: more of the steps run anew, guided longer, harder and more
    often."""
    guidance = GuidanceSettings(iterations=max(1, round(4 * strength)), rate=0.03 * strength, until=0.5 * strength)
    return Recipe(start=0.3 + 0.5 * strength, guidance=guidance, parts=parts or Parts())


@dataclass(frozen=True)
class Edited:
    """`latents` (1, C, f, h, w) of the edited clip; `expected`, those of the scene as it was laid, or None without
    transport; its `region` and `scene`; energies (f,) of the attention before and after guidance; forward passes of
    the network, and passes with a gradient (early-stopped)."""

    latents: Tensor
    expected: Tensor | None
    region: Region
    scene: Scene
    energy_before: Tensor | None
    energy_after: Tensor | None
    forwards: int
    guided: int


def edit(
    backbone: Backbone,
    inversion: Inversion,
    frames: np.ndarray,
    found: Located,
    targets: np.ndarray,
    columns: Sequence[int],
    how: Recipe,
    *,
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> Edited:
    """Move the object.

    frames uint8 (F, H, W, 3): the clip at the model's size, as inverted. found: the object in it. targets (F, 4):
    boxes xyxy in [0, 1] where it should be. columns: its word's tokens. generator: for the fill of the vacated place.
    """
    scale = frames.shape[2] / 128
    scene = lay(frames, found, targets)
    region = region_of(scene.source, scene.target, margin=round(how.margin * scale), seam=round(how.seam * scale))
    anchors = _Anchors.build(backbone, inversion, found.boxes, targets, region, scene, how, generator)
    return _run(backbone, inversion, targets, columns, how, region, scene, anchors, progress)


@dataclass(frozen=True)
class _Anchors:
    """The transported trajectory, as its clean latents and noise, and on the latents' grid (1, 1, f, h, w): `edit`,
    the cells that may change; `hold`, how firmly each is anchored, 0 to 1."""

    clean: Tensor
    noise: Callable[[int], Tensor]
    edit: Tensor
    hold: Tensor
    abar: tuple[float, ...]

    def at(self, i: int) -> Tensor:
        """The transported latents at level i."""
        a = self.abar[i]
        return a**0.5 * self.clean + (1 - a) ** 0.5 * self.noise(i)

    @classmethod
    def build(
        cls,
        backbone: Backbone,
        inversion: Inversion,
        sources: np.ndarray,
        targets: np.ndarray,
        region: Region,
        scene: Scene,
        how: Recipe,
        generator: torch.Generator,
    ) -> _Anchors:
        height, width = inversion.pivots.shape[-2:]
        cells = touched_cells(np.maximum(region.source, region.target), height, width)
        places = (scene.source, scene.target, region.vacated)
        source_cells, target_cells, vacated_cells = (to_cells(place, height, width) for place in places)
        device = inversion.pivots.device
        cells = cells[None, None].to(device)
        clean, hold = inversion.clean, torch.zeros_like(target_cells)
        if how.parts.transport:
            clean = _mix(inversion.clean, backbone.encode(scene.frames), cells)
            hold = to_cells(np.maximum(scene.target > 0.5, scene.plate.known), height, width)
        seed = int(torch.randint(2**31, (1,), generator=generator))

        def noise(i: int) -> Tensor:
            own = inversion.noise(i)
            if not how.parts.transport:
                return own
            own, fresh = own.cpu(), torch.Generator().manual_seed(seed)
            # the object's noise is carried from where it was, before that place gets the background's
            moved, bare = carry_noise(own, sources, targets, target_cells), refill_noise(own, source_cells > 0.1, fresh)
            return torch.where((vacated_cells > 0.1) & (target_cells <= 0.3), bare, moved).to(device)

        return cls(clean, noise, cells, hold[None, None].to(device), inversion.schedule.abar)


def anchor_weight(done: float, how: Recipe) -> float:
    """How strongly the anchor pulls when the share `done` of all steps has been run: 1, then linearly down to 0."""
    if done <= how.anchor_full:
        return 1.0
    return max(0.0, (how.anchor_end - done) / (how.anchor_end - how.anchor_full))


def _run(
    backbone: Backbone,
    inversion: Inversion,
    targets: np.ndarray,
    columns: Sequence[int],
    how: Recipe,
    region: Region,
    scene: Scene,
    anchors: _Anchors,
    progress: Callable[[int, int], None] | None,
) -> Edited:
    schedule, count = inversion.schedule, len(inversion.schedule)
    denoise = denoiser(backbone, inversion, how.guidance_scale)
    aim = rasterise(
        np.stack([targets[list(span)].mean(0) for span in backbone.spans(len(targets))]), *inversion.pivots.shape[-2:]
    )
    first = count - max(1, round(how.start * count))
    x = anchors.at(first) if how.parts.transport else inversion.pivot(first)
    if how.parts.pinning:
        x = _mix(inversion.pivot(first), x, anchors.edit)
    before = after = None
    guided = 0
    for i in range(first, count):
        if how.parts.guidance and (i - first) < how.guidance.until * count:
            energy = _energy(backbone, denoise.conditional, schedule.timesteps[i], columns, aim)
            allowed = anchors.edit if how.parts.pinning else torch.ones_like(anchors.edit)
            result = guide(energy, x, allowed, how.guidance)
            x, guided = result.latents, guided + result.passes
            before, after = result.before if before is None else before, result.after
        x = step(x, denoise(x, i), schedule.abar[i], schedule.abar[i + 1])
        if how.parts.anchor and how.parts.transport:
            pull = anchor_weight((i + 1) / count, how)
            if pull > 0:
                x = _mix(x, anchors.at(i + 1), pull * anchors.hold)
        if how.parts.pinning:
            x = _mix(inversion.pivot(i + 1), x, anchors.edit)
        if progress:
            progress(i - first + 1, count - first)
    return Edited(
        x, anchors.clean if how.parts.transport else None, region, scene, before, after, denoise.forwards, guided
    )


def _mix(low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """low where share is 0 (bit for bit), high where it is 1."""
    return torch.where(share > 0, low + share * (high - low), low)


def _energy(
    backbone: Backbone, embeds: Tensor, timestep: int, columns: Sequence[int], aim: Tensor
) -> Callable[[Tensor], Tensor]:
    """The mean box energy over the steering layers, each on its own grid."""

    def energy(x: Tensor) -> Tensor:
        maps = attention_maps(backbone, x, timestep, embeds, columns)
        each = [
            box_energy(
                m, torch.nn.functional.interpolate(aim[:, None], size=m.shape[-2:], mode="area")[:, 0].to(m.device)
            )[0]
            for m in maps.values()
        ]
        return torch.stack(each).mean(0)

    return energy

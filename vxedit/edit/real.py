"""The editor of real clips: the object of an inverted clip moved along a path, the rest of the clip left as it was.

The recipe, each part of which `Parts` can take out:
transport   the object's pixels are carried to the target over a clean plate, encoded, and put at every level of noise
            together with the inverted noise, carried likewise: where the noise lies decides where the object appears
guidance    gradients of the box energy on the word's attention pull it to the path in the first steps
anchor      early steps are drawn to the transported trajectory; the pull fades, and the model settles seams and light
pinning     outside the edit region every step is the source's own

What becomes another object is that one from the start: its pixels, which the model drew in a clip of their own, are
carried there, and noise of the background with them.

Of a piece of a longer clip, the first frames may be made already: they are anchored to what they are through all steps,
so that the rest goes on from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from vxedit.edit.branch import Branch
from vxedit.edit.guidance import GuidanceSettings, guide
from vxedit.edit.objective import Weights
from vxedit.edit.refine import HIDES
from vxedit.edit.region import Region, region_of, to_cells, touched_cells
from vxedit.edit.scene import Scene, lay, soften, vouched
from vxedit.edit.sharing import Cover, SharingSettings
from vxedit.edit.task import Edited, Task
from vxedit.edit.transport import carry_noise, refill_noise
from vxedit.edit.word_control import TakeoverSettings


@dataclass(frozen=True)
class Parts:
    """Which parts of the recipe take part; for ablations fewer. `sharing` of the source's keys and values is left out:
    it costs a pass of the source a step."""

    transport: bool = True
    guidance: bool = True
    anchor: bool = True
    pinning: bool = True
    sharing: bool = False


@dataclass(frozen=True)
class Recipe:
    """`start`: the share of the steps that are run anew. `anchor_full`, `anchor_end`: shares of all steps up to which
    the anchor is whole and after which it is gone. `margin`, `seam`: the edit region beyond the object at its target,
    in pixels of a frame 128 wide; where it was, the region ends at its rim, beyond which nothing is to change.
    `guidance_scale` None: the inversion's own. `word_room`: how many times the margin is where words change, since what
    an object becomes may be larger. `weights`: the terms of the guidance's energy."""

    start: float = 0.8
    anchor_full: float = 0.75
    anchor_end: float = 1.0
    margin: float = 8.0
    seam: float = 4.0
    guidance_scale: float | None = None
    words: TakeoverSettings = field(default_factory=TakeoverSettings)
    sharing: SharingSettings = field(default_factory=SharingSettings)
    word_room: float = 2.0
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    weights: Weights = field(default_factory=Weights)
    parts: Parts = field(default_factory=Parts)


def recipe(strength: float, parts: Parts | None = None) -> Recipe:
    """The recipe that `strength` in (0, 1] stands for: more of the steps run anew, guided longer, harder and more
    often."""
    guidance = GuidanceSettings(iterations=max(1, round(4 * strength)), rate=0.03 * strength, until=0.5 * strength)
    return Recipe(start=0.3 + 0.5 * strength, guidance=guidance, parts=parts or Parts())


def edit(task: Task, how: Recipe) -> Edited:
    """Move the task's objects."""
    scale = task.frames.shape[2] / 128
    scene = lay(task.frames, [subject.moved for subject in task.subjects])
    if any(subject.cutout for subject in task.subjects):  # it takes no old object's attention over: that is its shape
        how = replace(how, words=replace(how.words, cross=0.0, self_=0.0))
    room = how.margin * (1 if task.words is None else how.word_room)
    margin, seam, rim = (round(pixels * scale) for pixels in (room, how.seam, HIDES))
    region = region_of(scene.source, scene.target, margin=margin, seam=seam, source_margin=rim)
    return _run(task, how, region, scene, _Anchors.build(task, region, scene, how))


@dataclass(frozen=True)
class _Anchors:
    """The transported trajectory, as its clean latents and noise, and on the latents' grid (1, 1, f, h, w): `edit`,
    the cells that may change; `hold`, how firmly each is anchored, 0 to 1; `settled`, 1 in frames that are made already
    (they are the clean latents' own)."""

    clean: Tensor
    noise: Callable[[int], Tensor]
    edit: Tensor
    hold: Tensor
    settled: Tensor
    abar: tuple[float, ...]

    def at(self, i: int) -> Tensor:
        """The transported latents at level i."""
        a = self.abar[i]
        return a**0.5 * self.clean + (1 - a) ** 0.5 * self.noise(i)

    @classmethod
    def build(cls, task: Task, region: Region, scene: Scene, how: Recipe) -> _Anchors:
        inversion = task.inversion
        height, width = inversion.pivots.shape[-2:]
        grid = (height, width, task.spans)
        cells = touched_cells(np.maximum(region.source, region.target), *grid)
        places = (scene.source, scene.target, region.vacated)
        source_cells, target_cells, vacated_cells = (to_cells(place, *grid) for place in places)
        covers = [to_cells(cover, *grid) for cover in scene.covers]
        device = inversion.pivots.device
        cells = cells[None, None].to(device)
        clean, hold = inversion.clean, torch.zeros_like(target_cells)
        if how.parts.transport:
            clean = _mix(inversion.clean, task.backbone.encode(_with_settled(task, scene)), cells)
            hold = to_cells(_held(task, scene), *grid)
        seed = int(torch.randint(2**31, (1,), generator=task.generator))

        def noise(i: int) -> Tensor:
            own = inversion.noise(i)
            if not how.parts.transport:
                return own
            own, fresh = own.cpu(), torch.Generator().manual_seed(seed)
            # an object's noise is carried from where it was, before that place gets the background's
            moved = own
            empty = refill_noise(own, source_cells > 0.1, fresh)
            for subject, origin, aim, cover in zip(task.subjects, task.origins(), task.aims(), covers, strict=True):
                # an object's inverted noise draws that object, whatever it was to become
                carried = carry_noise(own, origin, aim, cover) if subject.cutout is None else empty
                moved = torch.where(cover > 0.5, carried, moved)
            return torch.where((vacated_cells > 0.1) & (target_cells <= 0.3), empty, moved).to(device)

        return cls(clean, noise, cells, hold[None, None].to(device), _settled(task).to(device), inversion.schedule.abar)


def _cover(task: Task, scene: Scene) -> Cover:
    extents = np.stack([one.found.extent for one in task.subjects])
    return Cover(extents.astype(np.float32), scene.covers, task.spans)


def _with_settled(task: Task, scene: Scene) -> np.ndarray:
    """The scene's frames, those that are made already as they are."""
    if task.settled is None:
        return scene.frames
    return np.concatenate([task.settled, scene.frames[len(task.settled) :]])


def _settled(task: Task) -> Tensor:
    """1 at the frames of the latents that cover nothing but frames that are made already, (1, 1, f, 1, 1)."""
    made = 0 if task.settled is None else len(task.settled)
    return torch.tensor([float(max(span) < made) for span in task.spans])[None, None, :, None, None]


def _held(task: Task, scene: Scene) -> np.ndarray:
    """Where the result is to be as the scene was laid, bool (F, H, W). Objects are held nowhere while words change that
    may change them: their words' attention holds the layout. What an object became is drawn already."""
    held = vouched(scene, objects=task.words is None)
    became = [cover > 0.5 for one, cover in zip(task.subjects, scene.covers, strict=True) if one.cutout is not None]
    return np.logical_or.reduce([held, *became])


def anchor_weight(done: float, how: Recipe) -> float:
    """How strongly the anchor pulls when the share `done` of all steps has been run: 1, then linearly down to 0."""
    if done <= how.anchor_full:
        return 1.0
    return max(0.0, (how.anchor_end - done) / (how.anchor_end - how.anchor_full))


def _run(task: Task, how: Recipe, region: Region, scene: Scene, anchors: _Anchors) -> Edited:
    inversion = task.inversion
    count = len(inversion.schedule)
    cover = _cover(task, scene) if how.parts.sharing else None
    branch = Branch(task, how.weights, how.words, scale=how.guidance_scale, cover=cover, sharing=how.sharing)
    first = count - max(1, round(how.start * count))

    def source(i: int) -> Tensor:
        """The clip as it should have been at level i: the transported trajectory in its frame."""
        if not how.parts.transport:
            return inversion.pivot(i)
        laid = anchors.at(i)
        return _mix(inversion.pivot(i), laid, anchors.edit) if how.parts.pinning else laid

    x = source(first)
    before = after = None
    guided = 0
    for i in range(first, count):
        if how.parts.guidance and (i - first) < how.guidance.until * count:
            allowed = anchors.edit if how.parts.pinning else torch.ones_like(anchors.edit)
            result = guide(branch.energy(i), x, allowed, how.guidance)
            x, guided = result.latents, guided + result.passes
            before, after = result.before if before is None else before, result.after
        x = inversion.step(x, branch.noise(x, i, source), i)
        if how.parts.anchor and how.parts.transport:
            pull = anchor_weight((i + 1) / count, how)
            if pull > 0:
                x = _mix(x, anchors.at(i + 1), pull * anchors.hold)
        if task.words is not None:
            x = branch.blended(x, i, source(i + 1))
        if how.parts.transport and task.settled is not None:
            x = _mix(x, anchors.at(i + 1), anchors.settled)
        if how.parts.pinning:
            x = _mix(inversion.pivot(i + 1), x, anchors.edit)
        task.tell(i - first + 1, count - first)
    expected = anchors.clean if how.parts.transport else None
    held = None if expected is None else soften(_held(task, scene), task.frames.shape[2] / 128)
    return Edited(x, expected, held, region, scene, before, after, branch.forwards, guided)


def _mix(low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """low where share is 0 (bit for bit), high where it is 1."""
    return torch.where(share > 0, low + share * (high - low), low)

"""The editor of real clips: what it must never touch, what each part does, and that it can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.edit.pixels import PixelBackbone, noised
from tests.edit.scenes import clip, grown
from vxedit.backbones.protocol import AttentionCall, Backbone
from vxedit.backbones.tokens import columns as columns_of
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.guidance import GuidanceSettings
from vxedit.edit.locate import Located
from vxedit.edit.real import Parts, Recipe, anchor_weight, edit, recipe
from vxedit.edit.region import to_cells, touched_cells
from vxedit.edit.scene import Scene, cut_out, lay
from vxedit.edit.task import Edited, Subject, Task
from vxedit.edit.word_control import Seen
from vxedit.edit.words import word_edit
from vxedit.invert.inversion import Inversion, invert, replay_inversion
from vxedit.job import InvertSettings
from vxedit.render.scene import Rendered

STEPS = 4
BY = np.array([0.25, 0.125, 0.25, 0.125])  # 16 and 8 of 64 pixels, 2 and 1 cells
NOTHING = Parts(transport=False, guidance=False, anchor=False, pinning=False)


@pytest.fixture(scope="module")
def truth() -> Rendered:
    return clip("ball", "gravel", frames=4, size=64, start=(0.3, 0.35), end=(0.34, 0.4))


@pytest.fixture(scope="module")
def found(truth: Rendered) -> Located:
    return Located(truth.masks[0], truth.boxes[0])


@pytest.fixture(scope="module")
def inversion(tiny: UNet3D, truth: Rendered) -> Inversion:
    return invert(tiny, tiny.encode(truth.frames), "a red ball", InvertSettings("uni", STEPS, 2.5))


class Editor:
    """One clip and one move, edited as a recipe says."""

    def __init__(self, tiny: UNet3D, inversion: Inversion, truth: Rendered, found: Located) -> None:
        self.backbone, self.inversion, self.frames, self.found = tiny, inversion, truth.frames, found
        self.columns = columns_of(tiny.tokens(inversion.prompt), inversion.prompt, "ball")

    def __call__(
        self, how: Recipe, *, by: np.ndarray = BY, seed: int = 0, progress: Callable[[int, int], None] | None = None
    ) -> Edited:
        subject = Subject("ball", self.columns, self.found, self.found.boxes + by)
        made = torch.Generator().manual_seed(seed)
        task = Task(self.backbone, self.inversion, self.frames, (subject,), made, progress=progress)
        return edit(task, how)


@pytest.fixture(scope="module")
def editor(tiny: UNet3D, inversion: Inversion, truth: Rendered, found: Located) -> Editor:
    return Editor(tiny, inversion, truth, found)


def outside(edited: Edited) -> Tensor:
    """The cells that no part of the edit region touches, as a mask of the latents' shape."""
    cells = touched_cells(edited.region.alpha, *edited.latents.shape[-2:])
    return (cells == 0)[None, None].expand_as(edited.latents)


def laid(edited: Edited) -> Scene:
    assert edited.scene is not None
    return edited.scene


PINNED = (Parts(), Parts(transport=False), Parts(anchor=False), replace(NOTHING, pinning=True))


@pytest.mark.parametrize("parts", PINNED)
def test_outside_the_edit_region_the_latents_are_the_sources_bit_for_bit(editor: Editor, parts: Parts) -> None:
    edited = editor(recipe(0.7, parts))
    free = outside(edited)
    assert 0.2 < float(free.float().mean()) < 0.9
    assert torch.equal(edited.latents[free], editor.inversion.clean[free])
    assert (edited.latents - editor.inversion.clean)[~free].abs().max() > 1e-3
    assert bool(torch.isfinite(edited.latents).all())


def test_without_pinning_the_rest_of_the_clip_changes(editor: Editor) -> None:
    edited = editor(recipe(0.7, Parts(pinning=False)))
    free = outside(edited)
    assert (edited.latents - editor.inversion.clean)[free].abs().max() > 1e-3


def test_with_no_part_at_all_it_is_an_honest_replay(editor: Editor) -> None:
    edited = editor(Recipe(start=1.0, parts=NOTHING))
    assert torch.equal(edited.latents, replay_inversion(editor.backbone, editor.inversion, pinned=False))
    assert edited.expected is None and edited.energy_before is None and edited.energy_after is None
    assert (edited.forwards, edited.guided) == (2 * STEPS, 0)


def renewed(inversion: Inversion) -> Inversion:
    """The same trajectory, each of whose steps adds fresh noise."""
    noise = torch.randn(inversion.pivots[1:-1].shape, generator=torch.Generator().manual_seed(0))
    return replace(inversion, eta=1.0, fresh=noise)


def test_fresh_noise_that_the_source_s_steps_added_is_added_again(
    tiny: UNet3D, inversion: Inversion, truth: Rendered, found: Located
) -> None:
    editor = Editor(tiny, renewed(inversion), truth, found)
    edited = editor(Recipe(start=1.0, parts=NOTHING))
    assert torch.equal(edited.latents, replay_inversion(tiny, editor.inversion, pinned=False))
    assert (edited.latents - replay_inversion(tiny, inversion, pinned=False)).abs().mean() > 0.01


def test_at_scale_one_it_takes_half_the_passes_and_stays_nearer(editor: Editor) -> None:
    """Uni-Inv's replay without guidance is the inversion's own, up to its small error."""
    plain = editor(Recipe(start=1.0, guidance_scale=1.0, parts=NOTHING))
    guided = editor(Recipe(start=1.0, parts=NOTHING))
    assert plain.forwards == STEPS
    misses = [float((one.latents - editor.inversion.clean).square().mean()) for one in (plain, guided)]
    assert misses[0] < 0.8 * misses[1]


@pytest.mark.parametrize(("start", "steps"), [(0.0, 1), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_start_says_how_many_steps_are_run_anew(editor: Editor, start: float, steps: int) -> None:
    told: list[tuple[int, int]] = []
    how = Recipe(start=start, parts=Parts(guidance=False))
    edited = editor(how, progress=lambda done, total: told.append((done, total)))
    assert edited.forwards == 2 * steps
    assert told == [(i + 1, steps) for i in range(steps)]


def test_guidance_lowers_the_energy(editor: Editor) -> None:
    """One guided step, so that before and after are at one level of noise."""
    for parts in (Parts(anchor=False), Parts(transport=False), Parts(transport=False, pinning=False)):
        how = Recipe(guidance=GuidanceSettings(iterations=4, rate=0.1, enough=0.0, until=0.01), parts=parts)
        edited = editor(how)
        assert edited.energy_before is not None and edited.energy_after is not None
        assert edited.energy_before.shape == (4,)
        assert float(edited.energy_after.mean()) < float(edited.energy_before.mean())
        assert edited.guided == 5


def test_guidance_changes_the_result_and_nothing_else_than_its_part(editor: Editor) -> None:
    without = editor(recipe(0.7, Parts(guidance=False)))
    assert without.energy_before is None and without.guided == 0
    guidance = GuidanceSettings(iterations=2, rate=0.1, enough=0.0, until=0.5)
    with_it = editor(replace(recipe(0.7), guidance=guidance))
    assert (with_it.latents - without.latents).abs().max() > 1e-3
    assert with_it.expected is not None and without.expected is not None
    assert torch.equal(with_it.expected, without.expected)
    satisfied = editor(replace(recipe(0.7), guidance=replace(guidance, enough=2.0)))  # no energy is above 1
    assert torch.equal(satisfied.latents, without.latents)


def test_the_seed_decides(editor: Editor) -> None:
    one, same, other = (editor(recipe(0.7), seed=seed).latents for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_scene_is_laid_where_it_should_be(editor: Editor, truth: Rendered) -> None:
    edited = editor(Recipe(start=0.25, parts=Parts(guidance=False)))
    shifted = np.zeros_like(truth.masks[0])
    shifted[:, 8:, 16:] = truth.masks[0][:, :-8, :-16]
    assert ((edited.region.target > 0.5) == shifted).mean() > 0.99
    assert edited.region.alpha[truth.masks[0] | shifted].min() == 1
    rolled = np.roll(truth.frames, (8, 16), (1, 2)).astype(float)
    inner = edited.region.target > 0.99
    assert np.abs(laid(edited).frames.astype(float) - rolled)[inner].mean() < 3
    assert edited.expected is not None
    free = outside(edited)
    assert torch.equal(edited.expected[free], editor.inversion.clean[free])


def test_a_move_by_nothing_lays_the_source(editor: Editor, truth: Rendered) -> None:
    edited = editor(Recipe(start=0.25, parts=Parts(guidance=False)), by=0 * BY)
    assert np.abs(laid(edited).frames.astype(float) - truth.frames).mean() < 1
    assert to_cells(edited.region.vacated, 8, 8).max() < 0.1 < to_cells(edited.region.source, 8, 8).max()


def test_the_anchor_draws_to_the_scene_as_laid(editor: Editor) -> None:
    whole = Recipe(start=1.0, anchor_full=1.0, anchor_end=2.0, parts=Parts(guidance=False))
    held, free = editor(whole), editor(replace(whole, parts=Parts(guidance=False, anchor=False)))
    assert held.expected is not None
    apart = [float((one.latents - held.expected).square().mean()) for one in (held, free)]
    assert apart[0] < 0.2 * apart[1]


def test_the_scene_is_held_where_it_is_vouched_for(editor: Editor, truth: Rendered) -> None:
    """The ball hardly moves: what it leaves, no frame shows. Words that change leave it to the model too."""
    how = Recipe(start=0.25, parts=Parts(guidance=False))
    moved, weighted = editor(how), edit(reworded(editor, weights={"ball": 2.0}), how)
    assert moved.held is not None and weighted.held is not None
    assert moved.held.shape == moved.region.alpha.shape and moved.held.min() >= 0 and moved.held.max() <= 1
    assert moved.held[moved.region.target > 0.99].min() > 0.7
    hidden = truth.masks[0].all(0) & ~grown(moved.region.target > 0.01, 3).any(0)
    assert hidden.sum() > 20 and moved.held[:, hidden].max() < 0.5
    assert moved.held[moved.region.alpha == 0].min() > 0.99
    assert weighted.held[weighted.region.target > 0.99].max() < 0.3
    without = editor(replace(how, parts=Parts(transport=False)))
    assert without.held is None and without.expected is None


def test_the_anchor_fades() -> None:
    how = Recipe(anchor_full=0.4, anchor_end=0.9)
    weights = [anchor_weight(done, how) for done in np.linspace(0, 1, 21)]
    assert weights == sorted(weights, reverse=True)
    assert anchor_weight(0.4, how) == 1 and anchor_weight(0.65, how) == pytest.approx(0.5)
    assert anchor_weight(0.9, how) == pytest.approx(0) and anchor_weight(1.0, how) == 0


def test_more_strength_is_never_less_of_anything() -> None:
    steps = [recipe(strength) for strength in np.linspace(0.05, 1, 20)]
    for read in (
        lambda r: r.start,
        lambda r: r.guidance.iterations,
        lambda r: r.guidance.rate,
        lambda r: r.guidance.until,
    ):
        values = [read(one) for one in steps]
        assert values == sorted(values) and values[0] < values[-1]
    assert all(0 < one.start <= 1 and one.guidance.iterations >= 1 for one in steps)
    assert recipe(0.5, NOTHING).parts == NOTHING and recipe(0.5).parts == Parts()


def test_the_model_and_the_inversion_are_as_before(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = list(editor.backbone._modules.unet.modules())
    pivots = editor.inversion.pivots.clone()
    editor(recipe(0.7))
    broken = recipe(0.7, Parts(transport=False))
    monkeypatch.setattr("vxedit.edit.branch.energy_of", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        editor(broken)
    assert sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in modules) == 0
    assert "predict" not in vars(editor.backbone)
    assert torch.equal(editor.inversion.pivots, pivots)
    assert all(p.grad is None for m in modules for p in m.parameters(recurse=False))


A_CELLS, B_CELLS = (slice(5, 9), slice(2, 6)), (slice(5, 9), slice(9, 13))
"""Rows and columns of two blocks of 4 x 4 cells."""


def noise_left(targets: Mapping[str, tuple[slice, slice]], *, others: bool = False) -> tuple[Tensor, Tensor]:
    """The noise (3, 2, 16, 16) that a clip was inverted to, and what a run without a network shows of it in the end.
    The objects named in `targets` are moved there, in their order; A's noise lies 20 above the rest, B's 20 below.
    `others`: they become other objects."""
    side = 128
    frames = np.random.default_rng(0).integers(100, 140, (2, side, side, 3)).astype(np.uint8)
    places = {"A": A_CELLS, "B": B_CELLS}
    backbone = PixelBackbone()
    clean = backbone.encode(frames)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    subjects = []
    for name, target in targets.items():
        rows, columns = places[name]
        noise[..., rows, columns] += {"A": 20, "B": -20}[name]
        masks = np.zeros((2, side, side), bool)
        masks[:, 8 * rows.start : 8 * rows.stop, 8 * columns.start : 8 * columns.stop] = True
        found = Located(masks, box_of(rows, columns))
        subjects.append(Subject(name, (1,), found, box_of(*target), cut_out(frames, found) if others else None))
    inversion = noised(clean, noise, 4)
    task = Task(cast(Backbone, backbone), inversion, frames, tuple(subjects), torch.Generator().manual_seed(0))
    edited = edit(task, Recipe(start=1.0, parts=Parts(guidance=False, anchor=False)))
    first, last = inversion.schedule.abar[0], inversion.schedule.abar[-1]
    begun = edited.latents * (first / last) ** 0.5
    assert edited.expected is not None
    return noise[0], ((begun - first**0.5 * edited.expected) / (1 - first) ** 0.5)[0]


def box_of(rows: slice, columns: slice) -> np.ndarray:
    return np.array([[columns.start, rows.start, columns.stop, rows.stop]] * 2) / 16


def test_the_objects_noise_goes_with_it_and_none_of_it_stays() -> None:
    """With a network that sees no noise, what a run ends with still shows the noise that it started with."""
    target = (slice(5, 9), slice(7, 11))  # clear of where it was
    noise, carried = noise_left({"A": target})
    torch.testing.assert_close(carried[(..., *target)], noise[(..., *A_CELLS)], rtol=0, atol=1e-3)
    left = carried[(..., *A_CELLS)]
    assert float(left.abs().max()) < 8
    assert float(left.std()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("target", [A_CELLS, (slice(5, 9), slice(3, 7)), (slice(5, 9), slice(7, 11))])
def test_none_of_an_objects_noise_is_left_to_what_it_becomes(target: tuple[slice, slice]) -> None:
    """It would draw the old object again, be the new one in its place, near it or elsewhere."""
    _, left = noise_left({"A": target}, others=True)
    for place in (A_CELLS, target):
        assert float(left[(..., *place)].abs().max()) < 8
        assert float(left[(..., *place)].std()) == pytest.approx(1, abs=0.3)


def test_the_noise_of_objects_that_change_places_changes_places() -> None:
    """Each one's is taken before its place gets the other's or the background's."""
    noise, carried = noise_left({"A": B_CELLS, "B": A_CELLS})
    torch.testing.assert_close(carried[(..., *B_CELLS)], noise[(..., *A_CELLS)], rtol=0, atol=1e-3)
    torch.testing.assert_close(carried[(..., *A_CELLS)], noise[(..., *B_CELLS)], rtol=0, atol=1e-3)


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_where_targets_meet_the_noise_is_the_later_objects(order: str) -> None:
    target = (slice(11, 15), slice(5, 9))
    noise, carried = noise_left(dict.fromkeys(order, target))
    own = {"A": A_CELLS, "B": B_CELLS}[order[1]]
    torch.testing.assert_close(carried[(..., *target)], noise[(..., *own)], rtol=0, atol=1e-3)
    for cells in (A_CELLS, B_CELLS):
        assert float(carried[(..., *cells)].abs().max()) < 8


def test_two_objects_share_one_region_and_the_rest_is_the_sources(editor: Editor, truth: Rendered) -> None:
    """The ball goes down to the right; what lies above it goes to the upper right corner."""
    masks = np.zeros_like(truth.masks[0])
    masks[:, 4:12, 8:20] = True
    boxes = np.repeat(np.array([[8, 4, 20, 12]]) / 64, 4, 0)
    other = Subject("red", (2,), Located(masks, boxes), boxes + np.array([36, 0, 36, 0]) / 64)
    subject = Subject("ball", editor.columns, editor.found, editor.found.boxes + BY)
    chance = torch.Generator().manual_seed(0)
    task = Task(editor.backbone, editor.inversion, editor.frames, (subject, other), chance)
    edited = edit(task, recipe(0.7))
    assert edited.region.alpha[:, 4:12, 44:56].min() == edited.region.alpha[truth.masks[0] | masks].min() == 1
    assert laid(edited).covers.shape == (2, 4, 64, 64)
    free = outside(edited)
    assert 0.05 < float(free.float().mean()) < 0.7
    assert torch.equal(edited.latents[free], editor.inversion.clean[free])
    corner = edited.latents[..., 1, 6] - editor.inversion.clean[..., 1, 6]
    assert float(corner.abs().max()) > 1e-3
    assert edited.energy_before is not None and edited.energy_before.shape == (4,)


def standing(editor: Editor, seed: int = 0) -> Task:
    """The ball is to stay where it is."""
    subject = Subject("ball", editor.columns, editor.found, editor.found.boxes)
    chance = torch.Generator().manual_seed(seed)
    return Task(editor.backbone, editor.inversion, editor.frames, (subject,), chance)


def reworded(editor: Editor, seed: int = 0, **what: Any) -> Task:
    """The same, with words of "a red ball" changed."""
    words = word_edit(editor.backbone.tokens, editor.inversion.prompt, **what)
    return replace(standing(editor, seed), words=words)


def test_words_that_change_get_room_and_leave_the_rest_the_sources(editor: Editor) -> None:
    how = Recipe(parts=Parts(guidance=False))
    plain = edit(standing(editor), how)
    for task in (reworded(editor, replace={"ball": "burger"}), reworded(editor, weights={"red": 3.0})):
        changed = edit(task, how)
        assert changed.region.alpha.mean() > 1.15 * plain.region.alpha.mean()
        free = outside(changed)
        assert torch.equal(changed.latents[free], editor.inversion.clean[free])
        assert (changed.latents - plain.latents).abs().max() > 1e-3
        assert changed.forwards > plain.forwards  # the source's passes are counted


def becoming(editor: Editor, **moved: Any) -> Task:
    """The ball becomes a burger, drawn in another clip."""
    other = clip("burger", "gravel", frames=4, size=64, start=(0.6, 0.6), end=(0.55, 0.6))
    task = reworded(editor, replace={"ball": "burger"})
    drawn = cut_out(other.frames, Located(other.masks[0], other.boxes[0]))
    return replace(task, subjects=(replace(task.subjects[0], cutout=drawn, **moved),))


def test_what_an_object_becomes_is_laid_and_held_where_the_object_was_to_be(editor: Editor) -> None:
    task = becoming(editor, targets=editor.found.boxes + BY)
    edited = edit(task, Recipe(parts=Parts(guidance=False)))
    scene = lay(task.frames, [task.subjects[0].moved])
    assert np.array_equal(laid(edited).frames, scene.frames)
    deep = scene.target > 0.99
    assert deep.sum() > 200 and edited.held is not None and edited.held[deep].mean() > 0.9
    assert edited.expected is not None  # it has detail that can be given back
    stressed = edit(reworded(editor, weights={"ball": 2.0}), Recipe(parts=Parts(guidance=False)))
    assert stressed.held is not None and stressed.held[laid(stressed).target > 0.99].max() < 0.3
    free = outside(edited)
    assert torch.equal(edited.latents[free], editor.inversion.clean[free])


def test_what_an_object_becomes_takes_none_of_the_old_ones_attention_over(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is its shape. A word that is only stressed keeps the shape."""
    taken: list[bool] = []

    def note(seen: Seen, call: AttentionCall) -> None:
        taken.append(seen.text or seen.space)

    monkeypatch.setattr(Seen, "__call__", note)
    how = Recipe(start=1.0, parts=Parts(guidance=False))
    edit(becoming(editor), how)
    assert taken and not any(taken)
    taken.clear()
    edit(reworded(editor, weights={"ball": 2.0}), how)
    assert any(taken)

"""The published recipes by gradient: their formulas worked out by hand, and whole runs of the real classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.edit.scenes import clip
from vxedit.backbones.protocol import Backbone, Piece, Schedule
from vxedit.backbones.tokens import columns
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import Capture, capture_words
from vxedit.edit.locate import Located
from vxedit.edit.recipes import layout_guidance, self_guidance, x_attention
from vxedit.edit.recipes.controlled import first_steps
from vxedit.edit.recipes.gradient import alternates, descend, slope
from vxedit.edit.recipes.guided import RECIPES
from vxedit.edit.recipes.names import NAMES
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Subject, Task
from vxedit.invert.ddim import step
from vxedit.invert.inversion import Inversion, invert, replay_inversion
from vxedit.job import InvertSettings
from vxedit.render.scene import Rendered

FRAMES, STEPS = 3, 4
PROMPT = "a red ball on the grass"
BY = np.array([0.25, 0.125, 0.25, 0.125])  # 2 and 1 of 8 cells
GUIDED = {"x-attention": (0, 2), "layout-guidance": (0,), "self-guidance": (0, 2)}
"""The steps of 4 that are guided: 3/16 and 10/51 of them come to one, and 1/32 takes the last away."""

MODULES = {"x-attention": x_attention, "layout-guidance": layout_guidance, "self-guidance": self_guidance}


@pytest.fixture(scope="module")
def truth() -> Rendered:
    return clip("ball", "gravel", frames=FRAMES, size=64, start=(0.3, 0.35), end=(0.34, 0.4))


@pytest.fixture(scope="module")
def inversion(tiny: UNet3D, truth: Rendered) -> Inversion:
    return invert(tiny, tiny.encode(truth.frames), PROMPT, InvertSettings("ddim", STEPS, 2.5))


@pytest.fixture(scope="module")
def task(tiny: UNet3D, truth: Rendered, inversion: Inversion) -> Task:
    found = Located(truth.masks[0], truth.boxes[0])
    word = columns(tiny.tokens(PROMPT), PROMPT, "ball")
    subject = Subject("ball", word, found, found.boxes + BY)
    return Task(tiny, inversion, truth.frames, (subject,), torch.Generator().manual_seed(0))


@pytest.fixture(params=RECIPES, ids=lambda one: one.name)
def recipe(request: pytest.FixtureRequest) -> Published:
    return cast(Published, request.param)


def to_source(task: Task) -> Task:
    """The same, with the object to stay where it is."""
    return replace(task, subjects=tuple(replace(one, targets=one.found.boxes) for one in task.subjects))


def levels(task: Task, steps: int) -> Task:
    """The same with a straight trajectory of `steps` steps, and no guidance scale, for what is about steps alone."""
    schedule, clean = task.backbone.schedule(steps), task.inversion.clean
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    pivots = torch.cat([a**0.5 * clean + (1 - a) ** 0.5 * noise for a in schedule.abar])
    return replace(task, inversion=Inversion(pivots, None, schedule, PROMPT, InvertSettings("ddim", steps, 1.0)))


class Passes:
    """The timesteps at which the model was run, with a gradient and without."""

    def __init__(self, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gradient: list[int] = []
        self.plain: list[int] = []
        predict = tiny.predict

        def counted(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
            (self.gradient if latents.requires_grad else self.plain).append(timestep)
            return predict(latents, timestep, embeds)

        monkeypatch.setattr(tiny, "predict", counted)


# whole runs


def test_they_are_listed_with_paper_and_differences() -> None:
    assert tuple(one.name for one in RECIPES) == ("x-attention", "layout-guidance", "self-guidance")
    assert all(one.name in NAMES and "arXiv" in one.paper and len(one.differs) > 100 for one in RECIPES)


def test_an_edit_is_finite_and_not_the_replay(recipe: Published, task: Task) -> None:
    told: list[tuple[int, int]] = []
    edited = recipe.run(replace(task, progress=lambda done, total: told.append((done, total))))
    replayed = replay_inversion(task.backbone, task.inversion, pinned=False)
    assert edited.latents.shape == replayed.shape and not edited.latents.requires_grad
    assert bool(torch.isfinite(edited.latents).all())
    assert float((edited.latents - replayed).abs().max()) > 1e-4
    assert edited.expected is None and edited.scene is None
    assert edited.region.alpha.shape == task.frames.shape[:3] and edited.region.alpha.min() == 1
    for energies in (edited.energy_before, edited.energy_after):
        assert energies is not None and energies.shape == (FRAMES,)
        assert bool(torch.isfinite(energies).all()) and float(energies.min()) > 0
    assert told == [(i + 1, STEPS) for i in range(STEPS)]


def test_only_the_scheduled_steps_are_guided(
    recipe: Published, task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = Passes(tiny, monkeypatch)
    edited = recipe.run(task)
    timesteps = task.inversion.schedule.timesteps
    times = 5 if recipe.name == "layout-guidance" else 1
    assert passes.gradient == [timesteps[i] for i in GUIDED[recipe.name] for _ in range(times)]
    assert edited.guided == len(passes.gradient) and edited.forwards == len(passes.plain)
    looks = len(GUIDED[recipe.name]) if recipe.name == "self-guidance" else 0
    assert edited.forwards == 2 * STEPS + looks


def test_a_gradient_pass_ends_before_the_models_output(
    recipe: Published, task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = 0

    def ended(*_: object) -> None:
        nonlocal ends
        ends += 1

    handle = tiny._modules.unet.conv_out.register_forward_hook(ended)
    try:
        recipe.run(task)
    finally:
        handle.remove()
    assert ends == 2 * STEPS


def test_the_model_is_as_before(recipe: Published, task: Task, tiny: UNet3D) -> None:
    def output() -> Tensor:
        with torch.no_grad():
            return tiny.predict(task.inversion.pivot(1), 501, tiny.text(PROMPT).embeds)

    before = output()
    recipe.run(task)
    assert torch.equal(output(), before)
    assert "predict" not in vars(tiny)
    assert not any(layer.module._forward_pre_hooks for layer in tiny.layers())
    assert all(weight.grad is None for weight in tiny._modules.unet.parameters())


def test_two_objects_are_moved_at_once(recipe: Published, task: Task, tiny: UNet3D) -> None:
    """The energies are sums over the objects."""
    one = task.subjects[0]
    other = replace(one, word="grass", columns=columns(tiny.tokens(PROMPT), PROMPT, "grass"))
    other = replace(other, targets=one.found.boxes - BY / 2)
    if recipe.name == "self-guidance":
        assert float(before(recipe, task, one, other).sum()) != float(before(recipe, task, one).sum())
        return
    both = before(recipe, task, one, other)
    torch.testing.assert_close(both, before(recipe, task, one) + before(recipe, task, other), rtol=1e-4, atol=1e-5)


def before(recipe: Published, task: Task, *subjects: Subject) -> Tensor:
    energies = recipe.run(replace(levels(task, 1), subjects=subjects)).energy_before
    assert energies is not None
    return energies


# one step, against its formula


def linear(slopes: Tensor) -> Callable[..., Tensor]:
    """An energy (f,) whose gradient is `slopes` everywhere, and which is large."""

    def energy(maps: dict[str, Tensor], *_: object) -> Tensor:
        return (maps["latents"] * slopes).sum((0, 1, 3, 4)) + 1e6

    return energy


@pytest.mark.parametrize(("name", "rate", "times"), [("x-attention", 15.0, 1), ("layout-guidance", 30.0, 5)])
def test_one_step_is_the_papers_update(
    name: str, rate: float, times: int, task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network without an opinion, so that the step itself only scales."""
    module, short = MODULES[name], levels(task, 1)
    x, schedule = short.inversion.pivot(0), short.inversion.schedule
    slopes = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) * 1e-2
    monkeypatch.setattr(module, "words_maps", lambda backbone, latents, *_, **__: {"latents": latents})
    monkeypatch.setattr(module, "energy_of", linear(slopes))
    monkeypatch.setattr(tiny, "predict", lambda latents, *_: torch.zeros_like(latents))
    edited = by_name(name).run(short)
    a, b = schedule.abar
    torch.testing.assert_close(edited.latents, (b / a) ** 0.5 * (x - times * rate * (1 - a) * slopes))
    assert edited.guided == times


def by_name(name: str) -> Published:
    return {one.name: one for one in RECIPES}[name]


def test_self_guidance_adds_its_gradient_to_the_noise(
    task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = levels(task, 1)
    x, schedule = short.inversion.pivot(0), short.inversion.schedule
    slopes = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) * 1e-4
    monkeypatch.setattr(self_guidance, "slope", lambda energy, at: (torch.ones(FRAMES), slopes))
    monkeypatch.setattr(tiny, "predict", lambda latents, *_: torch.full_like(latents, 0.5))
    edited = by_name("self-guidance").run(short)
    a, b = schedule.abar
    noise = 0.5 + self_guidance.SCALE * (1 - a) ** 0.5 * slopes
    torch.testing.assert_close(edited.latents, step(x, noise, a, b))


@pytest.mark.parametrize("abar", [0.006, 0.3, 0.9])
def test_layout_guidance_moves_as_in_its_samplers_latents(abar: float) -> None:
    """Its latents are y = x / sqrt(abar), where the update is y -= 30 sigma^2 dE/dy."""
    x, goal = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = (x / abar**0.5).requires_grad_()
    (in_y,) = torch.autograd.grad((y * abar**0.5 - goal).pow(4).sum(), y)
    expected = (y.detach() - 30 * (1 - abar) / abar * in_y) * abar**0.5
    torch.testing.assert_close(x - layout_guidance.rate(abar) * 4 * (x - goal) ** 3, expected)


def squares(x: Tensor) -> Tensor:
    return 0.5 * x.square().sum((0, 1, 3, 4))


def test_descent_follows_the_gradient_of_every_frames_energy() -> None:
    x = torch.randn(1, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = descend(squares, x, 0.1, most=3)
    torch.testing.assert_close(found.latents, 0.9**3 * x)
    torch.testing.assert_close(found.before, squares(x))
    torch.testing.assert_close(found.after, 0.9**4 * squares(x))  # the last pass is made before the last move
    assert found.passes == 3 and found.score is None and not found.latents.requires_grad


def test_descent_ends_where_it_is_enough() -> None:
    x = torch.full((1, 1, 2, 1, 1), 2.0)  # energies 2, 0.5, 0.125
    found = descend(squares, x, 0.5, most=5, enough=0.2)
    torch.testing.assert_close(found.latents, torch.full((1, 1, 2, 1, 1), 0.5))
    assert found.passes == 3
    untouched = descend(squares, x, 0.5, most=5, enough=2.0)
    assert torch.equal(untouched.latents, x) and untouched.passes == 1


def test_layout_guidance_tests_its_threshold_afresh_at_every_step(
    task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of 10 steps are guided; the first has nothing to do, the second has."""
    short = levels(task, 10)
    first = short.inversion.schedule.timesteps[0]
    asked: list[int] = []

    def maps(backbone: Backbone, latents: Tensor, timestep: int, *_: object) -> dict[str, Tensor]:
        asked.append(timestep)
        return {"latents": latents}

    def energy(maps: dict[str, Tensor], _: object) -> Tensor:
        return (0.1 if asked[-1] == first else 1.0) + 0 * maps["latents"].sum((0, 1, 3, 4))

    monkeypatch.setattr(layout_guidance, "words_maps", maps)
    monkeypatch.setattr(layout_guidance, "energy_of", energy)
    monkeypatch.setattr(tiny, "predict", lambda latents, *_: torch.zeros_like(latents))
    assert layout_guidance.run(short).guided == 1 + 5
    asked.clear()
    two = replace(short, subjects=short.subjects * 2)  # 0.1 and 1.0 are then sums of two, each with a share of 0.2
    monkeypatch.setattr(layout_guidance, "energy_of", lambda *given: energy(*given) * 0.35)
    assert layout_guidance.run(two).guided == 1 + 1


def test_a_gradient_that_is_not_finite_is_none() -> None:
    x = torch.ones(1, 1, 2, 2, 2)
    roots: list[Callable[[Tensor], Tensor]] = [lambda y: (y - 1).sqrt(), lambda y: -(y - 1).sqrt(), lambda y: y / 0]
    for root in roots:
        values, gradient = slope(lambda y, root=root: root(y).sum((0, 1, 3, 4)), x)  # type: ignore[misc]
        assert torch.equal(gradient, torch.zeros_like(x)) and values.shape == (2,)


# schedules and layers


def test_the_first_steps_are_guided_then_every_second() -> None:
    assert [i for i in range(32) if alternates(i, 32)] == [0, 1, 2, 3, 4, 5, *range(7, 31, 2)]
    assert [i for i in range(4) if alternates(i, 4)] == [0, 2]
    assert [i for i in range(1) if alternates(i, 1)] == [0]


def test_published_numbers_of_steps_are_scaled() -> None:
    assert [first_steps(10, 51, count) for count in (51, 20, 5, 1)] == [10, 4, 1, 1]


def test_x_attention_looks_at_half_and_a_quarter_of_the_sides(tiny: UNet3D) -> None:
    def backbone(*strides: int) -> Backbone:
        layers = tuple(SimpleNamespace(name=f"l{i}", stride=stride) for i, stride in enumerate(strides))
        steering = tuple(layer.name for layer in layers[1:])
        return cast(Backbone, SimpleNamespace(layers=lambda: layers, steering_layers=lambda: steering))

    assert x_attention.layers_of(backbone(2, 1, 2, 4, 8)) == ("l2", "l3")
    assert x_attention.layers_of(backbone(2, 1, 8)) == ("l1", "l2")
    assert x_attention.layers_of(tiny) == tiny.steering_layers()


# what the energies are

CELL = np.array([[2, 5, 3, 6]]) / 8
"""A box that is the cell in row 5 and column 2 of 8 x 8."""


def at(row: int, column: int) -> Tensor:
    """A map (1, 1, 8, 8) that is at one cell."""
    found = torch.zeros(1, 1, 8, 8)
    found[0, 0, row, column] = 1
    return found


def test_an_ellipse_covers_pi_quarters_of_its_box() -> None:
    boxes = np.array([[0.1, 0.2, 0.7, 0.9], [0.3, 0.3, 0.5, 0.5]])
    cover = x_attention.ellipses(boxes, 16, 12)
    assert cover.shape == (2, 16, 12) and float(cover.min()) >= 0 and float(cover.max()) <= 1
    torch.testing.assert_close(cover.mean((1, 2)), torch.tensor([0.42, 0.04]) * torch.pi / 4, rtol=0.02, atol=0)
    middle = x_attention.ellipses(np.array([[0.25, 0.25, 0.75, 0.75]]), 8, 8)[0]
    assert torch.equal(middle, middle.flip(0)) and torch.equal(middle, middle.T)
    assert float(middle[3, 3]) == 1 and float(middle[0, 0]) == 0 and 0 < float(middle[2, 2]) < 1


def test_a_target_is_cut_at_the_border_and_never_comes_round() -> None:
    over = x_attention.drawn(np.array([[0.75, 0.25, 1.25, 0.75]]), 8, 8)[0]
    assert float(over[:, :6].abs().max()) == 0 and float(over[3, 7]) == 1
    outside = x_attention.drawn(np.array([[1.1, 0.25, 1.6, 0.75]]), 8, 8)
    assert float(outside.abs().max()) == 0
    assert float(x_attention.energy_of({"a": at(0, 0)[None]}, [np.array([[1.1, 0.25, 1.6, 0.75]])])) == 0
    assert float(x_attention.drawn(np.array([[0.51, 0.51, 0.511, 0.511]]), 8, 8).max()) == 1


def test_x_attentions_energy_is_four_times_the_mean_square() -> None:
    """One cell too much and one too few of 64."""
    there, away = at(5, 2)[:, None], at(1, 1)[:, None]
    assert float(x_attention.energy_of({"a": there}, [CELL])) == pytest.approx(0, abs=1e-6)
    assert float(x_attention.energy_of({"a": away}, [CELL])) == pytest.approx(4 * 2 / 64, rel=1e-4)
    assert float(x_attention.energy_of({"a": away, "b": there}, [CELL])) == pytest.approx(4 / 64, rel=1e-4)
    both = torch.cat([away, away], 1)
    assert float(x_attention.energy_of({"a": both}, [CELL, CELL])) == pytest.approx(4 * 4 / 64, rel=1e-4)


def test_layout_guidances_energy_is_the_boxs() -> None:
    flat, there = torch.full((1, 1, 1, 8, 8), 0.3), at(5, 2)[:, None]
    quarter = np.array([[0, 0, 0.5, 0.5]])
    assert float(layout_guidance.energy_of({"a": flat}, [quarter])) == pytest.approx(0.75**2)
    assert float(layout_guidance.energy_of({"a": flat, "b": there}, [CELL])) == pytest.approx((63 / 64) ** 2 / 2)
    both = torch.cat([flat, flat], 1)
    assert float(layout_guidance.energy_of({"a": both}, [quarter, quarter])) == pytest.approx(2 * 0.75**2)


def seen(*places: tuple[int, int], look: float = 0.0) -> Capture:
    """Words that are at one cell each, in features that are `look` everywhere."""
    maps = torch.stack([at(*place) for place in places], 1)
    return Capture({"a": maps}, {"a": torch.full((1, 1, 8, 8, 3), look)})


def test_self_guidances_energy_weighs_move_shapes_and_looks() -> None:
    """A word at another cell than its shape's differs in 2 of 64 cells."""
    to = CELL + np.array([3, -2, 3, -2]) / 8
    source = seen((5, 2), (1, 1))

    def energy(now: Capture, target: np.ndarray = to) -> float:
        return float(self_guidance.energy_of(now, source, [CELL], [target]))

    assert energy(seen((3, 5), (1, 1))) == pytest.approx(0, abs=1e-5)
    assert energy(seen((5, 2), (1, 1))) == pytest.approx(2.0 * 2 / 64, rel=1e-3)
    assert energy(seen((5, 2), (1, 1)), CELL) == 0
    assert energy(seen((3, 5), (6, 6))) == pytest.approx(1.5 * 2 / 64, rel=1e-3)
    assert energy(seen((3, 5), (1, 1), look=-0.4)) == pytest.approx(0.25 * 0.4, rel=1e-3)
    alone = self_guidance.energy_of(seen((5, 2)), seen((5, 2)), [CELL], [to])
    assert float(alone) == pytest.approx(2.0 * 2 / 64, rel=1e-3)
    two = self_guidance.energy_of(source, source, [CELL, CELL], [to, CELL])
    assert float(two) == pytest.approx(2.0 * 2 / 64, rel=1e-3)


def test_a_box_that_stays_leaves_its_shape_bit_for_bit() -> None:
    """On a grid of 7 x 11 cells, where a bilinear sample of a cell's own centre is a rounding error off."""
    shape = torch.rand(2, 7, 11, generator=torch.Generator().manual_seed(0))
    boxes = np.array([[0.11, 0.23, 0.47, 0.59]] * 2)
    targets = boxes + np.array([[0.0] * 4, [3 / 11, 2 / 7, 3 / 11, 2 / 7]])
    found = self_guidance.moved_shape(shape, boxes, targets)
    assert torch.equal(found[0], shape[0])
    torch.testing.assert_close(found[1, 2:, 3:], shape[1, :-2, :-3], rtol=0, atol=1e-5)


def test_with_the_objects_own_place_self_guidance_has_nothing_to_do(
    task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the trajectory's own latents, in the first step; later ones differ by what the inversion misses."""
    monkeypatch.setattr(self_guidance, "alternates", lambda i, _: i == 0)
    replayed = replay_inversion(tiny, task.inversion, pinned=False)

    def moved(edited: Edited) -> float:
        return float((edited.latents - replayed).abs().max())

    stays, goes = self_guidance.run(to_source(task)), self_guidance.run(task)
    assert stays.energy_before is not None and goes.energy_before is not None
    assert float(stays.energy_before.max()) < 1e-5 and float(goes.energy_before.min()) > 1e-2
    assert moved(stays) < 1e-4 and moved(goes) > 100 * moved(stays)
    assert stays.guided == goes.guided == 1


def test_looks_are_read_in_the_layers_tokens(task: Task, tiny: UNet3D) -> None:
    """Their gradient reaches the latents, through features and maps both."""
    x, embeds = task.inversion.pivot(0), tiny.text(PROMPT).embeds
    words = [task.subjects[0].columns]

    def look(at: Tensor) -> Capture:
        with capture_words(tiny, words, stop=True, features=True) as found:
            tiny.predict(at, task.inversion.schedule.timesteps[0], embeds)
        return found

    with torch.no_grad():
        source = look(x)
    flat = Capture(source.maps, {name: 0 * f for name, f in source.features.items()})
    origins = task.origins()
    values, gradient = slope(lambda at: self_guidance.energy_of(look(at), flat, origins, origins), x)
    assert float(values.min()) > 0 and float(gradient.abs().max()) > 0


def test_other_words_are_those_that_name_something() -> None:
    prompt = "A red ball on the 3 hills, near it"
    starts = [(word, prompt.index(word)) for word in ("A", "red", "ball", "on", "the", "3", "hills", "near", "it")]
    pieces = [Piece(column + 1, start, start + len(word)) for column, (word, start) in enumerate(starts)]
    hills = pieces[6]
    pieces[6:7] = [hills._replace(end=hills.start + 3), hills._replace(column=20, start=hills.start + 3)]
    assert self_guidance.other_words(prompt, pieces, [(3,)]) == [(2,), (7, 20)]
    assert self_guidance.other_words(prompt, pieces, [(2, 3), (20,)]) == []


def test_self_guidance_keeps_the_prompts_other_words(task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[tuple[int, ...]]] = []

    def watched(backbone: Backbone, words: list[tuple[int, ...]], **options: bool) -> object:
        asked.append(list(words))
        assert options == {"stop": True, "features": True}
        return capture_words(backbone, words, stop=True, features=True)

    monkeypatch.setattr(self_guidance, "capture_words", watched)
    self_guidance.run(levels(task, 1))
    found = tiny.tokens(PROMPT)
    assert asked == [[columns(found, PROMPT, word) for word in ("ball", "red", "grass")]] * 2


def test_a_schedule_of_one_step_is_guided(recipe: Published, task: Task) -> None:
    short = levels(task, 1)
    assert isinstance(short.inversion.schedule, Schedule) and len(short.inversion.schedule) == 1
    assert recipe.run(short).guided >= 1

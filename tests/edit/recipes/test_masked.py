"""The published recipes without gradients: who may look at whom, by how much, for how long, and from which noise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.edit.scenes import clip
from vxedit.backbones.protocol import Attention, AttentionCall, AttentionKind, Control
from vxedit.backbones.tokens import columns as columns_of_word
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.locate import Located
from vxedit.edit.recipes import freetraj, gradient, peekaboo, trailblazer
from vxedit.edit.recipes.controlled import first_steps, regenerate
from vxedit.edit.recipes.masked import RECIPES
from vxedit.edit.recipes.names import NAMES
from vxedit.edit.recipes.places import bells, columns_of, on_tokens, places
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Subject, Task
from vxedit.invert.inversion import denoiser, invert, replay_inversion
from vxedit.job import InvertSettings

STEPS, FRAMES = 4, 3
PROMPT = "the burger on the red ball"
WHOLE, QUARTER = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]


def still(box: list[float], frames: int = 2) -> np.ndarray:
    """A box that stays where it is, (frames, 4)."""
    return np.repeat(np.array([box]), frames, 0)


def ask(
    kind: AttentionKind, value: Tensor | None = None, *, frames: int = 2, batch: int = 1, bias: Tensor | None = None
) -> AttentionCall:
    """A call of a 4 x 4 grid with random queries and keys, and a text of 6 columns. `value` (L,) or (B', L): the values
    of the keys, in every channel."""
    inside, length = (16, frames) if kind == "time" else (frames, 16)
    keys, rows = 6 if kind == "text" else length, batch * inside
    drawn = torch.Generator().manual_seed(0)
    query, key, values = (torch.randn(rows, 2, n, 4, generator=drawn) for n in (length, keys, keys))
    if value is not None:
        values = value.float().expand(rows, keys)[:, None, :, None].expand(rows, 2, keys, 4)
    return AttentionCall(Attention("a", kind, None, 1), query, key, values, bias, batch, frames, 4, 4)


def plain(call: AttentionCall) -> Tensor:
    return F.scaled_dot_product_attention(call.query, call.key, call.value, attn_mask=call.bias)


def given(control: Control, call: AttentionCall) -> Tensor:
    out = control(call)
    assert out is not None and out.shape == call.query.shape[:3] + call.value.shape[3:]
    return out


# places


def test_a_bell_is_one_at_the_centre_and_a_gaussian_of_a_third_of_the_box() -> None:
    bell = bells(still(WHOLE, 1), 3, 3)[0]  # cell centres lie one deviation apart
    edge, corner = np.exp(-0.5), np.exp(-1)
    expected = [[corner, edge, corner], [edge, 1, edge], [corner, edge, corner]]
    np.testing.assert_allclose(bell, expected, rtol=1e-6)


def test_a_box_has_the_cells_whose_centres_lie_in_it_and_at_least_its_own() -> None:
    place = places([still([0.25, 0.5, 0.75, 1.0], 1)], 4, 4)
    assert place.owner[0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    assert place.bell[place.owner > 0].tolist() == [1, 1, 1, 1]  # all equally far from its centre
    thin = places([still([0.5, 0.26, 0.52, 0.3], 1)], 4, 4).owner[0]
    assert thin.nonzero().tolist() == [[1, 2]]
    assert not places([still([1.2, 0.0, 1.4, 0.5], 1)], 4, 4).owner.any()


def test_where_boxes_overlap_the_later_object_is_in_front() -> None:
    place = places([still(WHOLE, 1), still(QUARTER, 1)], 4, 4)
    assert place.owner[0].tolist() == [[2, 2, 1, 1], [2, 2, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert torch.equal(place.bell[0, :2, :2], bells(still(QUARTER, 1), 4, 4)[0, :2, :2])


def test_maps_lie_on_tokens_in_the_order_of_the_queries() -> None:
    maps = torch.arange(32).view(2, 4, 4)
    space, time = (on_tokens(maps, ask(kind, batch=2)) for kind in ("space", "time"))
    assert space.tolist() == 2 * [list(range(16)), list(range(16, 32))]
    assert time.tolist() == 2 * [[cell, 16 + cell] for cell in range(16)]


def test_columns_that_are_no_objects_are_the_backgrounds() -> None:
    table = columns_of([(1, 2), (4,)], 6)
    assert table.int().tolist() == [[1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]


# peekaboo

CORNER = places([still(QUARTER)], 4, 4).owner[0].flatten() == 1  # (16,)


def test_peekaboo_keeps_object_and_background_apart_in_a_frame() -> None:
    out = given(peekaboo.masking([still(QUARTER)], [(2,)]), ask("space", CORNER))
    assert (out[:, :, CORNER] > 1 - 1e-6).all() and (out[:, :, ~CORNER] == 0).all()


def test_peekaboo_shows_each_object_its_word_and_the_background_the_rest() -> None:
    control = peekaboo.masking([still(WHOLE), still(QUARTER)], [(1, 2), (4,)])
    for columns, sees in (((1, 2), ~CORNER), ((4,), CORNER)):
        out = given(control, ask("text", columns_of([columns], 6)[1]))
        assert (out[:, :, sees] > 1 - 1e-6).all() and (out[:, :, ~sees] == 0).all()
    rest = columns_of([(1, 2)], 6)[0]
    out = given(peekaboo.masking([still(QUARTER)], [(1, 2)]), ask("text", rest))
    assert (out[:, :, ~CORNER] > 1 - 1e-6).all() and (out[:, :, CORNER] == 0).all()


def test_peekaboo_keeps_a_places_moments_in_and_out_of_the_box_apart() -> None:
    moving = np.array([QUARTER, [0.5, 0.0, 1.0, 0.5], QUARTER])
    call = ask("time", torch.tensor([1.0, 0.0, 1.0]), frames=3)
    out = given(peekaboo.masking([moving], [(2,)]), call)  # (16, heads, 3, d)
    assert (out[CORNER][:, :, [0, 2]] > 1 - 1e-6).all() and (out[CORNER][:, :, 1] == 0).all()
    torch.testing.assert_close(out[8:], plain(call)[8:])  # the lower half never is in it


def test_peekaboo_with_one_object_everywhere_leaves_space_and_time_alone_and_shows_its_word_only() -> None:
    control = peekaboo.masking([still(WHOLE)], [(1, 2)])
    for kind in ("space", "time"):
        torch.testing.assert_close(given(control, ask(kind)), plain(ask(kind)))
    assert (given(control, ask("text", columns_of([(1, 2)], 6)[1])) > 1 - 1e-6).all()


def test_where_nothing_may_be_looked_at_all_may_be_and_a_bias_stays() -> None:
    bias = torch.zeros(2, 1, 1, 6)
    bias[..., 5] = -torch.inf
    call = ask("text", bias=bias)
    torch.testing.assert_close(given(peekaboo.masking([still(WHOLE)], [()]), call), plain(call))
    ends = ask("text", columns_of([(5,)], 6)[1], bias=bias)
    assert (given(peekaboo.masking([still(QUARTER)], [(2,)]), ends) == 0).all()


# trailblazer


def test_the_trailing_columns_follow_the_prompt(tiny: UNet3D) -> None:
    pieces = tiny.tokens(PROMPT)
    end = len(pieces) + 1  # after the start token
    assert trailblazer.trailing(pieces) == tuple(range(end, end + 15))


def test_trailblazer_strengthens_the_words_columns_in_the_box_and_weakens_them_outside() -> None:
    bell = bells(still(WHOLE, 1), 3, 3).flatten(1)
    bell[:, 6:] = 0  # the lower row is background
    even = torch.full((1, 2, 9, 5), 0.2)
    even[:, :, 0, 0] = 0.8  # the largest probability of all
    edited = trailblazer.edit_text(even, (bell > 0).long(), bell, [(1, 3)])
    assert torch.equal(edited[..., [0, 2, 4]], even[..., [0, 2, 4]])
    gained = 0.2 + 0.15 * 0.8 * bell[0, :6]
    for column in (1, 3):
        torch.testing.assert_close(edited[0, :, :6, column], gained.expand(2, -1))
        torch.testing.assert_close(edited[0, :, 6:, column], torch.full((2, 3), 0.0002))


def test_trailblazers_shared_columns_go_to_every_box_and_own_ones_to_one() -> None:
    owner, bell = torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 1.0, 1.0]])
    edited = trailblazer.edit_text(torch.full((1, 1, 3, 4), 0.25), owner, bell, [(1, 3), (2, 3)])[0, 0]
    low, high = 0.25e-3, 0.25 * 1.15
    expected = torch.tensor([[0.25, low, low, low], [0.25, high, low, high], [0.25, low, high, high]])
    torch.testing.assert_close(edited, expected)


def test_trailblazer_draws_the_words_attention_into_the_box() -> None:
    aims, words = [still(QUARTER)], [(2,)]
    call = ask("text", columns_of(words, 6)[1])  # the output is the word's probability
    before, after = plain(call), given(trailblazer.steering(aims, words), call)
    assert (after[:, :, CORNER] > before[:, :, CORNER]).all()
    torch.testing.assert_close(after[:, :, ~CORNER], 0.001 * before[:, :, ~CORNER])


def test_trailblazer_over_time_by_the_distance_of_frames() -> None:
    bell = torch.tensor(
        [[1.0, 1.0], [0.5, 0.0], [0.0, 0.0], [1.0, 0.75]]
    )  # always at its centre, at first, never, always
    edited = trailblazer.edit_time(torch.full((4, 1, 2, 2), 0.5), bell)[:, 0]
    part = 0.15 * 0.5
    near, far = 0.5 + part, 0.5 + part * 0.5
    torch.testing.assert_close(edited[0], torch.tensor([[near, far], [far, near]]))
    torch.testing.assert_close(edited[1], torch.tensor([[0.5 + part * 0.5, 0.5], [0.5, 0.0005]]))
    torch.testing.assert_close(edited[2], torch.full((2, 2), 0.0005))
    key_frames = torch.tensor([[near, 0.5 + part * 0.25], [far, 0.5 + part * 0.75]])
    torch.testing.assert_close(edited[3], key_frames)


def test_trailblazer_leaves_space_alone_and_without_words_the_text() -> None:
    aims = [still(QUARTER)]
    with_words, without = trailblazer.steering(aims, [(2,)]), trailblazer.steering(aims, None)
    assert with_words(ask("space")) is None and without(ask("text")) is None
    torch.testing.assert_close(given(without, ask("time")), given(with_words, ask("time")))


# freetraj


@pytest.mark.parametrize("kind", ["space", "time"])
def test_freetraj_weights_the_logits_across_the_border(kind: AttentionKind) -> None:
    aims = [np.array([QUARTER, [0.25, 0.0, 1.0, 0.5]]), np.array([[0.5, 0.5, 1.0, 1.0], QUARTER])]
    call = ask(kind, batch=2)
    owner = on_tokens(places(aims, 4, 4).owner, call)
    scores = call.query @ call.key.transpose(-1, -2) / 2
    weight = torch.where(owner[:, :, None] == owner[:, None], 1.0, 0.01)[:, None]
    expected = (scores * weight).softmax(-1) @ call.value
    torch.testing.assert_close(given(freetraj.isolating(aims, [(1,), (2,)]), call), expected, rtol=1e-4, atol=1e-5)
    everywhere = given(freetraj.isolating([still(WHOLE)], [(1,)]), call)
    torch.testing.assert_close(everywhere, plain(call), rtol=1e-4, atol=1e-5)


def test_freetraj_takes_the_words_out_of_the_background_and_adds_them_in_the_box() -> None:
    aims, words = [still(QUARTER)], [(1, 2)]
    control = freetraj.isolating(aims, words)
    word = given(control, ask("text", columns_of([(1,)], 6)[1]))
    assert (word[:, :, ~CORNER] == 0).all()
    torch.testing.assert_close(word[:, :, CORNER], torch.full((2, 2, 4, 4), 1 / 6 + 0.25 / 0.25 / 2))
    total = given(control, ask("text", torch.ones(6)))
    torch.testing.assert_close(total[:, :, ~CORNER], torch.ones(2, 2, 12, 4))
    torch.testing.assert_close(total[:, :, CORNER], torch.full((2, 2, 4, 4), 2.0))


def test_freetrajs_weight_of_a_vanishing_box_and_of_all_columns_is_finite() -> None:
    aims = [still([0.5, 0.5, 0.5, 0.5])]
    place = places(aims, 4, 4)
    weight = freetraj.word_weight(place, aims, [(1,)])
    assert weight.sum().item() == pytest.approx(2 * 0.25 * 16)  # one cell of 16 in each of two frames
    everything = [tuple(range(6))]
    assert given(freetraj.isolating(aims, everything), ask("text")).isfinite().all()


def test_the_filter_lets_half_through_at_its_stop_frequencies() -> None:
    gain = freetraj.butterworth(20, 8, 8)
    assert gain[0, 0, 0] == 1
    assert gain[2, 0, 0].item() == pytest.approx(1 / (1 + 2**8))  # twice the stop in time
    for at in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 7)):
        assert gain[at].item() == pytest.approx(0.5)
    assert gain[0, 1, 1].item() == pytest.approx(1 / (1 + 2**4))


def test_the_mix_takes_what_is_slow_from_one_and_what_is_fast_from_the_other() -> None:
    def made(mean: float, ripple: float) -> Tensor:
        alternating = 1 - 2 * (torch.arange(8) % 2)
        return mean + ripple * alternating.float().expand(1, 1, 4, 8, 8)

    mixed = freetraj.low_pass_mix(made(3, 1), made(-1, 0.5))
    torch.testing.assert_close(mixed, made(3, 0.5), rtol=0, atol=1e-4)


def unit_noise(frames: int = 8, side: int = 32) -> Tensor:
    return torch.randn(1, 4, frames, side, side, generator=torch.Generator().manual_seed(0))


def test_freetrajs_noise_is_its_own_where_the_path_is_the_objects_own() -> None:
    noise, boxes = unit_noise(), np.linspace([0.1, 0.1, 0.5, 0.4], [0.4, 0.5, 0.8, 0.8], 8)
    torch.testing.assert_close(freetraj.path_noise(noise, [boxes], [boxes]), noise, rtol=0, atol=1e-6)


def test_freetrajs_noise_stays_unit_noise_and_carries_the_objects_patch() -> None:
    noise = unit_noise()
    origin, aim = still([0.0, 0.0, 0.5, 0.5], 8), still([0.5, 0.25, 1.0, 0.75], 8)
    carried = freetraj.path_noise(noise, [origin], [aim])
    assert (carried - noise).abs().max() > 0.1
    assert float(carried.std()) == pytest.approx(1, abs=0.02)
    # the filter keeps the constant term, so the sum changes by what the patch brings less what it covers
    brought = noise[..., :16, :16].sum() - noise[..., 8:24, 16:].sum()
    assert float((carried - noise).sum()) == pytest.approx(float(brought), abs=1e-2)
    ahead = torch.ones_like(noise)
    ahead[..., :16, :16] = 3
    moved = freetraj.path_noise(ahead, [origin], [aim])
    assert float(moved[..., 10:22, 18:30].mean()) == pytest.approx(3, abs=0.3)


# runs


@pytest.fixture(scope="module")
def task(tiny: UNet3D) -> Task:
    """Two objects of a clip inverted with the plain rule; the first is moved, the second stays, half over it."""
    truth = clip("ball", "gravel", frames=FRAMES, size=64, start=(0.3, 0.35), end=(0.34, 0.4))
    inversion = invert(tiny, tiny.encode(truth.frames), PROMPT, InvertSettings("ddim", STEPS, 2.5))
    pieces, boxes = tiny.tokens(PROMPT), truth.boxes[0]
    masks = np.zeros((FRAMES, 64, 64), bool)
    masks[:, 40:, 40:] = True
    other = Located(masks, still([0.625, 0.625, 1.0, 1.0], FRAMES))
    subjects = (
        Subject("ball", columns_of_word(pieces, PROMPT, "ball"), Located(truth.masks[0], boxes), boxes + 0.25),
        Subject("burger", columns_of_word(pieces, PROMPT, "burger"), other, other.boxes),
    )
    return Task(
        backbone=tiny,
        inversion=inversion,
        frames=truth.frames,
        subjects=subjects,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.fixture(scope="module")
def unedited(task: Task) -> Tensor:
    return replay_inversion(task.backbone, task.inversion, pinned=False)


each = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


@each
def test_a_recipe_changes_the_clip_as_it_is_asked_and_leaves_the_model_as_before(
    recipe: Published, task: Task, unedited: Tensor, tiny: UNet3D
) -> None:
    processors = [attention.module.processor for attention in tiny.attentions()]
    told: list[tuple[int, int]] = []
    edited = recipe.run(replace(task, progress=lambda done, total: told.append((done, total))))
    assert edited.latents.shape == task.inversion.clean.shape and bool(edited.latents.isfinite().all())
    assert float((edited.latents - unedited).abs().max()) > 1e-3
    assert not edited.latents.requires_grad
    assert (edited.forwards, edited.guided) == (2 * STEPS, 0)
    assert (edited.region.alpha == 1).all() and edited.scene is None and edited.expected is None
    assert told == [(done, STEPS) for done in range(1, STEPS + 1)]
    assert [attention.module.processor for attention in tiny.attentions()] == processors
    assert torch.equal(replay_inversion(tiny, task.inversion, pinned=False), unedited)
    ball, burger = task.subjects
    elsewhere = replace(task, subjects=(replace(ball, targets=ball.targets - 0.3), burger))
    assert float((edited.latents - recipe.run(elsewhere).latents).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["control", "gradient"])
def test_without_a_change_to_anything_the_clip_is_made_again_fresh_noise_and_all(task: Task, kind: str) -> None:
    noise = torch.randn(task.inversion.pivots[1:-1].shape, generator=torch.Generator().manual_seed(0))
    task = replace(task, inversion=replace(task.inversion, eta=1.0, fresh=noise))
    if kind == "control":
        edited = regenerate(task, task.inversion.pivot(0), 1, lambda call: None)
    else:
        edited = gradient.regenerate(task, denoiser(task.backbone, task.inversion), lambda x, i: None)
    assert torch.equal(edited.latents, replay_inversion(task.backbone, task.inversion, pinned=False))


def test_the_recipes_have_their_names_and_papers() -> None:
    assert [recipe.name for recipe in RECIPES] == ["peekaboo", "trailblazer", "freetraj"]
    assert {recipe.name for recipe in RECIPES} <= set(NAMES)
    assert all("arXiv" in recipe.paper and recipe.differs.endswith(".") for recipe in RECIPES)


@each
def test_the_attention_is_under_control_in_the_first_steps_only(
    recipe: Published, task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    controlled, predict = tiny.controlled, tiny.predict
    ruled, passes, starts = False, list[bool](), list[Tensor]()

    @contextlib.contextmanager
    def watched(control: Control) -> Iterator[None]:
        nonlocal ruled
        ruled = True
        with controlled(control):
            yield
        ruled = False

    def seen(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
        passes.append(ruled)
        starts.append(latents)
        return predict(latents, timestep, embeds)

    monkeypatch.setattr(tiny, "controlled", watched)
    monkeypatch.setattr(tiny, "predict", seen)
    recipe.run(task)
    assert passes == 2 * [True] + (2 * STEPS - 2) * [False]
    own = torch.equal(starts[0], task.inversion.pivot(0))
    assert own == (recipe.name != "freetraj")


@pytest.mark.parametrize(
    ("published", "of", "steps", "expected"),
    [(2, 40, 40, 2), (5, 40, 20, 2), (6, 50, 50, 6), (6, 50, 20, 2), (2, 40, 4, 1), (5, 40, 1, 1)],
)
def test_the_papers_steps_are_taken_in_proportion(published: int, of: int, steps: int, expected: int) -> None:
    assert first_steps(published, of, steps) == expected


def test_the_papers_constants() -> None:
    assert (peekaboo.STEPS, peekaboo.OF) == (2, 40)
    assert (trailblazer.STEPS, trailblazer.OF, trailblazer.TRAILING) == (5, 40, 15)
    assert (freetraj.STEPS, freetraj.OF) == (6, 50)


def test_trailblazer_runs_both_passes_under_control_where_the_null_embeddings_are_the_prompts_own(task: Task) -> None:
    null = task.backbone.text(PROMPT).embeds.repeat(STEPS, 1, 1)
    equal = replace(task, inversion=replace(task.inversion, null=null))
    assert trailblazer.run(equal).forwards == 2 + (STEPS - 1)
    assert peekaboo.run(equal).forwards == STEPS

"""Word edits: which words two prompts share, and that the edited pass takes over the attention of just those."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall, Control, Piece
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import attention_maps, mean_map
from vxedit.edit.word_control import TakeoverSettings, WordDenoiser, local_blend
from vxedit.edit.words import WordEdit, word_edit
from vxedit.errors import UsageError
from vxedit.invert.inversion import Inversion, denoiser
from vxedit.job import InvertSettings

PROMPT = "the burger on the red ball"
"""Columns: the 1, bur 2, ger 3, on 4, the 5, red 6, ball 7, end 8. Words the tiny tokenizer does not know: letters."""
STEPS, LENGTH = 4, 77
ALL = TakeoverSettings(cross=1.0, self_=1.0)
NONE = TakeoverSettings(cross=0.0, self_=0.0)


def asked(tiny: UNet3D, prompt: str = PROMPT, **what: Any) -> WordEdit:
    return word_edit(tiny.tokens, prompt, **what)


def pairs(edit: WordEdit) -> dict[int, tuple[int, ...]]:
    """Every linked source column of a word, and the target columns it is linked to."""
    matrix = edit.mapping(LENGTH)
    words = range(1, edit.ends[0])
    return {c: tuple(int(t) for t in np.flatnonzero(matrix[c])) for c in words if matrix[c].any()}


def own(edit: WordEdit) -> list[int]:
    return [int(column) for column in np.flatnonzero(~edit.mapping(LENGTH).any(0))]


# Alignment


def test_a_word_of_as_many_pieces_is_linked_piece_by_piece(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"red": "the"})
    assert edit.target == "the burger on the the ball"
    assert np.array_equal(edit.mapping(LENGTH), np.eye(LENGTH))
    assert edit.changed == edit.source_changed == (6,)
    assert own(edit) == []


def test_a_word_of_more_pieces_takes_its_attention_in_equal_parts(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"burger": "cat"})  # two pieces become three: c, a, t
    assert edit.target == "the cat on the red ball"
    assert pairs(edit) == {1: (1,), 2: (2, 3, 4), 3: (2, 3, 4), 4: (5,), 5: (6,), 6: (7,), 7: (8,)}
    matrix = edit.mapping(LENGTH)
    np.testing.assert_allclose(matrix[2:4, 2:5], 1 / 3)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    assert (edit.source_changed, edit.changed) == ((2, 3), (2, 3, 4))


def test_a_word_of_fewer_pieces_gathers_all(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"Burger": "ball"})
    assert edit.target == "the ball on the red ball"
    assert pairs(edit) == {1: (1,), 2: (2,), 3: (2,), 4: (3,), 5: (4,), 6: (5,), 7: (6,)}
    np.testing.assert_array_equal(edit.mapping(LENGTH)[2:4, 2], 1)


def test_end_and_padding_keep_their_attention(tiny: UNet3D) -> None:
    for new, shift in (("cat", 1), ("ball", -1)):
        matrix = asked(tiny, replace={"burger": new}).mapping(LENGTH)
        assert matrix[0, 0] == 1 and matrix[8, 8 + shift] == 1  # start, end
        first = 8 + max(shift, 0) + 1  # the first column that is padding in both
        np.testing.assert_array_equal(matrix[first + 1 :, first + 1 :], np.eye(LENGTH - first - 1))
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    longer, shorter = (asked(tiny, replace={"burger": new}).mapping(LENGTH) for new in ("cat", "ball"))
    assert longer[9, 10] == longer[10, 10] == 1  # the surplus padding column joins the next
    np.testing.assert_array_equal(shorter[9, 8:10], 0.5)


def test_a_prompt_without_padding_gathers_the_rest_at_its_end(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"burger": "cat"})
    matrix = edit.mapping(10)
    np.testing.assert_array_equal(matrix[8:, 9], 1)
    with pytest.raises(ValueError, match="more than 9 columns"):
        edit.mapping(9)


def test_words_that_are_added_are_the_targets_own(tiny: UNet3D) -> None:
    edit = asked(tiny, "a ball on the ball", refine="A red ball, on the wet ball")
    # source: a 1, ball 2, on 3, the 4, ball 5; target: A 1, red 2, ball 3, "," 4, on 5, the 6, w e t 7 8 9, ball 10
    assert pairs(edit) == {1: (1,), 2: (3,), 3: (5,), 4: (6,), 5: (10,)}
    assert own(edit) == [2, 4, 7, 8, 9] == list(edit.changed)
    assert edit.source_changed == ()
    np.testing.assert_array_equal(edit.mapping(LENGTH).sum(1), 1)


def test_repeated_words_keep_their_order(tiny: UNet3D) -> None:
    edit = asked(tiny, "a ball on a ball", refine="a red ball on a red ball")
    assert pairs(edit) == {1: (1,), 2: (3,), 3: (4,), 4: (5,), 5: (7,)}
    assert edit.changed == (2, 6)


def test_words_that_are_dropped_hand_nothing_on(tiny: UNet3D) -> None:
    edit = asked(tiny, refine="the burger on the ball")
    assert pairs(edit) == {1: (1,), 2: (2,), 3: (3,), 4: (4,), 5: (5,), 7: (6,)}
    assert edit.mapping(LENGTH)[6].sum() == 0
    assert (edit.changed, edit.source_changed) == ((), (6,))


def test_words_are_replaced_and_added_at_once(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"burger": "ball"}, refine="the red ball on the red ball")
    assert pairs(edit) == {1: (1,), 2: (3,), 3: (3,), 4: (4,), 5: (5,), 6: (6,), 7: (7,)}
    assert (edit.source_changed, edit.changed) == ((2, 3), (2, 3))
    with pytest.raises(UsageError, match=r"'ball', which replaces 'red', is not in the new prompt"):
        asked(tiny, "the red burger", replace={"red": "ball"}, refine="the burger")


def test_phrases_and_parts_of_hyphenated_words_are_replaced(tiny: UNet3D) -> None:
    edit = asked(tiny, "the red  ball, a burger's ball", replace={"red ball": "burger", "burger": "red"})
    assert edit.target == "the burger, a red's ball"
    # the 1, red 2, ball 3, "," 4, a 5, bur 6, ger 7, 's (2 pieces) 8 9, ball 10
    assert pairs(edit) == {1: (1,), 2: (2,), 3: (3,), 4: (4,), 5: (5,), 6: (6,), 7: (6,), 8: (7,), 9: (8,), 10: (9,)}


def test_weights_multiply_the_attention_of_the_new_prompts_words(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"red": "a"}, weights={"a": -2.0, "burger": 0.5, "a ball": 3.0})
    expected = np.ones(LENGTH, np.float32)
    expected[[2, 3, 6, 7]] = 0.5, 0.5, -6.0, 3.0
    np.testing.assert_array_equal(edit.factors(LENGTH), expected)
    assert edit.changed == edit.source_changed == (2, 3, 6, 7)
    still = asked(tiny, weights={"burger": 1.0})
    assert still.target == PROMPT and still.changed == still.source_changed == ()


def test_columns_are_carried_to_the_new_prompt(tiny: UNet3D) -> None:
    edit = asked(tiny, replace={"burger": "cat"})
    assert edit.carried((2, 3)) == (2, 3, 4)
    assert edit.carried((7,)) == (8,)
    dropped = asked(tiny, refine="the burger on the ball")
    assert dropped.carried((6,)) == dropped.changed == ()


def test_which_words_become_others(tiny: UNet3D) -> None:
    """A word that is only stressed, or has another put before it, stays what it is."""
    swapped = asked(tiny, replace={"burger": "red"})
    assert swapped.replaces((2, 3)) and not swapped.replaces((7,))
    assert not asked(tiny, weights={"burger": 2.0}).replaces((2, 3))
    assert asked(tiny, replace={"burger": "red"}, weights={"red": 2.0}).replaces((2, 3))  # and then is stressed
    assert not asked(tiny, refine="the red burger on the red ball").replaces((2, 3))
    assert asked(tiny, refine="the burger on the ball").replaces((6,))


def test_a_piece_may_hold_the_blank_before_its_word() -> None:
    def tokens(prompt: str) -> tuple[Piece, ...]:
        """A piece a word, with the blank before it, and no start token."""
        cuts = [0, *(k for k, letter in enumerate(prompt) if letter == " "), len(prompt)]
        return tuple(Piece(k, a, b) for k, (a, b) in enumerate(itertools.pairwise(cuts)))

    edit = word_edit(tokens, "a red ball", replace={"ball": "big cat"}, weights={"cat": 2.0})
    assert edit.target == "a red big cat"
    assert pairs(edit) == {1: (1,), 2: (2, 3)}
    assert edit.mapping(6)[0, 0] == 1
    assert edit.factors(6).tolist() == [1, 1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({}, "nothing is asked for"),
        ({"refine": "The burger on  the red BALL"}, "nothing is asked for"),
        ({"replace": {"bugrer": "ball"}}, r"to replace: 'bugrer' is not in the prompt .*did you mean 'burger'\?"),
        ({"replace": {"": "ball"}}, "to replace: .* empty"),
        ({"replace": {"burger": " "}}, "nothing is given to put in the place of 'burger'"),
        ({"replace": {"burger": "Burger "}}, "are the same word"),
        ({"replace": {"red ball": "cat", "ball": "duck"}}, "'red ball' and 'ball' are the same place"),
        ({"refine": ""}, r"none of the prompt's words \(the, burger, on, red, ball\)"),
        ({"refine": "a cat"}, "none of the prompt's words"),
        ({"weights": {"burger": float("nan")}}, "the weight of 'burger' is nan"),
        ({"weights": {"burger": float("inf")}}, "the weight of 'burger' is inf"),
        (
            {"replace": {"burger": "cat"}, "weights": {"burger": 2.0}},
            "to weight: 'burger' is not in the prompt 'the cat",
        ),
        ({"refine": PROMPT + " ball" * 69}, "76 tokens and the model takes 75"),
    ],
)
def test_what_cannot_be_meant_is_refused(tiny: UNet3D, what: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(tiny, **what)


def test_a_prompt_without_words_is_refused(tiny: UNet3D) -> None:
    with pytest.raises(UsageError, match=r"none of the prompt's words \(none\)"):
        asked(tiny, "", refine="a ball")


# The edited branch


@pytest.fixture(scope="module")
def inversion(tiny: UNet3D) -> Inversion:
    drawn = torch.Generator().manual_seed(1)
    pivots = torch.randn(STEPS + 1, 4, 3, 8, 12, generator=drawn)
    null = torch.randn(STEPS, LENGTH, 32, generator=drawn)
    return Inversion(pivots, null, tiny.schedule(STEPS), PROMPT, InvertSettings("null-text", STEPS, 2.5))


@pytest.fixture(scope="module")
def x(inversion: Inversion) -> Tensor:
    return torch.randn(inversion.clean.shape, generator=torch.Generator().manual_seed(2))


def made(
    tiny: UNet3D,
    inversion: Inversion,
    edit: WordEdit,
    settings: TakeoverSettings,
    *,
    scale: float | None = 1.0,
    cells: int = 256,
) -> WordDenoiser:
    return WordDenoiser(tiny, inversion, edit, scale=scale, settings=settings, cells=cells)


class Spy:
    """What the attentions are asked for and what their control answers, a list a pass. Values are the unit vectors, so
    that an answer is the probabilities that the attention mixes its values with."""

    def __init__(self, backbone: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[list[tuple[AttentionCall, Tensor | None]]] = []
        controlled = backbone.controlled

        @contextlib.contextmanager
        def spied(control: Control) -> Iterator[None]:
            seen: list[tuple[AttentionCall, Tensor | None]] = []
            self.passes.append(seen)

            def watched(call: AttentionCall) -> Tensor | None:
                unit = torch.eye(call.key.shape[2]).expand(*call.key.shape[:3], -1)
                answer = control(replace(call, value=unit))
                seen.append((call, answer))
                return None if answer is None else answer @ call.value

            with controlled(watched):
                yield

        monkeypatch.setattr(backbone, "controlled", spied)

    def together(self, kind: str) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """For each attention of a kind: the source's probabilities, the edited pass's own, those it used."""
        assert len(self.passes) == 2
        there = zip(*self.passes, strict=True)
        return [(probabilities(s), probabilities(t), out) for (s, _), (t, out) in there if t.attention.kind == kind]


def probabilities(call: AttentionCall) -> Tensor:
    scores = torch.exp(torch.einsum("bhnd,bhld->bhnl", call.query, call.key) / call.query.shape[-1] ** 0.5)
    return scores / scores.sum(-1, keepdim=True)


@pytest.mark.parametrize("scale", [1.0, None])
def test_an_edit_that_changes_nothing_gives_the_plain_noise(
    tiny: UNet3D, inversion: Inversion, scale: float | None
) -> None:
    denoise = made(tiny, inversion, asked(tiny, weights={"ball": 1.0}), ALL, scale=scale)
    for i in (0, 2):
        source = inversion.pivot(i)
        plain = denoiser(tiny, inversion, scale)(source, i)
        assert plain.abs().max() > 0.1
        torch.testing.assert_close(denoise(source, i, source), plain, rtol=0, atol=1e-5)


def test_without_takeover_it_is_the_new_prompts_own_noise(tiny: UNet3D, inversion: Inversion, x: Tensor) -> None:
    edit = asked(tiny, replace={"burger": "cat"})
    found = made(tiny, inversion, edit, NONE)(x, 1, inversion.pivot(1))
    embeds = tiny.text(edit.target).embeds
    with torch.no_grad():
        torch.testing.assert_close(found, tiny.predict(x, inversion.schedule.timesteps[1], embeds), rtol=0, atol=1e-5)


def test_guidance_is_from_the_inversions_null_embedding_without_takeover(
    tiny: UNet3D, inversion: Inversion, x: Tensor
) -> None:
    edit = asked(tiny, replace={"burger": "cat"})
    eps = made(tiny, inversion, edit, ALL)(x, 1, inversion.pivot(1))
    guided = made(tiny, inversion, edit, ALL, scale=None)(x, 1, inversion.pivot(1))
    assert inversion.null is not None
    with torch.no_grad():
        null = tiny.predict(x, inversion.schedule.timesteps[1], inversion.null[1:2])
    torch.testing.assert_close(guided, null + 2.5 * (eps - null), rtol=0, atol=1e-5)


def test_replaced_and_shared_words_are_looked_at_where_the_source_looks(
    tiny: UNet3D, inversion: Inversion, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = asked(tiny, replace={"burger": "cat"})
    spy = Spy(tiny, monkeypatch)
    made(tiny, inversion, edit, replace(NONE, cross=1.0))(x, STEPS - 1, inversion.pivot(STEPS - 1))
    texts = spy.together("text")
    assert len(texts) == len(tiny.layers())
    for source, own, used in texts:
        assert used is not None and (own - source).abs().max() > 1e-3
        for column in (2, 3, 4):  # c, a, t: a third of what the source gives bur and ger
            torch.testing.assert_close(used[..., column], (source[..., 2] + source[..., 3]) / 3)
        torch.testing.assert_close(used[..., 5:9], source[..., 4:8])
        torch.testing.assert_close(used.sum(-1), torch.ones_like(used[..., 0]))
    assert all(used is None for kind in ("space", "time") for _, _, used in spy.together(kind))


def test_new_words_are_looked_at_as_the_edited_pass_does(
    tiny: UNet3D, inversion: Inversion, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = asked(tiny, refine="the red burger on the red ball")  # red at 2 is new
    spy = Spy(tiny, monkeypatch)
    made(tiny, inversion, edit, replace(NONE, cross=1.0))(x, 0, inversion.pivot(0))
    for source, own, used in spy.together("text"):
        assert used is not None
        torch.testing.assert_close(used[..., 2], own[..., 2])
        torch.testing.assert_close(used[..., 3:9], source[..., 2:8])


def test_places_are_looked_at_as_in_the_source_on_coarse_grids(
    tiny: UNet3D, inversion: Inversion, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = asked(tiny, replace={"red": "a"})
    spy = Spy(tiny, monkeypatch)
    made(tiny, inversion, edit, replace(NONE, self_=1.0), cells=8 * 12 - 1)(x, 1, inversion.pivot(1))
    grids = set()
    for (call, _), (source, own, used) in zip(
        [one for one in spy.passes[1] if one[0].attention.kind == "space"], spy.together("space"), strict=True
    ):
        grids.add((call.height, call.width))
        assert call.value.shape[2] == call.height * call.width
        if (call.height, call.width) == (8, 12):
            assert used is None
        else:
            assert used is not None and (own - source).abs().max() > 1e-3
            torch.testing.assert_close(used, source)
    assert grids == {(8, 12), (4, 6)}
    assert all(used is not None and torch.allclose(used, own, atol=1e-6) for _, own, used in spy.together("text"))


@pytest.mark.parametrize(
    ("i", "text", "space"), [(0, True, True), (1, True, False), (2, True, False), (3, False, False)]
)
def test_the_takeover_ends_at_its_share_of_the_steps(
    tiny: UNet3D,
    inversion: Inversion,
    x: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    i: int,
    text: bool,
    space: bool,
) -> None:
    spy = Spy(tiny, monkeypatch)
    made(tiny, inversion, asked(tiny, replace={"red": "a"}), TakeoverSettings(cross=0.75, self_=0.25))(
        x, i, inversion.pivot(i)
    )
    for source, own, used in spy.together("text"):
        assert used is not None
        torch.testing.assert_close(used, source if text else own)
    assert all((used is not None) == space for _, _, used in spy.together("space"))


@pytest.mark.parametrize("settings", [ALL, NONE], ids=["all", "none"])
def test_weights_hold_at_every_step_and_zero_silences_a_word(
    tiny: UNet3D, inversion: Inversion, x: Tensor, monkeypatch: pytest.MonkeyPatch, settings: TakeoverSettings
) -> None:
    edit = asked(tiny, weights={"ball": 0.0, "burger": 3.0})
    factors = torch.ones(LENGTH)
    factors[[2, 3, 7]] = torch.tensor([3.0, 3.0, 0.0])
    spy = Spy(tiny, monkeypatch)
    made(tiny, inversion, edit, settings)(x, STEPS - 1, inversion.pivot(STEPS - 1))
    for source, own, used in spy.together("text"):
        base = source if settings is ALL else own
        assert used is not None
        assert not used[..., 7].any() and base[..., 7].min() > 0
        torch.testing.assert_close(used, base * factors)


def test_it_leaves_the_maps_of_the_words_that_go_and_come(tiny: UNet3D, inversion: Inversion, x: Tensor) -> None:
    denoise = made(tiny, inversion, asked(tiny, replace={"burger": "cat"}), NONE)
    assert denoise.attention is None
    source, t = inversion.pivot(1), inversion.schedule.timesteps[1]
    denoise(x, 1, source)
    assert denoise.attention is not None
    with torch.no_grad():
        before = attention_maps(tiny, source, t, tiny.text(PROMPT).embeds, (2, 3))
        after = attention_maps(tiny, x, t, tiny.text("the cat on the red ball").embeds, (2, 3, 4))
    torch.testing.assert_close(denoise.attention.source, mean_map(before, (8, 12))[0])
    torch.testing.assert_close(denoise.attention.target, mean_map(after, (8, 12))[0])
    taken = made(tiny, inversion, asked(tiny, replace={"burger": "cat"}), replace(NONE, cross=1.0))
    taken(x, 1, source)
    assert taken.attention is not None  # what is taken over is what is looked at
    torch.testing.assert_close(taken.attention.target, denoise.attention.source)


def test_every_pass_is_counted_and_none_made_in_vain(
    tiny: UNet3D, inversion: Inversion, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    predict = tiny.predict

    def counted(*args: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return predict(*args)

    monkeypatch.setattr(tiny, "predict", counted)
    swap, added = asked(tiny, replace={"red": "a"}), asked(tiny, refine="the red burger on the red ball")
    for edit, scale, settings, expected in (
        (swap, None, ALL, 3),
        (swap, 1.0, ALL, 2),
        (swap, 1.0, NONE, 2),  # the source's map of "red"
        (added, 1.0, NONE, 1),  # no word goes, nothing is taken over
        (added, 1.0, ALL, 2),
    ):
        calls, denoise = 0, made(tiny, inversion, edit, settings, scale=scale)
        denoise(x, 0, inversion.pivot(0))
        assert denoise.forwards == calls == expected


def test_what_does_not_belong_together_is_refused(tiny: UNet3D, inversion: Inversion, x: Tensor) -> None:
    edit = asked(tiny, "a red ball", weights={"ball": 2.0})
    with pytest.raises(UsageError, match="'a red ball' and the clip was inverted under 'the burger"):
        made(tiny, inversion, edit, ALL)
    with pytest.raises(ValueError, match="can't take over"):
        made(tiny, inversion, asked(tiny, weights={"ball": 2.0}), ALL)(x[:, :, :2], 0, inversion.pivot(0))


def test_the_model_is_as_before_after_an_error(
    tiny: UNet3D, inversion: Inversion, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeds = tiny.text(PROMPT).embeds
    with torch.no_grad():
        plain = tiny.predict(x, 481, embeds)
    processors = [attention.module.processor for attention in tiny.attentions()]
    denoise = made(tiny, inversion, asked(tiny, replace={"burger": "cat"}), ALL, scale=None)
    with monkeypatch.context() as patched:
        patched.setattr("vxedit.edit.word_control.Taken.__call__", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            denoise(x, 0, inversion.pivot(0))
    with pytest.raises(RuntimeError):
        denoise(x[:, :2], 0, inversion.pivot(0)[:, :2])  # two channels of four: in the source's pass
    assert [attention.module.processor for attention in tiny.attentions()] == processors
    with torch.no_grad():
        assert torch.equal(tiny.predict(x, 481, embeds), plain)


# Local blend


def test_the_blend_is_the_edit_where_a_word_is_looked_at_and_the_source_elsewhere() -> None:
    source, edited = torch.randn(2, 1, 4, 2, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
    goes, comes = torch.zeros(2, 6, 8), torch.zeros(2, 6, 8)
    goes[0, 1, 1], goes[0, 5, 7], comes[0, 4, 2] = 0.8, 0.2, 1e-4  # frame 0: 0.2 is a quarter of the highest
    comes[1] = 0.5  # frame 1: everywhere alike
    expected = torch.zeros(2, 6, 8, dtype=torch.bool)
    expected[0, 0:3, 0:3] = expected[0, 3:6, 1:4] = expected[1] = True
    found = local_blend(source, edited, goes, comes, 0.3)
    assert torch.equal(found == edited, expected.expand_as(found))
    assert torch.equal(found == source, ~expected.expand_as(found))
    corner = local_blend(source, edited, goes, comes, 0.2)
    assert torch.equal(corner[0, :, 0, 4:, 6:], edited[0, :, 0, 4:, 6:])
    assert torch.equal(local_blend(source, edited, 0 * goes, 0 * comes, 0.3), source)


def test_latents_are_blended_from_a_share_of_the_steps_on(tiny: UNet3D, inversion: Inversion, x: Tensor) -> None:
    settings = TakeoverSettings(blend=0.9, blend_from=0.5)
    denoise = made(tiny, inversion, asked(tiny, replace={"burger": "cat"}), settings)
    source = inversion.pivot(2)
    denoise(x, 1, inversion.pivot(1))
    assert denoise.attention is not None
    assert torch.equal(denoise.blended(x, 1, source), x)
    found = denoise.blended(x, 2, source)
    assert torch.equal(found, local_blend(source, x, *denoise.attention, 0.9))
    assert 0 < (found == source).float().mean() < 1

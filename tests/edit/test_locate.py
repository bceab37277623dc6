"""Where the object is, against the renderer's masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.edit.scenes import box_iou, clip, grown, mask_iou
from vxedit.backbones.tokens import columns as columns_of
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import attention_maps, mean_map
from vxedit.edit.locate import LEVELS, concentration, locate, locate_in_boxes, mask_boxes, pixel_box, words_attention
from vxedit.errors import UsageError
from vxedit.invert.inversion import Inversion
from vxedit.job import InvertSettings
from vxedit.render.scene import Rendered

CAST = (
    *(("burger", "a brick wall"), ("apple", "a wooden table"), ("car", "a photo"), ("fish", "snow")),
    *(("balloon", "sand"), ("cup", "the sea"), ("rocket", "grass"), ("star", "a city")),
)


def attention(truth: Rendered, cells: int = 16) -> np.ndarray:
    """What a model would see that looks at the object alone: its masks on the model's grid."""
    return on_grid(truth.masks[0], cells)


def on_grid(masks: np.ndarray, cells: int = 16) -> np.ndarray:
    return np.stack([cv2.resize(m.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA) for m in masks])


@pytest.fixture(scope="module")
def scenes() -> list[Rendered]:
    return [clip(name, place, frames=2, size=96, seed=i) for i, (name, place) in enumerate(CAST)]


def test_attention_on_the_object_gives_its_outline(scenes: list[Rendered]) -> None:
    found = [locate(truth.frames, 0.02 + 0.1 * attention(truth)) for truth in scenes]
    sharp = [mask_iou(one.masks, truth.masks[0]).min() for one, truth in zip(found, scenes, strict=True)]
    assert sum(value >= 0.85 for value in sharp) >= 6
    assert min(sharp) > 0.6
    coarse = [mask_iou(_blown_up(truth) > 0.5, truth.masks[0]).min() for truth in scenes]
    assert np.mean(sharp) > np.mean(coarse) + 0.03  # the pixels add something
    for one in found:
        assert one.masks.dtype == bool
        assert np.array_equal(one.boxes, mask_boxes(one.masks))


def _blown_up(truth: Rendered) -> np.ndarray:
    side = truth.frames.shape[1]
    return np.stack([cv2.resize(a, (side, side), interpolation=cv2.INTER_CUBIC) for a in attention(truth)])


def test_a_lesser_second_place_is_left_out(scenes: list[Rendered]) -> None:
    truth = scenes[0]
    maps = attention(truth)
    maps[:, 13:, 13:] = 0.6  # a corner that the word looks at as well
    assert maps[0, 13:, 13:].sum() < attention(truth)[0].sum()
    assert mask_iou(locate(truth.frames, maps).masks, truth.masks[0]).min() > 0.8


def test_one_place_is_followed_where_another_wins_for_a_while() -> None:
    truth = clip("burger", "a brick wall", frames=7, size=96, seed=0)
    maps = attention(truth)
    maps[:, :3, 13:] = 0.6
    maps[2:4, :4, 10:] = 1.5  # for two frames the word looks more at the corner
    assert (maps[2:4, :4, 10:].sum((1, 2)) > 1.2 * attention(truth)[2:4].sum((1, 2))).all()
    assert mask_iou(locate(truth.frames, maps).masks, truth.masks[0]).min() > 0.8


@pytest.mark.parametrize(
    ("name", "place", "seed"), [("burger", "a brick wall", 0), ("car", "the sea", 2), ("cup", "the sea", 0)]
)
def test_frames_that_show_the_object_whole_find_it_where_the_attention_has_only_its_core(
    name: str, place: str, seed: int
) -> None:
    """The core does not hold all of the object's colours; the other frames do."""
    truth, weak = clip(name, place, frames=5, size=96, seed=seed), [2, 3]
    seen = truth.masks[0].copy()
    seen[weak] = ~grown(~seen[weak], 5)
    assert (seen[weak].sum((1, 2)) < 0.4 * truth.masks[0][weak].sum((1, 2))).all()
    maps = 0.02 + 0.1 * on_grid(seen)
    found = locate(truth.frames, maps).masks
    assert mask_iou(found, truth.masks[0]).min() > 0.93
    for i in weak:
        alone = locate(truth.frames[i : i + 1], maps[i : i + 1]).masks
        assert mask_iou(alone, truth.masks[0][i : i + 1]) < 0.87


def test_the_same_twice(scenes: list[Rendered]) -> None:
    truth = scenes[6]
    one, other = (locate(truth.frames, attention(truth)) for _ in range(2))
    assert np.array_equal(one.masks, other.masks)


def test_a_box_gives_the_outline_in_it(scenes: list[Rendered]) -> None:
    sharp, plain = [], []
    for truth in scenes:
        boxes = truth.boxes[0]
        found = locate_in_boxes(truth.frames, boxes)
        assert np.array_equal(found.boxes, boxes)
        filled = np.zeros_like(found.masks)
        for i, box in enumerate(boxes):
            x0, y0, x1, y1 = pixel_box(box, *filled.shape[1:])
            filled[i, y0:y1, x0:x1] = True
        assert not (found.masks & ~filled).any()
        sharp.append(mask_iou(found.masks, truth.masks[0]).min())
        plain.append(mask_iou(filled, truth.masks[0]).min())
    assert sum(value >= 0.8 for value in sharp) >= 6
    assert np.mean(sharp) > np.mean(plain) + 0.1


def test_where_colours_say_nothing_the_ellipse_in_the_box_is_taken() -> None:
    """An object seldom fills its box's corners: of the two guesses it is the nearer one."""
    flat = np.full((2, 40, 40, 3), 90, np.uint8)
    found = locate_in_boxes(flat, np.array([[0.25, 0.25, 0.5, 0.75], [0.5, 0.0, 1.0, 1.0]]))
    for mask, (x0, y0, x1, y1) in zip(found.masks, ((10, 10, 20, 30), (20, 0, 40, 40)), strict=True):
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum() == pytest.approx(np.pi / 4 * inside.size, rel=0.06)
        assert inside.any(0).all() and inside.any(1).all() and not inside[0, 0]


def test_large_frames_are_cut_at_a_size_that_memory_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, truth = np.full((6, 700, 900, 3), (30, 120, 40), np.uint8), np.zeros((6, 700, 900), bool)
    y, x = np.mgrid[:700, :900]
    truth[:] = (y - 350) ** 2 + (x - 450) ** 2 < 120**2
    frames[truth] = (200, 60, 50)
    seen: list[int] = []
    cut = cv2.grabCut
    monkeypatch.setattr("vxedit.edit.locate.CUT_PIXELS", 200_000)
    monkeypatch.setattr(cv2, "grabCut", lambda frame, *rest: (seen.append(frame.size // 3), cut(frame, *rest)))
    found = locate_in_boxes(frames, np.tile([0.3, 0.25, 0.7, 0.75], (6, 1)))
    assert max(seen) < 250_000 and len(seen) > 1
    assert mask_iou(found.masks, truth).min() > 0.97


def test_things_far_from_the_box_do_not_mislead() -> None:
    """Half of the frame has the object's colour; round the box nothing has."""
    frames = np.full((2, 64, 96, 3), (30, 120, 40), np.uint8)
    noise = np.random.default_rng(0).integers(-8, 9, frames.shape)
    frames[:, :, 60:] = frames[:, 24:40, 12:28] = (200, 60, 50)
    found = locate_in_boxes((frames + noise).astype(np.uint8), np.tile([8 / 96, 20 / 64, 32 / 96, 44 / 64], (2, 1)))
    truth = np.zeros((2, 64, 96), bool)
    truth[:, 24:40, 12:28] = True
    assert mask_iou(found.masks, truth).min() > 0.95


def test_a_box_of_next_to_nothing_is_a_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3)).astype(np.uint8)
    assert locate_in_boxes(picture, np.array([[0.5, 0.5, 0.501, 0.501]])).masks.sum() == 1


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.25, 0.1, 0.5, 0.9), (5, 1, 10, 9)),
        ((0.26, 0.11, 0.51, 0.89), (5, 1, 11, 9)),
        ((-0.2, 0.5, 1.3, 0.5), (0, 5, 20, 6)),
        ((1.0, 1.0, 1.2, 1.4), (19, 9, 20, 10)),
    ],
)
def test_pixels_cover_their_box_and_stay_in_the_frame(box: tuple[float, ...], pixels: tuple[int, ...]) -> None:
    assert pixel_box(np.array(box), 10, 20) == pixels


def test_boxes_are_tight_and_gaps_take_the_nearest() -> None:
    masks = np.zeros((5, 10, 20), bool)
    masks[1, 2:5, 4:10] = True
    masks[4, 9, 19] = True
    boxes = mask_boxes(masks)
    first, last = [0.2, 0.2, 0.5, 0.5], [0.95, 0.9, 1.0, 1.0]
    assert boxes == pytest.approx(np.array([first, first, first, last, last]))


def test_masks_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"empty.*--box"):
        mask_boxes(np.zeros((3, 8, 8), bool))


def test_a_box_that_holds_the_truth_agrees_with_it(scenes: list[Rendered]) -> None:
    truth = scenes[3]
    found = locate(truth.frames, attention(truth))
    assert box_iou(found.boxes, truth.boxes[0]).min() > 0.85


def test_concentration_is_one_when_flat_and_ten_at_most() -> None:
    flat, spot = np.ones((1, 20, 20)), np.zeros((1, 20, 20))
    spot[0, 3:7, 4:9] = 1
    half = flat.copy()
    half[0, :10] = 3  # three quarters of the mass in half of the cells: 1.5 times in each tenth of it
    found = concentration(np.concatenate([flat, spot, half, 0 * flat]))
    assert found == pytest.approx([1, 10, 1.5, 0])


PROMPT = "the burger on the red ball"


@pytest.fixture(scope="module")
def trajectory(tiny: UNet3D) -> Inversion:
    """From noise straight to other noise: 20 levels, of which some are nearest to those that are read."""
    made = torch.Generator().manual_seed(0)
    schedule = tiny.schedule(20)
    clean, noise = torch.randn(2, 1, 4, 2, 6, 10, generator=made)
    pivots = torch.cat([a**0.5 * clean + (1 - a) ** 0.5 * noise for a in schedule.abar])
    return Inversion(pivots, None, schedule, PROMPT, InvertSettings("ddim", 20, 1.0))


def test_a_word_s_attention_is_its_mean_over_the_levels_that_are_read(tiny: UNet3D, trajectory: Inversion) -> None:
    columns = columns_of(tiny.tokens(PROMPT), PROMPT, "burger")
    schedule, embeds = trajectory.schedule, tiny.text(PROMPT).embeds
    nearest = {min(range(20), key=lambda i: abs(schedule.abar[i] - level)) for level in LEVELS}
    assert len(nearest) == 4
    with torch.no_grad():
        read = [
            mean_map(attention_maps(tiny, trajectory.pivot(i), schedule.timesteps[i], embeds, columns), (6, 10))[0]
            for i in nearest
        ]
    (found,) = words_attention(tiny, trajectory, [columns])
    assert found.shape == (2, 6, 10) and found.dtype == np.float32
    np.testing.assert_allclose(found, torch.stack(read).mean(0).numpy(), rtol=1e-5)


def test_several_words_are_read_in_the_passes_of_one(
    tiny: UNet3D, trajectory: Inversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [columns_of(tiny.tokens(PROMPT), PROMPT, word) for word in ("ball", "burger")]
    alone = [words_attention(tiny, trajectory, [columns])[0] for columns in words]
    passes: list[int] = []
    predict = tiny.predict

    def counted(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
        passes.append(timestep)
        return predict(latents, timestep, embeds)

    monkeypatch.setattr(tiny, "predict", counted)
    together = words_attention(tiny, trajectory, words)
    assert len(passes) == len(LEVELS) and len(together) == 2
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-4
    layers = [tiny.layers()[1].name]
    (coarse,) = words_attention(tiny, trajectory, words[:1], layers=layers)
    assert coarse.shape == (2, 6, 10) and not np.allclose(coarse, alone[0], rtol=1e-3)

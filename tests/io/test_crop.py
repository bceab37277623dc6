"""What the model sees of a frame, and that everything else comes back as it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vxedit.errors import UsageError
from vxedit.io.crop import Placement, middle, place
from vxedit.io.fit import resize_frames


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


FRAME = (72, 128)
MODELS = [(96, 64), (64, 96), (64, 64), (18, 32)]
PICTURES = [None, (0, 40, 72, 88), (6, 0, 61, 128)]


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("picture", PICTURES)
def test_shapes_are_kept(fit: str, model: tuple[int, int], picture: tuple | None) -> None:
    placed = place(FRAME, model, fit=fit, picture=picture)
    width, height = placed.size
    # one side is the picture's own, the other within a pixel of what the aspect asks for
    assert abs(width - height * model[0] / model[1]) <= 1 or abs(height - width * model[1] / model[0]) <= 1
    x0, y0, x1, y1 = picture or (0, 0, *FRAME)
    assert width == x1 - x0 or height == y1 - y0
    assert placed.stretch == pytest.approx(1, abs=1.5 / min(placed.size))
    a, b, c, d = placed.window
    if fit == "crop":
        assert x0 <= a and y0 <= b and c <= x1 and d <= y1 and placed.taken == placed.window
    else:
        assert a <= x0 and b <= y0 and c >= x1 and d >= y1 and placed.taken == (x0, y0, x1, y1)
    assert abs((a + c) - (x0 + x1)) <= 2 or (fit == "crop" and picture is not None)  # centred, to an even pixel
    assert abs((b + d) - (y0 + y1)) <= 2


def test_stretch_is_what_resizing_did() -> None:
    frames = noise(2, 30, 40, 3)
    placed = place((40, 30), (16, 24))
    assert placed.window == placed.taken == (0, 0, 40, 30) and placed.stretch == pytest.approx(0.5)
    assert np.array_equal(placed.to_model(frames), resize_frames(frames, 24, 16))
    edited = noise(2, 24, 16, 3, seed=1)
    assert np.array_equal(placed.from_model(edited, frames), resize_frames(edited, 30, 40))
    assert placed.cut(frames).base is frames or placed.cut(frames) is frames, "frames were copied for nothing"


def test_a_crop_follows_its_centre_as_far_as_the_picture_reaches() -> None:
    def window(x: float, picture: tuple | None = None) -> tuple:
        return place((160, 90), (64, 64), fit="crop", picture=picture, centre=(x, 0.5)).window

    assert window(0.5) == (34, 0, 124, 90)  # 160 / 2 - 45 = 35: an even column
    assert window(0.0) == (0, 0, 90, 90) and window(1.0) == (70, 0, 160, 90)
    assert window(0.4) == (18, 0, 108, 90)  # 64 - 45 = 19
    assert window(0.0, (20, 0, 140, 90)) == (20, 0, 110, 90) and window(1.0, (20, 0, 140, 90)) == (50, 0, 140, 90)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("picture", [None, (0, 10, 40, 50)])
def test_there_and_back_is_exact_at_the_windows_own_size(fit: str, picture: tuple | None) -> None:
    frames = noise(3, 60, 40, 3)
    first = place((40, 60), (30, 30), fit=fit, picture=picture)
    placed = Placement(first.frame, first.picture, first.window, first.size)
    seen = placed.to_model(frames)
    assert seen.shape == (3, placed.size[1], placed.size[0], 3)
    assert np.array_equal(placed.from_model(seen, frames), frames)
    x0, y0, x1, y1 = placed.taken
    back = placed.from_model(255 - seen, frames)
    assert np.array_equal(back[:, y0:y1, x0:x1], 255 - frames[:, y0:y1, x0:x1])
    outside = np.ones((60, 40), bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(back[:, outside], frames[:, outside])


def test_padding_repeats_the_pictures_border_and_not_the_bars() -> None:
    frames = noise(1, 20, 20, 3)
    frames[:, :4] = frames[:, 16:] = 0
    placed = place((20, 20), (20, 20), fit="pad", picture=(0, 4, 20, 16))
    assert placed.window == (0, 0, 20, 20)
    seen = placed.to_model(frames)
    assert np.array_equal(seen[:, 4:16], frames[:, 4:16])
    assert (seen[:, :4] == frames[:, 4:5]).all() and (seen[:, 16:] == frames[:, 15:16]).all()
    assert np.allclose(placed.real, (0, 0.2, 1, 0.8))


def test_beyond_the_frame_masks_are_empty_and_shares_are_pasted() -> None:
    placed = place((40, 20), (32, 32), fit="pad")
    assert placed.window == (0, -10, 40, 30)
    masks = np.ones((2, 20, 40), bool)
    cut = placed.cut(masks)
    assert cut.shape == (2, 40, 40) and cut.sum() == masks.sum() and cut[:, 10:30].all()
    crop = place((40, 20), (32, 32), fit="crop")
    alpha = crop.paste(np.full((2, 20, 20), 0.5, np.float32), np.zeros((2, 20, 40), np.float32))
    assert alpha.dtype == np.float32 and (alpha[:, :, 10:30] == 0.5).all() and alpha.sum() == 2 * 20 * 20 * 0.5


@pytest.mark.parametrize(("fit", "picture"), [*itertools.product(["stretch", "crop", "pad"], [None, (4, 20, 68, 100)])])
def test_boxes_there_and_back(fit: str, picture: tuple | None) -> None:
    placed = place(FRAME, (96, 64), fit=fit, picture=picture)
    corners = np.sort(np.random.default_rng(0).uniform(-0.2, 1.2, (5, 7, 2, 2)), -1)
    boxes = np.stack([corners[..., 0, 0], corners[..., 1, 0], corners[..., 0, 1], corners[..., 1, 1]], -1)
    assert np.allclose(placed.boxes_from_model(placed.boxes_to_model(boxes)), boxes, atol=1e-12)
    window = np.array(placed.window) / np.tile(FRAME, 2)
    assert np.allclose(placed.boxes_to_model(window), (0, 0, 1, 1)) and np.allclose(
        placed.boxes_from_model([0, 0, 1, 1]), window
    )


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_boxes_go_with_their_pixels(fit: str) -> None:
    frames = np.zeros((1, 120, 160, 3), np.uint8)
    frames[:, 40:72, 64:104] = 255
    placed = place((160, 120), (192, 96), fit=fit)
    seen = placed.to_model(frames)[0, ..., 0] > 127
    y, x = np.nonzero(seen)
    found = np.array([x.min() / 192, y.min() / 96, (x.max() + 1) / 192, (y.max() + 1) / 96])
    box = placed.boxes_to_model(np.array([64 / 160, 40 / 120, 104 / 160, 72 / 120]))
    assert np.abs(found - box).max() <= 1 / 96


def test_which_boxes_the_window_covers() -> None:
    placed = place((160, 90), (64, 64), fit="crop")  # columns 34 to 124
    boxes = np.array(
        [[0.3, 0.1, 0.5, 0.9], [0.1, 0.1, 0.5, 0.9], [0.7, 0, 0.8, 1], np.array(placed.window) / (160, 90, 160, 90)]
    )
    assert placed.covers(boxes).tolist() == [True, False, False, True]
    padded = place((160, 90), (64, 64), fit="pad")
    assert padded.covers(boxes).all() and not padded.covers(np.array([0.2, -0.1, 0.4, 0.3]))


def test_the_middle_of_boxes() -> None:
    boxes = np.array([[0.1, 0.2, 0.3, 0.4], [np.nan] * 4, [0.5, 0.1, 0.9, 0.3]])
    assert middle(boxes) == pytest.approx((0.5, 0.25))
    with pytest.raises(ValueError, match="no boxes"):
        middle(boxes[1:2])


def test_refused() -> None:
    with pytest.raises(UsageError, match=r"--fit squeeze.*stretch, crop, pad"):
        place((4, 4), (2, 2), fit="squeeze")
    with pytest.raises(ValueError, match="within a frame of 4x4"):
        place((4, 4), (2, 2), picture=(0, 0, 5, 4))
    with pytest.raises(ValueError, match="0x2"):
        place((4, 4), (0, 2))
    with pytest.raises(ValueError, match="nothing of the picture"):
        Placement((8, 8), (0, 0, 4, 8), (4, 0, 8, 8), (2, 2))
    placed = place((8, 6), (2, 2), fit="crop")
    with pytest.raises(ValueError, match="8x6 are needed"):
        placed.to_model(noise(1, 8, 6, 3))
    with pytest.raises(ValueError, match="6x6 is needed"):
        placed.paste(noise(1, 6, 8, 3), noise(1, 6, 8, 3))
    with pytest.raises(ValueError, match="belong"):
        placed.paste(noise(2, 6, 6, 3), noise(1, 6, 8, 3))

"""Sizes and noise levels, which need no weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.tiny import SCHEDULER
from vxedit.backbones.families.cogvideox import TokenLength
from vxedit.backbones.noise import noise
from vxedit.backbones.opensora.chunks import Chunks
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes, pixels_a_cell
from vxedit.errors import ModelError, UsageError

SMALL = Sizes(native=Size(16, 128, 128), multiple=32, max_frames=48)
MODELSCOPE = Sizes(native=Size(16, 256, 256), multiple=64, max_frames=48)


@pytest.mark.parametrize(
    ("sizes", "height", "width", "expected"),
    [
        (SMALL, 128, 128, (128, 128)),
        (SMALL, 1080, 1080, (128, 128)),
        (SMALL, 720, 1280, (96, 160)),
        (SMALL, 1280, 720, (160, 96)),
        (SMALL, 480, 640, (96, 128)),
        (MODELSCOPE, 720, 1280, (192, 320)),
        (Sizes(Size(24, 320, 576), 64, 72), 720, 1280, (320, 576)),
    ],
)
def test_the_nearest_size_keeps_aspect_and_area(
    sizes: Sizes, height: int, width: int, expected: tuple[int, int]
) -> None:
    assert sizes.fit(16, height, width) == (16, *expected)


@pytest.mark.parametrize("height", [1, 33, 200, 719, 2160])
@pytest.mark.parametrize("width", [1, 65, 300, 1279, 3840])
def test_any_size_fits_a_legal_one_and_its_turned_picture_the_turned_one(height: int, width: int) -> None:
    size = SMALL.fit(5, height, width)
    assert SMALL.check(*size) == size
    assert SMALL.fit(5, width, height) == (5, size.width, size.height)
    if 0.25 < height / width < 4:
        assert 0.6 < size.height * size.width / 128**2 < 1.6


def test_frames_are_held_to_what_the_model_takes() -> None:
    assert SMALL.fit(1000, 128, 128).frames == 48
    assert SMALL.fit(1, 128, 128).frames == 1
    for impossible in ((0, 128, 128), (16, 0, 128), (16, 128, -1)):
        with pytest.raises(UsageError, match="at least one frame"):
            SMALL.fit(*impossible)


def test_a_size_that_is_asked_for_is_taken_or_refused_with_the_nearest() -> None:
    assert SMALL.check(16, 256, 192) == (16, 256, 192)
    with pytest.raises(UsageError, match=r"130x250.*multiples of 32.*--size 128x256"):
        SMALL.check(16, 250, 130)
    with pytest.raises(UsageError, match=r"1 to 48.*--num-frames 48"):
        SMALL.check(49, 128, 128)


@pytest.mark.parametrize(
    ("length", "frames", "legal", "latents", "spans"),
    [
        (Length(step=4), 1, 1, 1, ((0,),)),
        (Length(step=4), 2, 5, 2, ((0,), (1,))),
        (Length(step=4), 5, 5, 2, ((0,), (1, 2, 3, 4))),
        (Length(step=4), 6, 9, 3, ((0,), (1, 2, 3, 4), (5,))),
        (Length(first=4, step=4, least=4), 1, 4, 1, ((0,),)),
        (Length(first=4, step=4, least=4), 5, 8, 2, ((0, 1, 2, 3), (4,))),
        (Length(least=3), 1, 3, 3, ((0,), (0,), (0,))),
        (TokenLength(step=4, deep=2), 1, 1, 2, ((0,), (0,))),
        (TokenLength(step=4, deep=2), 5, 5, 2, ((0,), (1, 2, 3, 4))),
        (Chunks(), 1, 17, 5, ((0,),) * 5),
        (Chunks(), 18, 34, 10, ((0,), *(tuple(range(i, i + 4)) for i in (1, 5, 9, 13)), *((17,),) * 5)),
    ],
)
def test_lengths_are_continued_and_their_latents_cover_the_clip(
    length: Length, frames: int, legal: int, latents: int, spans: tuple[tuple[int, ...], ...]
) -> None:
    assert length.legal(frames) == legal
    assert length.latents(frames) == latents
    assert length.spans(frames) == spans


def test_no_length_is_offered_that_is_too_long() -> None:
    sizes = Sizes(Size(5, 32, 32), 32, 10, Length(step=4))
    with pytest.raises(UsageError, match=r"--num-frames 9$"):
        sizes.check_generated(10, 32, 32)
    with pytest.raises(UsageError, match=r"--num-frames 5 or 9$"):
        sizes.check_generated(7, 32, 32)


def test_the_autoencoder_s_cell_is_read_from_its_configuration() -> None:
    assert pixels_a_cell({"block_out_channels": [128, 256, 512, 512]}) == 8
    assert pixels_a_cell({"encoder_block_out_channels": [32, 64, 128, 128, 256]}) == 16


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("schedule", ["scaled_linear", "linear"])
@pytest.mark.parametrize("steps", [1, 7, 20, 30, 50, 999])
def test_levels_are_those_of_diffusers_scheduler(spacing: str, schedule: str, steps: int) -> None:
    from diffusers import DDIMScheduler

    config = SCHEDULER | {"timestep_spacing": spacing, "beta_schedule": schedule}
    reference = DDIMScheduler.from_config(config)
    reference.set_timesteps(steps)
    made = noise(config).schedule(steps)
    assert list(made.timesteps) == reference.timesteps.tolist()
    expected = [*reference.alphas_cumprod[reference.timesteps], reference.final_alpha_cumprod]
    torch.testing.assert_close(torch.tensor(made.abar), torch.stack(expected), rtol=2e-5, atol=1e-9)
    assert len(made) == steps
    assert list(made.abar) == sorted(made.abar)


def test_the_clean_level_is_the_first_of_training_or_one() -> None:
    assert noise(SCHEDULER).schedule(20).abar[-1] == pytest.approx(1 - 0.00085)
    assert noise(SCHEDULER | {"set_alpha_to_one": True}).schedule(20).abar[-1] == 1.0


@pytest.mark.parametrize("steps", [0, -1, 1001, 1000])
def test_steps_that_the_model_has_not_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match=str(steps)):  # 1000 steps would start at timestep 1000, of 0..999
        noise(SCHEDULER).schedule(steps)


@pytest.mark.parametrize(
    "setting",
    [
        {"beta_schedule": "squaredcos_cap_v2"},
        {"timestep_spacing": "karras"},
        {"prediction_type": "sample"},
    ],
)
def test_levels_of_another_kind_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(setting))):
        noise(SCHEDULER | setting)


def test_what_the_network_predicts_is_read() -> None:
    assert noise(SCHEDULER).parameterization == "epsilon"
    assert noise(SCHEDULER | {"prediction_type": "v_prediction"}).parameterization == "v_prediction"

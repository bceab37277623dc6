"""Where the model looks: the figures against maps whose figures are known, the readings against single passes, what is
written, and what is refused before a model is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.footage import PROMPT, contents
from vxedit import look as module
from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import load
from vxedit.backbones.tokens import columns
from vxedit.edit.attention import attention_maps, mean_map
from vxedit.errors import InputError, ModelError, OutputError, UsageError, VxeditError
from vxedit.io.fit import resize_frames
from vxedit.io.read import read_video
from vxedit.io.write import write_video
from vxedit.job import Selection
from vxedit.look import (
    LookJob,
    chosen_layers,
    content_words,
    grid,
    look,
    noise_readings,
    plan_look,
    read_words,
)
from vxedit.render.scene import random_scene, render
from vxedit.word_figures import DIFFUSE, SHARP, diffuse_warning, measure, moves, peaks, verdict, word_warnings

SAMPLE = Path(__file__).parent.parent / "data" / "samples" / "burger.mp4"


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> Backbone:
    return load(str(checkpoint), device="cpu")


def block(*, x: int, y: int, frames: int = 1) -> np.ndarray:
    """A map (frames, 10, 10) that is 1 in five columns from x on of two rows from y on: a tenth of the frame."""
    maps = np.zeros((frames, 10, 10), np.float32)
    maps[:, y : y + 2, x : x + 5] = 1
    return maps


def with_share(share: float) -> np.ndarray:
    """A map (1, 10, 10) of sum 1 whose strongest tenth holds `share`."""
    spot = block(x=2, y=4)
    return spot * share / 10 + (1 - spot) * (1 - share) / 90


# The figures.


def test_a_word_that_looks_at_a_tenth_of_the_frame_alone() -> None:
    (one,) = measure(["ball"], block(x=2, y=4, frames=3)[None], (64, 96))
    assert (one.share, one.concentration, one.moves, one.verdict) == pytest.approx((1, 10, 0, "sharp"))
    assert "ball: sharp, 100% in its peak" in str(one)


def test_a_word_that_looks_everywhere() -> None:
    (one,) = measure(["the"], np.full((1, 3, 10, 10), 0.2, np.float32), (64, 96))
    assert (one.share, one.concentration, one.moves, one.verdict) == pytest.approx((0.1, 1, 0, "diffuse"))


def test_a_part_is_never_more_than_the_whole() -> None:
    """On 16x16 cells the strongest tenth is 25 of them, of which flat maps hold less than a tenth."""
    spot = np.zeros((1, 1, 16, 16), np.float32)
    spot[..., 8, 8] = 1
    assert measure(["dot"], spot, (8, 8))[0].share == 1


def test_peaks_are_the_centres_of_the_strongest_tenth() -> None:
    maps = np.concatenate([block(x=0, y=0), block(x=5, y=8), np.ones((1, 10, 10)), np.zeros((1, 10, 10))])
    maps[1, 0, 0] = 0.5  # lesser places do not pull
    assert peaks(maps) == pytest.approx(np.array([[0.25, 0.1], [0.75, 0.9], [0.5, 0.5], [0.5, 0.5]]))


def test_moves_is_the_farthest_two_frames_lie_apart_in_diagonals() -> None:
    there_and_back = np.concatenate([block(x=x, y=4) for x in (1, 3, 5, 3, 1)])
    assert moves(there_and_back, (100, 100)) == pytest.approx(0.4 / 2**0.5)
    assert moves(there_and_back, (30, 40)) == pytest.approx(0.4 * 40 / 50)
    assert moves(there_and_back.transpose(0, 2, 1), (30, 40)) == pytest.approx(0.4 * 30 / 50)
    assert moves(there_and_back[:1], (30, 40)) == 0


def test_overlap_is_the_cosine_of_the_maps() -> None:
    maps = np.stack([block(x=0, y=4), 7 * block(x=0, y=4), block(x=0, y=5), block(x=5, y=0)])
    same, scaled, half, apart = measure(["same", "scaled", "half", "apart"], maps, (8, 8))
    assert same.overlap == pytest.approx({"scaled": 1, "half": 0.5, "apart": 0})
    assert scaled.overlap == pytest.approx({"same": 1, "half": 0.5, "apart": 0})
    assert half.overlap["same"] == pytest.approx(0.5) and list(apart.overlap) == ["same", "scaled", "half"]


def test_the_verdict_s_bounds() -> None:
    assert [verdict(level) for level in (10, SHARP, SHARP - 0.01, DIFFUSE, DIFFUSE - 0.01, 1)] == [
        *("sharp", "sharp", "usable", "usable", "diffuse", "diffuse")
    ]
    assert verdict(float("nan")) == "diffuse"
    assert (SHARP, DIFFUSE) == (5, 2.5)  # half and a quarter of the attention in a tenth of the frame


def test_every_diffuse_word_is_told_and_so_are_two_that_can_steer_the_same_place() -> None:
    maps = np.stack([with_share(0.9), with_share(0.8), with_share(0.15), with_share(0.2), block(x=5, y=0)])
    said = word_warnings(measure(["bun", "burger", "a", "wooden", "leaf"], maps, (8, 8)))
    assert len(said) == 3
    assert said[0].startswith("'a' is too diffuse to steer (its strongest tenth holds 15%)") and "--box" in said[0]
    assert said[1].startswith("'wooden' is too diffuse")
    assert said[2].startswith("'bun' and 'burger' look at the same place")


def test_what_an_editor_of_a_diffuse_word_is_told() -> None:
    assert diffuse_warning(with_share(0.26), "ball") is None
    assert diffuse_warning(with_share(0.24), "ball") == (
        "the model's attention on 'ball' is diffuse (its strongest tenth holds 24%): "
        "look at the picture, and say where the object is with --box or --mask"
    )
    mixed = np.concatenate([with_share(0.1), with_share(0.5)])  # it is the mean over frames that counts
    assert diffuse_warning(mixed, "ball") is None


def test_words_that_may_name_something() -> None:
    prompt = "A red Ball, on the red-hot grass; a ball in front of the ball's shadow"
    assert content_words(prompt) == ("red", "Ball", "red-hot", "grass", "ball's", "shadow")
    assert content_words("over the") == ()


# What is read from the model.


def test_readings_are_the_model_s_own_levels_nearest_to_those_asked_for(tiny: Backbone) -> None:
    readings = noise_readings(tiny, (0.95, 0.5, 0.5001, 0.95))
    fine = tiny.schedule(250)
    assert len(readings) == 2 and [abar for _, abar in readings] == pytest.approx([0.5, 0.95], abs=0.01)
    for timestep, abar in readings:
        assert fine.abar[fine.timesteps.index(timestep)] == abar


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.randn(1, 4, 3, 8, 10, generator=torch.Generator().manual_seed(7))


def test_the_maps_are_the_mean_of_single_passes_over_levels_and_noises(tiny: Backbone, clean: torch.Tensor) -> None:
    pieces, embeds = tiny.tokens(PROMPT), tiny.text(PROMPT).embeds
    words = [columns(pieces, PROMPT, word) for word in ("ball", "grass")]
    layers = [layer.name for layer in tiny.layers()]
    readings = ((481, 0.5), (201, 0.8))
    steps: list[tuple[int, int]] = []
    found = read_words(
        tiny,
        clean,
        PROMPT,
        words,
        readings,
        samples=2,
        generator=torch.Generator().manual_seed(3),
        layers=layers,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert found.shape == (2, 3, 8, 10) and steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not found.requires_grad
    generator = torch.Generator().manual_seed(3)
    noises = [torch.randn(clean.shape, generator=generator) for _ in range(4)]
    for word, own in zip(words, found, strict=True):
        single = []
        for (timestep, abar), noise in zip((readings[0], readings[0], readings[1], readings[1]), noises, strict=True):
            noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
            with torch.no_grad():
                maps = attention_maps(tiny, noisy, timestep, embeds, word, layers=layers)
            single.append(mean_map(maps, (8, 10))[0])
        torch.testing.assert_close(own, torch.stack(single).mean(0), rtol=1e-4, atol=1e-6)


def test_layers_are_chosen_by_name_beginning_or_pattern(tiny: Backbone) -> None:
    there = [layer.name for layer in tiny.layers()]
    assert chosen_layers(tiny, ()) == tuple(name for name in there if name in tiny.steering_layers())
    assert chosen_layers(tiny, ["mid_block"]) == tuple(name for name in there if name.startswith("mid_block."))
    assert chosen_layers(tiny, ["up*", "down_blocks.0", there[0]]) == tuple(n for n in there if "mid" not in n)
    with pytest.raises(UsageError) as caught:
        chosen_layers(tiny, ["mid_block", "up_blocks.7"])
    assert "'up_blocks.7'" in str(caught.value) and all(name in str(caught.value) for name in there)


# From file to file.


@pytest.fixture
def job(tmp_path: Path, footage: Path, checkpoint: Path) -> LookJob:
    return LookJob(
        footage,
        tmp_path / "look.png",
        prompt=PROMPT,
        levels=(0.8,),
        samples=1,
        model=str(checkpoint),
        selection=Selection(num_frames=3),
    )


def test_a_look_writes_the_picture_and_gives_the_figures(job: LookJob, tiny: Backbone) -> None:
    told: list[tuple[str, int, int]] = []
    result = look(job, backbone=tiny, progress=lambda *step: told.append(step))
    assert contents(job.output.parent).keys() == {"look.png"} and result.files == (job.output,)
    assert [one.word for one in result.words] == ["red", "ball", "grass"]
    assert result.maps.shape == (3, 3, 6, 10) and result.maps.min() > 0 and result.maps.max() < 1
    assert told == [("look", 1, 1)]
    picture = cv2.imread(str(job.output))
    assert picture is not None and picture.shape[0] > 4 * 100  # four rows, of cells 160 pixels high at the most
    assert result.record["words"][1]["verdict"] == result.words[1].verdict
    assert result.record["seed"] == 0 and result.record["prompt"] == {"text": PROMPT, "origin": "given"}
    assert result.record["levels"][0]["abar"] == pytest.approx(0.8, abs=0.01)
    # random weights look everywhere
    assert len([w for w in result.warnings if "too diffuse" in w]) == 3 and result.record["warnings"]


def test_the_seed_decides(job: LookJob, tiny: Backbone, tmp_path: Path) -> None:
    def maps(name: str, **changed: Any) -> np.ndarray:
        return look(replace(job, output=tmp_path / f"{name}.png", **changed), backbone=tiny).maps

    first = maps("first")
    assert np.array_equal(first, maps("again")) and not np.array_equal(first, maps("other", seed=1))
    assert not np.array_equal(first, maps("level", levels=(0.2,)))
    assert not np.array_equal(first, maps("layers", layers=("mid_block",)))


def test_only_the_words_asked_for_are_read(job: LookJob, tiny: Backbone) -> None:
    result = look(replace(job, words=("the", "red ball", "The")), backbone=tiny)
    assert [one.word for one in result.words] == ["the", "red ball"] and len(result.maps) == 2


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The clips that are written, by the file's name. The words look at cells of their own: "red" at the top left in
    the first frame and farther right in each, "ball" at the bottom right."""
    clips: dict[str, np.ndarray] = {}

    def reading(backbone: object, latents: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        maps = torch.zeros(2, *latents.shape[2:])
        for frame in range(latents.shape[2]):
            maps[0, frame, 0, 3 * frame] = 1
        maps[1, :, -1, -1] = 1
        return maps

    def note(path: Path, frames: np.ndarray, fps: Fraction, **how: Any) -> None:
        clips[path.name] = np.array(frames)
        write_video(path, frames, fps, **how)

    monkeypatch.setattr(module, "read_words", reading)
    monkeypatch.setattr(module, "write_video", note)
    return clips


def test_the_clip_shows_each_word_s_map_in_its_own_cell(
    job: LookJob, tiny: Backbone, drawn: dict[str, np.ndarray]
) -> None:
    result = look(replace(job, words=("red", "ball"), video=True), backbone=tiny)
    assert result.files == (job.output, job.output.with_suffix(".mp4"))
    written = read_video(job.output.with_suffix(".mp4"))
    assert len(written) == 3 and written.fps == Fraction(30000, 1001)
    frames = drawn["look.mp4"].astype(int)
    height, width = 160, 240  # 96x64 with its longer side at 240 pixels
    bar = frames.shape[1] // 2 - height
    assert frames.shape[2] == 2 * width and bar > 0
    clip = resize_frames(read_video(job.input, num_frames=3).frames, height, width)
    assert np.array_equal(frames[:, bar : bar + height, :width], clip)
    red, ball = frames[:, bar : bar + height, width:], frames[:, 2 * bar + height :, :width]
    for frame in range(3):
        assert _brightest(red[frame]) == (0, 3 * frame)
        assert _brightest(ball[frame]) == (5, 9)
    assert (frames[:, bar + height :, width:].std((1, 2)) == 0).all()  # nothing where there is no fourth cell
    assert frames[:, :bar, :width].std() > 0  # a caption


def _brightest(heated: np.ndarray) -> tuple[int, int]:
    """The row and column, of 6 x 10 cells, where a heat map (H, W, 3) is most yellow: red and green together."""
    cells = cv2.resize(heated[..., :2].min(2).astype(np.float32), (10, 6), interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    return int(row), int(column)


def test_the_picture_shows_a_row_a_word(job: LookJob, tiny: Backbone, drawn: dict[str, np.ndarray]) -> None:
    look(replace(job, words=("red", "ball")), backbone=tiny)
    picture = cv2.cvtColor(cv2.imread(str(job.output)), cv2.COLOR_BGR2RGB)
    rows = np.array_split(picture, 3)
    last = [row[4:-4, -240:] for row in rows]
    assert _brightest(last[1]) == (0, 6) and _brightest(last[2]) == (5, 9)
    assert not drawn  # no clip unless it is asked for


def test_grids_are_as_square_as_can_be() -> None:
    cell = np.full((2, 10, 40, 3), 7, np.uint8)
    for count, (across, down) in {1: (1, 1), 2: (2, 1), 3: (2, 2), 5: (3, 2), 7: (3, 3)}.items():
        made = grid([("x", cell)] * count)
        assert made.shape[0] == 2 and made.shape[2] == 40 * across and made.shape[1] % down == 0
        assert (made == 7).all(-1).sum() >= count * cell[..., 0].size


@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_while_writing_leaves_everything_as_it_was(
    job: LookJob, tiny: Backbone, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    for file in (job.output, job.output.with_suffix(".mp4")) if existed else ():
        file.write_bytes(b"precious")
    before = contents(job.output.parent)

    def fail(*_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(module, "write_video", fail)
    with pytest.raises(OutputError, match="full"):
        look(replace(job, video=True, overwrite=True), backbone=tiny)
    assert contents(job.output.parent) == before


def test_layers_that_are_not_there_are_answered_with_the_list(job: LookJob, tiny: Backbone) -> None:
    with pytest.raises(UsageError, match=r"'up_blocks.9' names no text attention.*its are: down_blocks"):
        look(replace(job, layers=("up_blocks.9",)), backbone=tiny)
    assert contents(job.output.parent) == {}


# Before any weights are loaded.


@pytest.fixture
def desk(
    tmp_path: Path, footage: Path, hollow: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, LookJob]]:
    """A folder with a clip, and a job that is right but for its model, whose weights can't be read and must not be."""
    loaded: list[object] = []
    monkeypatch.setattr("vxedit.model.load", lambda *given, **_: loaded.append(given))
    monkeypatch.chdir(tmp_path)
    shutil.copy(footage, "clip.mp4")
    Path("text.mp4").write_text("no video at all\n" * 50)
    Path("there.png").write_bytes(b"precious")
    Path("film.mp4").write_bytes(b"precious")
    yield tmp_path, LookJob(Path("clip.mp4"), Path("new.png"), prompt=PROMPT, model=str(hollow))
    assert loaded == []


REFUSED: dict[str, tuple[dict[str, Any], type[VxeditError], list[str]]] = {
    "no prompt": ({"prompt": None}, UsageError, ["clip.mp4 has no prompt", "no clip.txt", "--prompt"]),
    "empty prompt": ({"prompt": " "}, UsageError, ["--prompt is empty"]),
    "a word not there": ({"words": ("ball", "bal")}, UsageError, ["'bal'", "did you mean 'ball'", "red, ball, on"]),
    "an empty word": ({"words": ("",)}, UsageError, ["word is empty", "a, red, ball, on, the, grass"]),
    "nothing to be seen": ({"prompt": "over the"}, UsageError, ["'over the'", "--word"]),
    "long prompt": ({"prompt": "a ball on " + "x" * 80}, UsageError, ["the model takes 75"]),
    "no clip": ({"input": Path("clip2.mp4")}, InputError, ["clip2.mp4 doesn't exist"]),
    "not a clip": ({"input": Path("text.mp4")}, InputError, ["isn't a video"]),
    "nothing there": ({"selection": Selection(start_s=9.0)}, InputError, ["nothing at 9 s"]),
    "too many frames": ({"selection": Selection(num_frames=99)}, UsageError, ["--num-frames 99", "at most 48"]),
    "size": ({"selection": Selection(size=(100, 64))}, UsageError, ["--size 96x64"]),
    "model": ({"model": "zeroscop"}, ModelError, ["did you mean zeroscope"]),
    "exists": ({"output": Path("there.png")}, OutputError, ["there.png exists", "--overwrite"]),
    "clip exists": ({"output": Path("film.png"), "video": True}, OutputError, ["film.mp4 exists"]),
    "suffix": ({"output": Path("new.jpg")}, UsageError, ["ends in .jpg", "name it new.png"]),
    "no folder": ({"output": Path("no/new.png")}, OutputError, ["doesn't exist"]),
    "over the input": (
        {"output": Path("clip.png"), "video": True, "overwrite": True},
        UsageError,
        ["clip.mp4 would be written over the input"],
    ),
    "samples": ({"samples": 0}, UsageError, ["--samples 0"]),
    "level": ({"levels": (0.5, 1.5)}, UsageError, ["--level 1.5", "0 (noise) to 1"]),
    "level NaN": ({"levels": (float("nan"),)}, UsageError, ["--level nan"]),
    "no level": ({"levels": ()}, UsageError, ["--level none"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_weights_are_loaded(desk: tuple[Path, LookJob], case: str) -> None:
    folder, right = desk
    changed, kind, expected = REFUSED[case]
    before = contents(folder)
    with pytest.raises(kind) as caught:
        look(replace(right, **changed))
    assert all(part in str(caught.value) for part in expected) and "\n" not in str(caught.value), caught.value
    assert contents(folder) == before


def test_a_plan_holds_what_will_be_looked_at(desk: tuple[Path, LookJob]) -> None:
    _, right = desk
    planned = plan_look(replace(right, selection=Selection(num_frames=4)))
    assert planned.clip.frames.shape == (4, 64, 96, 3) and planned.size == (4, 48, 80)
    assert list(planned.words) == ["red", "ball", "grass"] and len(planned.words["ball"]) == 1
    assert [w for w in planned.warnings if "96x64 as 80x48" in w and "+11 %" in w]
    Path("clip.txt").write_text("the burger rolls on")
    beside = plan_look(replace(right, prompt=None, selection=Selection(size=(96, 64))))
    assert (beside.prompt.origin, beside.warnings) == ("clip.txt", ())
    assert list(beside.words) == ["burger", "rolls"] and len(beside.words["burger"]) == 2


def test_the_container_s_comment_is_a_prompt_too(desk: tuple[Path, LookJob]) -> None:
    _, right = desk
    write_video(Path("told.mp4"), np.zeros((2, 32, 32, 3), np.uint8), Fraction(8), comment="a ball on the grass")
    planned = plan_look(replace(right, input=Path("told.mp4"), prompt=None))
    assert (planned.prompt.text, planned.prompt.origin) == ("a ball on the grass", "comment")


def test_a_clip_that_goes_on_beyond_the_model_is_said(desk: tuple[Path, LookJob]) -> None:
    _, right = desk
    write_video(Path("long.mp4"), np.zeros((50, 32, 32, 3), np.uint8), Fraction(8))
    planned = plan_look(replace(right, input=Path("long.mp4")))
    assert len(planned.clip) == 48 and [w for w in planned.warnings if "only 48 frames (6.00 s)" in w]


# The model that comes with the package.


def test_the_embedded_model_looks_at_the_burger_for_its_word(tmp_path: Path) -> None:
    """Against the scene that the sample was drawn from."""
    scene = random_scene(11, size=256, split="test", actors=1, name="burger", place="a wooden table")
    truth = render(scene).boxes[0][:4]
    job = LookJob(
        SAMPLE,
        tmp_path / "look.png",
        words=("a", "burger"),
        samples=1,
        levels=(0.7,),
        selection=Selection(num_frames=4),
        device="cpu",
    )
    result = look(job)
    article, burger = result.words
    assert burger.verdict == "sharp" and article.verdict == "diffuse"
    assert burger.concentration > 2 * article.concentration
    assert not [w for w in result.warnings if "'burger'" in w] and [w for w in result.warnings if "'a'" in w]
    own = result.maps[1]
    for frame, (x0, y0, x1, y1) in enumerate(truth):
        row, column = np.unravel_index(own[frame].argmax(), own[frame].shape)
        x, y = (column + 0.5) / own.shape[2], (row + 0.5) / own.shape[1]
        assert x0 < x < x1 and y0 < y < y1
    assert (peaks(own) > truth[:, :2]).all() and (peaks(own) < truth[:, 2:]).all()

"""Where a model looks for each word of a clip's prompt, from file to file: heat maps over time, and figures that tell
which words can steer an edit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone, Layer, Size
from vxedit.backbones.steering import matching
from vxedit.backbones.tokens import WORD, columns
from vxedit.clip import Clip
from vxedit.edit.attention import mean_map, words_maps
from vxedit.edit.locate import LEVELS, per_frame
from vxedit.errors import UsageError
from vxedit.io.atomic import check_output, replacing_together
from vxedit.io.fit import resize_frames
from vxedit.io.pictures import heat, sheet, write_png
from vxedit.io.probe import probe
from vxedit.io.prompts import Prompt, find_prompt
from vxedit.io.read import read_video
from vxedit.io.record import plain
from vxedit.io.write import write_video
from vxedit.job import Loading, Progress, Selection
from vxedit.model import load_for, outline_of
from vxedit.word_figures import WordFigures, measure, word_warnings

STEPS = 250
"""Of the model's schedule of so many steps the level nearest to each one asked for is taken."""

_FUNCTION_WORDS = (
    "a an the this that these those some any no each every and or but nor so if as than then of in on at to from by "
    "with without into onto over under above below behind beside between beyond near off out up down across along "
    "around through against before after while during toward towards upon within among about inside outside is are "
    "was were be been being am it its he him his she her they them their we us our you your i me my there here who "
    "which whose what where when has have had do does did not very front"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that name nothing to be seen; "front" stands here for "in front of"."""

_CELL_PX = 240  # the longer side of a heat map in the picture and the clip
_CAPTION_PX = 24
_PAPER, _INK = 248, (20, 20, 20)


@dataclass(frozen=True)
class LookJob:
    """One look at a clip.

    `output`: the picture (.png); `video` adds a clip of the same name beside it. `prompt` None: found beside or in the
    input. `words`: only these words or phrases of it (none: every word that isn't a FUNCTION_WORDS). `layers`: the text
    attentions to read, by name, beginning of a name or shell pattern (none: the model's steering layers). `levels`:
    shares of signal (abar, 1 is the clip itself, 0 noise alone) at which attention is read, under `samples` noises
    each, drawn from `seed`. The rest as in RealJob.
    """

    input: Path
    output: Path
    prompt: str | None = None
    words: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    levels: tuple[float, ...] = LEVELS
    samples: int = 2
    seed: int = 0
    model: str = "embedded"
    allow_pickle: bool = False
    device: str = "auto"
    dtype: str = "auto"
    selection: Selection = field(default_factory=Selection)
    loading: Loading = field(default_factory=Loading)
    video: bool = False
    overwrite: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """What is written, the picture first."""
        return (self.output, self.output.with_suffix(".mp4")) if self.video else (self.output,)


@dataclass(frozen=True)
class LookPlan:
    """A checked job. `clip`: the frames at the source's size. `size`: what the model sees. `words`: each with its
    columns in the text."""

    job: LookJob
    clip: Clip
    prompt: Prompt
    size: Size
    words: Mapping[str, tuple[int, ...]]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class LookResult:
    """What a look wrote and found: the picture, every file, a word's figures each, its `maps` float32 (W, F, h, w) in
    0..1 in the same order, all of it but the maps as a `record` for JSON, and what the user should know."""

    output: Path
    files: tuple[Path, ...]
    words: tuple[WordFigures, ...]
    maps: np.ndarray
    record: dict[str, Any]
    warnings: tuple[str, ...]


def look(job: LookJob, *, progress: Progress | None = None, backbone: Backbone | None = None) -> LookResult:
    """Read where the model looks for each word of the prompt, and write the picture and, where asked for, the clip.

    `backbone` is loaded as the job says unless given; `progress` is called with the stage "look". Raises VxeditError
    with the remedy; nothing that existed is touched then, and no file is left half-written.
    """
    planned = plan_look(job)
    backbone = backbone or load_for(job)
    layers = chosen_layers(backbone, job.layers)
    clip = planned.clip
    readings = noise_readings(backbone, job.levels)
    maps = read_words(
        backbone,
        backbone.encode(resize_frames(clip.frames, planned.size.height, planned.size.width)),
        planned.prompt.text,
        list(planned.words.values()),
        readings,
        samples=job.samples,
        generator=torch.Generator().manual_seed(job.seed),
        layers=layers,
        progress=(lambda done, total: progress("look", done, total)) if progress else None,
    )
    shown = np.stack([per_frame(one, backbone.spans(len(clip)), len(clip)) for one in maps.numpy()])
    figures = measure(list(planned.words), shown, (clip.height, clip.width))
    warnings = (*planned.warnings, *word_warnings(figures))
    _write(planned, figures, shown)
    record = plain(
        {
            "input": job.input,
            "prompt": planned.prompt,
            "model": {"name": backbone.name, "identity": backbone.identity, "size": planned.size._asdict()},
            "layers": layers,
            "levels": [{"abar": abar, "timestep": timestep} for timestep, abar in readings],
            "samples": job.samples,
            "seed": job.seed,
            "words": figures,
            "warnings": warnings,
            "files": job.files,
        }
    )
    return LookResult(job.output, job.files, figures, shown, record, warnings)


def plan_look(job: LookJob) -> LookPlan:
    """Check a job without loading any weights. Raises VxeditError, with the remedy, for whatever can be known now to
    fail; that is all but the layers' names, which only the model knows."""
    if job.samples < 1:
        raise UsageError(f"--samples {job.samples} is out of range: give 1 or more")
    wrong = [level for level in job.levels if not 0 <= level <= 1]
    if wrong or not job.levels:
        raise UsageError(f"--level {wrong[0] if wrong else 'none'} is out of range: give 0 (noise) to 1 (the clip)")
    described = outline_of(job)
    described.schedule(STEPS)
    info = probe(job.input)
    _check_outputs(job)
    prompt = find_prompt(job.input, "", job.prompt, info.comment)
    if prompt.origin == "made from --obj":
        raise UsageError(
            f"{job.input} has no prompt: none was given, there is no {job.input.with_suffix('.txt').name} beside it "
            "and no caption in it; describe the clip with --prompt"
        )
    words = _once(job.words or content_words(prompt.text))
    if not words:
        raise UsageError(f"the prompt {prompt.text!r} names nothing to be seen; name one of its words with --word")
    pieces = described.tokens(prompt.text)
    found = {word: columns(pieces, prompt.text, word) for word in words}
    clip, warnings = _read(job, described.max_frames)
    chosen = job.selection.size
    if chosen is None:
        size = described.fit(len(clip), clip.height, clip.width)
    else:
        size = described.check(len(clip), chosen[1], chosen[0])
    stretch = size.width / clip.width / (size.height / clip.height)
    if abs(stretch - 1) > 0.02:
        warnings.append(
            f"the model sees {clip.width}x{clip.height} as {size.width}x{size.height}, its nearest size: shapes are "
            f"stretched by {100 * (stretch - 1):+.0f} % for it"
        )
    return LookPlan(job, clip, prompt, size, found, tuple(warnings))


def content_words(prompt: str) -> tuple[str, ...]:
    """The words of `prompt` that may name something to be seen, each once, in order."""
    return _once(match[0] for match in WORD.finditer(prompt) if match[0].casefold() not in FUNCTION_WORDS)


def _once(words: Iterable[str]) -> tuple[str, ...]:
    """Each word once, whatever its case, as it is first spelled."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return tuple(first.values())


def chosen_layers(backbone: Backbone, patterns: Sequence[str]) -> tuple[str, ...]:
    """The text attentions that the patterns name, in the order in which they run; the steering layers without any.

    Raises UsageError, listing the model's, for a pattern that names none.
    """
    layers: tuple[Layer, ...] = backbone.layers()
    for pattern in patterns:
        if not matching(layers, [pattern]):
            there = ", ".join(layer.name for layer in layers)
            raise UsageError(f"--layers {pattern!r} names no text attention of {backbone.name}; its are: {there}")
    return matching(layers, patterns or backbone.steering_layers())


def noise_readings(backbone: Backbone, levels: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(timestep, abar) of the model's own noise levels nearest to `levels` (shares of signal, 0..1), each once, most
    noise first."""
    schedule = backbone.schedule(STEPS, invertible=True)
    abar = np.array(schedule.abar[:-1])
    chosen = sorted({int(np.abs(abar - level).argmin()) for level in levels})
    return tuple((schedule.timesteps[i], schedule.abar[i]) for i in chosen)


@torch.no_grad()
def read_words(
    backbone: Backbone,
    clean: Tensor,
    prompt: str,
    words: Sequence[Sequence[int]],
    readings: Sequence[tuple[float, float]],
    *,
    samples: int,
    generator: torch.Generator,
    layers: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The attention on words of `prompt`, given by their columns, float32 (W, f, h, w) in 0..1 on the grid of the
    latents `clean` (1, C, f, h, w).

    The mean over layers, over `readings` (timestep, abar) and over `samples` noises a reading, which `generator` draws
    on the processor, so that every device sees the same: x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps (Ho et al. 2020,
    eq. 4).
    """
    embeds = backbone.text(prompt).embeds
    height, width = clean.shape[-2:]
    total = torch.zeros(len(words), clean.shape[2], height, width)
    rounds = [reading for reading in readings for _ in range(samples)]
    for done, (timestep, abar) in enumerate(rounds, 1):
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
        maps = words_maps(backbone, noisy, timestep, embeds, words, layers=layers)  # (1, W, f, h', w') a layer
        total += mean_map({name: m[0] for name, m in maps.items()}, (height, width)).float().cpu()
        if progress:
            progress(done, len(rounds))
    return total / len(rounds)


def grid(cells: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Captioned clips, (caption, uint8 (F, h, w, 3)) each, all of one shape, beside and below each other as nearly
    square as can be: uint8 (F, H, W, 3)."""
    across = math.ceil(math.sqrt(len(cells)))
    captioned = [_captioned(frames, caption) for caption, frames in cells]
    captioned += [np.full_like(captioned[0], _PAPER)] * (-len(cells) % across)
    rows = [np.concatenate(captioned[i : i + across], axis=2) for i in range(0, len(captioned), across)]
    return np.concatenate(rows, axis=1)


def _captioned(frames: np.ndarray, caption: str) -> np.ndarray:
    bar = np.full((_CAPTION_PX, frames.shape[2], 3), _PAPER, np.uint8)
    cv2.putText(bar, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return np.concatenate([np.broadcast_to(bar, (len(frames), *bar.shape)), frames], axis=1)


def _check_outputs(job: LookJob) -> None:
    if job.output.suffix.lower() != ".png":
        raise UsageError(
            f"--output {job.output} ends in {job.output.suffix or 'no suffix'}: name it {job.output.stem}.png"
        )
    for file in job.files:
        if file.exists() and file.samefile(job.input):
            raise UsageError(f"{file} would be written over the input, which is read: name another --output")
        check_output(file, overwrite=job.overwrite)


def _read(job: LookJob, most: int) -> tuple[Clip, list[str]]:
    chosen = job.selection
    if chosen.num_frames is not None and chosen.num_frames > most:
        raise UsageError(f"--num-frames {chosen.num_frames} is more than {job.model} sees at once: at most {most}")
    limit = most if chosen.num_frames is None else chosen.num_frames
    # one frame more than can be used tells whether the clip goes on
    clip = read_video(job.input, start_s=chosen.start_s, num_frames=limit + (chosen.num_frames is None), fps=chosen.fps)
    if len(clip) <= limit:
        return clip, []
    warning = (
        f"only {limit} frames ({limit / float(clip.fps):.2f} s) are looked at, the most {job.model} sees at once; "
        "choose which with --start and --num-frames, or a lower --fps"
    )
    return Clip(clip.frames[:limit], clip.times_s[:limit], clip.fps), [warning]


def _write(planned: LookPlan, figures: Sequence[WordFigures], maps: np.ndarray) -> None:
    """Write the job's files, all or none."""
    job, clip = planned.job, planned.clip
    scale = _CELL_PX / max(clip.height, clip.width)
    height, width = (max(2, 2 * round(side * scale / 2)) for side in (clip.height, clip.width))
    frames = resize_frames(clip.frames, height, width)
    heats = [heat(frames, own) for own in maps]
    with replacing_together(job.files, overwrite=job.overwrite) as places:
        rows = [
            (f"clip, seed {job.seed}", frames),
            *((str(one), seen) for one, seen in zip(figures, heats, strict=True)),
        ]
        write_png(places[0], sheet(rows))
        if job.video:
            captions = [f"{one.word}: {one.verdict} {one.share:.0%}" for one in figures]
            write_video(places[1], grid([("clip", frames), *zip(captions, heats, strict=True)]), clip.fps)

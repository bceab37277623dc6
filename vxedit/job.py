"""What one edit of a clip, real or generated, is asked to do: the settings of every stage, plain and frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

Progress = Callable[[str, int, int], None]
"""Called with a stage's name ("invert", "edit", "decode"), the steps done and the steps in all."""

Fit = Literal["stretch", "crop", "pad"]
"""How a picture of one aspect fills a model's of another: out of shape, all of it; in shape, the largest window of it;
in shape, all of it, with its border repeated outwards."""

InversionKind = Literal["null-text", "uni", "ddim"]


@dataclass(frozen=True)
class Selection:
    """Which part of the input is edited, and at what size and rate the model sees it.

    `start_s` seconds into the clip; `num_frames` at most this many frames (None: as many as there are); `fps` resamples
    by time (None: the clip's own rate); `size` (width, height) in pixels for the model (None: chosen from the clip's
    aspect and the model's native area). `fit`: how a picture of another aspect is shown to the model; black bars round
    it are left out unless `keep_letterbox`. `window`: frames that are edited in one piece (None: as many as the model
    takes, its native length where the clip is longer).
    """

    start_s: float = 0.0
    num_frames: int | None = None
    fps: Fraction | None = None
    size: tuple[int, int] | None = None
    fit: Fit = "stretch"
    keep_letterbox: bool = False
    window: int | None = None


@dataclass(frozen=True)
class InvertSettings:
    """`kind`: null-text (Uni-Inv, then null-text optimisation), uni (Uni-Inv alone) or ddim (the plain rule).
    `guidance_scale` is the one that null-text optimisation prepares the replay for. `per_frame`: one null embedding a
    frame."""

    kind: InversionKind = "null-text"
    steps: int = 20
    guidance_scale: float = 2.5
    per_frame: bool = False


@dataclass(frozen=True)
class EditSettings:
    """`strength` 0..1 is the one dial: how long and how hard the path is enforced. 0 changes nothing. `seed` for the
    fill, and for the noise of a generated clip. `recipe`: vxedit's own way or a published one's name. `energies`: terms
    of the guidance and their weights, (name, weight) pairs; none: the recipe's own."""

    strength: float = 0.7
    seed: int = 0
    recipe: str = "vxedit"
    energies: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class WordSettings:
    """What becomes of the prompt's words: `replace` (old, new) pairs, `refine` the whole new prompt, and `weights`
    (word, factor) pairs. Nothing by default."""

    replace: tuple[tuple[str, str], ...] = ()
    refine: str | None = None
    weights: tuple[tuple[str, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.replace or self.refine is not None or self.weights)


@dataclass(frozen=True)
class Extras:
    """Files written beside the result: before | path | after side by side, the same as a GIF, the attention as a
    video."""

    side_by_side: bool = False
    gif: bool = False
    attention: bool = False


Offload = Literal["auto", "none", "model", "sequential"]
"""Where weights wait that are not in use: on the device, all of them; outside it, those of whole parts, or all but one
stage's. "auto": as the memory asks for."""


@dataclass(frozen=True)
class Loading:
    """How a model is loaded. `revision`: a branch, tag or commit of one on the hub; `lora`: files that are merged into
    its weights, times `lora_scale`; `offload`: which weights are kept off the device."""

    revision: str | None = None
    lora: tuple[Path, ...] = ()
    lora_scale: float = 1.0
    offload: Offload = "auto"


@dataclass(frozen=True)
class ObjectJob:
    """One object's part of a job.

    `obj` is the word or phrase that names it; `path` an inline path, a named motion, or a JSON file of keyframes. `box`
    (x0, y0, x1, y1) as shares of the frame, or `mask` (PNG, or a folder of PNGs), say where it is in the source;
    without them the model's attention does.
    """

    obj: str
    path: str
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None


STAY = "by:0,0"
"""The path of an object that is to stay where it is, as when only words change."""


@dataclass(frozen=True)
class RealJob:
    """One edit of a real clip.

    `obj`, `path`, `box` and `mask` are the first object's, as in ObjectJob; `others` are moved with it, each in front
    of those before it. `prompt` None: found beside or in the input, or made from `obj`. `allow_pickle` lets weights
    that are pickles (.bin) be read: only for files that are trusted. `device` and `dtype` may be "auto".
    """

    input: Path
    output: Path
    obj: str
    path: str
    prompt: str | None = None
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None
    model: str = "embedded"
    allow_pickle: bool = False
    device: str = "auto"
    dtype: str = "auto"
    selection: Selection = field(default_factory=Selection)
    invert: InvertSettings = field(default_factory=InvertSettings)
    edit: EditSettings = field(default_factory=EditSettings)
    extras: Extras = field(default_factory=Extras)
    overwrite: bool = False
    others: tuple[ObjectJob, ...] = ()
    words: WordSettings = field(default_factory=WordSettings)
    loading: Loading = field(default_factory=Loading)

    @property
    def objects(self) -> tuple[ObjectJob, ...]:
        """Every object's part, the rearmost first."""
        return (ObjectJob(self.obj, self.path, self.box, self.mask), *self.others)


@dataclass(frozen=True)
class GenerateSettings:
    """How a clip is made from noise. `steps`, `guidance_scale`, `num_frames`, `size` (width, height) and `eta`, how
    much of the noise each step draws anew, 0 (DDIM) to 1 (DDPM): the model's own where None. `fps` the clip is written
    at; None: 8. `steady`: words whose objects are kept on one way through the clip, so that they don't vanish here and
    appear there; None: those of the objects that are moved, where the model needs it.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    num_frames: int | None = None
    size: tuple[int, int] | None = None
    fps: Fraction | None = None
    eta: float | None = None
    steady: tuple[str, ...] | None = None


@dataclass(frozen=True)
class GenJob:
    """A clip generated from a prompt and, where `objects` or `words` ask for it, its edited twin from the same seed.

    `output` is the twin, or the clip itself where nothing is edited. The seed is `edit.seed`. `original`: the record of
    a clip that was generated earlier and is to be edited; its prompt, seed and settings are in the other fields.
    """

    prompt: str
    output: Path
    objects: tuple[ObjectJob, ...] = ()
    model: str = "embedded"
    allow_pickle: bool = False
    device: str = "auto"
    dtype: str = "auto"
    generate: GenerateSettings = field(default_factory=GenerateSettings)
    edit: EditSettings = field(default_factory=EditSettings)
    words: WordSettings = field(default_factory=WordSettings)
    extras: Extras = field(default_factory=Extras)
    original: Path | None = None
    overwrite: bool = False
    loading: Loading = field(default_factory=Loading)

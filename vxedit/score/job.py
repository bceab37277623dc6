"""What is asked of a score: the clips, what they should show, and the judges. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DetectorKind = Literal["auto", "template", "owl"]
ProtocolName = Literal["ours", "peekaboo", "trailblazer"]
SetOrder = Literal["auto", "xyxy", "xxyy", "yxyx"]

OWL = "google/owlvit-large-patch14"
"""The detector that the published figures of Peekaboo were measured with."""


@dataclass(frozen=True)
class ScoreJob:
    """`targets`: clips, or folders of them. What a clip should show is said by its record, or for all of them by
    `boxes`, a file, or `prompt_set`, a set's file whose boxes name their ends in `set_order`.

    `obj` is the word that the detector looks for, `prompt` what CLIP compares with; None: as the record or the set
    says. `source` is the unedited clip, or a folder of them, where the record's has moved; without `use_source` nothing
    is measured against it. `detector`: template, owl or the one that fits (auto); `owl` and `clip` are folders or hub
    ids, `clip` None leaves CLIP's figures out; `allow_pickle` lets their weights be pickles (.bin); `lpips` adds LPIPS.
    """

    targets: tuple[Path, ...]
    boxes: Path | None = None
    obj: str | None = None
    prompt: str | None = None
    prompt_set: Path | None = None
    set_order: SetOrder = "auto"
    source: Path | None = None
    use_source: bool = True
    detector: DetectorKind = "auto"
    owl: str = OWL
    clip: str | None = None
    lpips: bool = False
    device: str = "auto"
    allow_pickle: bool = False

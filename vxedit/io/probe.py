"""What a video file says about itself, read without decoding the clip."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vxedit.errors import InputError
from vxedit.io.ffmpeg import EXACT_STAMPS, ONLY_VIDEO, FfmpegError, Ran, located, packets, run
from vxedit.io.rates import exact_rate

_FORMATS = "mp4, mov, mkv, webm, avi or gif"
_UNREADABLE = f"isn't a video that can be read, or is cut short; give a whole {_FORMATS}"


@dataclass(frozen=True)
class VideoInfo:
    """`width`, `height` in pixels as shown, after rotation; `fps` the container's mean rate; `duration_s` 0 where the
    container doesn't say; `comment` its metadata's; `codec` ffmpeg's name, as is `audio_codec` (None: no sound).
    `start_s` is when the first frame is shown, counted from the container's start, as the sound's clock does."""

    width: int
    height: int
    fps: Fraction
    duration_s: float
    has_audio: bool
    comment: str | None
    codec: str
    audio_codec: str | None = None
    start_s: float = 0.0


def probe(path: Path) -> VideoInfo:
    """Describe the best video track of `path`, as ffmpeg chooses it. Only its first frame is decoded.

    Raises InputError if the file is missing, a folder, empty, not a video, or damaged so that no frame can be decoded.
    """
    check_file(path)
    header, metadata = _header(path)
    if "Video:" not in header:
        if "Audio:" in header:
            raise InputError(f"{path} has sound but no pictures; give a video ({_FORMATS})")
        raise InputError(f"{path} {_UNREADABLE}")
    first = _first_frame(path)
    stream = _video_line(header, first.log)
    if _is_picture(header):
        raise InputError(f"{path} is a single picture; give a video ({_FORMATS})")
    width, height = _shown_size(first)
    sound = re.search(r"Stream #0:\d+.*?: Audio: (\w+)", header)
    return VideoInfo(
        width=width,
        height=height,
        fps=_rate(stream),
        duration_s=_duration_s(header),
        has_audio=sound is not None,
        comment=_comment(metadata),
        codec=stream.split("Video: ", 1)[1].split(",")[0].split()[0],
        audio_codec=sound.group(1) if sound else None,
        start_s=float(packets(first.out)[0].start_s),
    )


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a file that can be opened and isn't empty."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a video file in it")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty (0 bytes); was it copied completely?")
    except FileNotFoundError as err:
        raise InputError(f"{path} doesn't exist; {_similar(path)}") from err
    except OSError as err:
        raise InputError(f"{path} can't be opened: {err.strerror}; check its permissions") from err


def _similar(path: Path) -> str:
    if not path.parent.is_dir():
        return f"neither does the folder {path.parent}"
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        names = []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"nothing in {path.parent} has a name like it"


def _header(path: Path) -> tuple[str, str]:
    """The input's part of ffmpeg's log, and its metadata in ffmpeg's own text format."""
    try:
        # A map of its own, so that the metadata are written though no stream is.
        ran = run(["-i", located(path), "-map_metadata", "0", "-f", "ffmetadata", "-"])
    except FfmpegError as err:
        raise InputError(f"{path} {_UNREADABLE}") from err
    header = ran.log.split("Output #0", 1)[0]
    return header, ran.out.decode("utf-8", errors="replace")


def _first_frame(path: Path) -> Ran:
    """Decode one frame: proves that it can be done, and tells size after rotation, stamp and track."""
    first = run(["-i", located(path), *ONLY_VIDEO, "-frames:v", "1", *EXACT_STAMPS], check=False)
    if not packets(first.out):
        raise InputError(f"{path} holds no frame that can be decoded: it is damaged or cut short; copy it again")
    return first


def _video_line(header: str, log: str) -> str:
    lines = {m.group(1): m.group(0) for m in re.finditer(r"Stream #0:(\d+).*?: Video: .*", header)}
    chosen = re.search(r"Stream #0:(\d+) -> #0:0", log)
    return lines.get(chosen.group(1) if chosen else "", next(iter(lines.values())))


def _is_picture(header: str) -> bool:
    kind = header.split("Input #0, ", 1)[-1].split(", from", 1)[0]
    return kind.endswith("_pipe") or kind in ("image2", "tty")


def _shown_size(first: Ran) -> tuple[int, int]:
    match = re.search(rb"#dimensions 0: (\d+)x(\d+)", first.out)
    if match is None:
        raise InputError("ffmpeg doesn't tell the size of the pictures; convert the file to H.264 mp4 and try again")
    return int(match.group(1)), int(match.group(2))


def _rate(stream: str) -> Fraction:
    """The mean rate, or else the one that ffmpeg guesses; 25 where it says neither, as for some raw streams."""
    for unit in ("fps", "tbr"):
        match = re.search(rf" ([\d.]+)(k?) {unit}\b", stream)
        if match and float(match.group(1)) > 0:
            return exact_rate(float(match.group(1)) * (1000 if match.group(2) else 1))
    return Fraction(25)


def _duration_s(header: str) -> float:
    match = re.search(r"Duration: (\d+):(\d+):([\d.]+)", header)
    if match is None:
        return 0.0
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _comment(metadata: str) -> str | None:
    """The container's comment; the format escapes `=;#\\` and line ends with a backslash."""
    whole = metadata.split("\n[", 1)[0]
    match = re.search(r"^comment=((?:\\.|[^\\\n])*)", whole, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    return re.sub(r"\\(.)", r"\1", match.group(1), flags=re.DOTALL) if match else None

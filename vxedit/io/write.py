"""Writes frames as an mp4 with the source's sound, or as a GIF."""

from __future__ import annotations

import contextlib
import itertools
import logging
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from vxedit.errors import OutputError, VxeditError
from vxedit.io.atomic import replacing
from vxedit.io.ffmpeg import FfmpegError, count_frames, last_line, located, packets, run
from vxedit.io.probe import probe
from vxedit.io.quiet import caught_stderr

logger = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".m4v", ".mov")

# RGB to BT.709 in limited range, and tagged so: players take untagged colour for BT.601 or 709 by the size.
_COLOUR = (
    "scale=in_range=full:out_range=tv:out_color_matrix=bt709,format=yuv420p,"
    "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    *,
    audio_from: Path | None = None,
    audio_start_s: float = 0.0,
    comment: str | None = None,
    crf: int = 16,
    overwrite: bool = False,
) -> None:
    """Write `frames`, each uint8 (H, W, 3) RGB, as H.264 (yuv420p, BT.709, index first) at `fps`, exact.

    H.264 in 4:2:0 has even sides only: an odd one is padded to even by repeating its last column or row, never
    rescaled, so a clip of 97x65 reads back as 98x66. From `audio_from` comes the piece of sound that begins
    `audio_start_s` seconds after that file's first frame and lasts as long as the video; no sound where it has none.
    `comment` goes into the container's metadata. `crf` 0..51, lower is better. The file appears whole or not at all.

    Raises OutputError if `path` exists and `overwrite` is False, has another suffix than .mp4, .m4v or .mov, or can't
    be written; ValueError for frames of another type or of changing size. An error of the `frames` iterable passes
    through.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path} ends in {path.suffix or 'nothing'!r}; name it {path.stem}.mp4 (or .m4v, .mov)")
    with replacing(path, overwrite=overwrite) as part:
        count = _encode(part, frames, fps, named=path, crf=crf, comment=comment)
        if audio_from is not None:
            _add_sound(part, audio_from, start_s=audio_start_s, length_s=float(count / fps))
        if count_frames(part) != count:
            raise OutputError(f"{path} came out incomplete; is the disk full? free some space and try again")


def write_gif(path: Path, frames: np.ndarray, fps: Fraction, *, overwrite: bool = False) -> None:
    """Write `frames` uint8 (F, H, W, 3) RGB as an endless GIF with one palette of 256 colours made for the whole clip.

    A GIF's clock ticks in 1/100 s: frames at other rates are shown a little early or late. Raises OutputError as
    `write_video` does, and ValueError for frames of another type.
    """
    frames = np.ascontiguousarray(frames)
    _check_frame(frames[0], frames.shape[1:])
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(Fraction(fps)), "-i", "-"]
    with replacing(path, overwrite=overwrite) as part, tempfile.TemporaryDirectory() as folder:
        palette = str(Path(folder) / "palette.png")
        looped = ["-filter_complex", "[0:v][1:v]paletteuse", "-loop", "0", "-f", "gif", located(part)]
        try:
            run([*source, "-vf", "palettegen", "-update", "1", palette], stdin=frames.tobytes())
            run([*source, "-i", palette, *looped], stdin=frames.tobytes())
        except FfmpegError as err:
            raise OutputError(f"{path} can't be written as a GIF ({err}); is the disk full?") from err


def _encode(
    part: Path, frames: Iterable[np.ndarray], fps: Fraction, *, named: Path, crf: int, comment: str | None
) -> int:
    """Encode all frames without sound; returns how many there were. `named` is the path that messages and logs
    show."""
    import imageio_ffmpeg

    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise OutputError(f"{named}: there are no frames to write")
    first_padded = _even(_check_frame(first, first.shape))
    height, width = first_padded.shape[:2]
    if first_padded.shape != first.shape:
        logger.warning("%s: padded from %dx%d to %dx%d", named.name, first.shape[1], first.shape[0], width, height)
    extra = ["-vf", _COLOUR, "-crf", str(crf), "-movflags", "+faststart"]
    if comment is not None:
        extra += ["-metadata", f"comment={comment}"]
    writer = imageio_ffmpeg.write_frames(
        located(part),
        (width, height),
        fps=Fraction(fps),  # given as a float it would be rounded
        codec="libx264",
        quality=None,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=extra,
    )
    count = 0
    with contextlib.closing(writer):
        with caught_stderr() as caught:
            writer.send(None)  # starts ffmpeg, which then keeps writing its errors where they are caught
        for frame in itertools.chain([first], rest):
            data = np.ascontiguousarray(_even(_check_frame(frame, first.shape)))
            try:
                writer.send(data)
            except OSError as err:
                raise OutputError(f"{named} can't be encoded ({last_line(caught.text())}); is the disk full?") from err
            count += 1
    return count


def _check_frame(frame: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
        raise ValueError(f"frames must be uint8 (H, W, 3) of one size, got {frame.dtype} {frame.shape} after {shape}")
    return frame


def _even(frame: np.ndarray) -> np.ndarray:
    """`frame` (H, W, 3) with the last row or column repeated where a side is odd."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")


def _add_sound(part: Path, source: Path, *, start_s: float, length_s: float) -> None:
    """Put the piece of `source`'s sound into the silent video `part`. A sound that can't be had is a warning: the
    video, which may have taken minutes to make, is worth more without it than not at all."""
    try:
        info = probe(source)
        if not info.has_audio:
            return
        with tempfile.TemporaryDirectory() as folder:
            piece = Path(folder) / "sound.m4a"
            _cut_sound(source, piece, start_s=start_s + info.start_s, length_s=length_s, codec=info.audio_codec)
            _join(part, piece)
    except (FfmpegError, VxeditError) as err:
        logger.warning("the sound of %s can't be kept: %s", source, err)


def _cut_sound(source: Path, piece: Path, *, start_s: float, length_s: float, codec: str | None) -> None:
    # Packets can be copied only from the very start: later, they don't begin where the frames do.
    ways = [["copy"]] if codec == "aac" and start_s == 0 else []
    ways.append(["aac", "-b:a", "192k"])
    span = ["-ss", f"{start_s:.6f}", "-t", f"{length_s:.6f}", "-i", located(source)]
    for way in ways:
        try:
            run([*span, "-vn", "-sn", "-dn", "-map_metadata", "-1", "-c:a", *way, str(piece)])
            if packets(run(["-i", str(piece), "-c", "copy", "-f", "framecrc", "-"]).out):
                return
        except FfmpegError as err:
            failure = err
            continue
        raise FfmpegError(f"it ends before {start_s:.2f} s")
    raise failure


def _join(part: Path, piece: Path) -> None:
    with replacing(part, overwrite=True) as joined:
        tracks = ["-i", located(part), "-i", str(piece), "-map", "0:v:0", "-map", "1:a:0", "-c", "copy"]
        run([*tracks, "-map_metadata", "0", "-movflags", "+faststart", located(joined)])

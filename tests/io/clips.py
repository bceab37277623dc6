"""Makes the files that the tests of io read: frames whose number can be told from their pixels, in many containers."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

STEP = 10


def ffmpeg(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def numbered(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 (count, height, width, 3): left, a grey of 10 + STEP times the frame's number; right, 128."""
    frames = np.full((count, height, width, 3), 128, np.uint8)
    frames[:, :, : width // 2] = (10 + STEP * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    """Which frames of `numbered` these are."""
    quarter = frames.shape[2] // 4
    return [round((float(frame[:, :quarter].mean()) - 10) / STEP) for frame in frames]


def make(
    path: Path, *, count: int = 20, rate: Fraction = Fraction(25), size: tuple[int, int] = (48, 64), extra=()
) -> Path:
    """Encode `numbered` frames as `path`; `extra` are ffmpeg's output options."""
    frames = numbered(count, *size)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}", "-r", str(rate), "-i", "-"]
    codec = [] if "-c:v" in extra or path.suffix == ".gif" else ["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"]
    ffmpeg(*raw, *codec, *extra, path, stdin=frames.tobytes())
    return path


def add_sound(video: Path, path: Path, *, tone_from_s: float, length_s: float) -> Path:
    """Copy `video` with a sound that is silent until `tone_from_s` and then a tone, `length_s` in all."""
    sound = f"aevalsrc=if(gte(t\\,{tone_from_s})\\,0.5*sin(2*PI*440*t)\\,0):d={length_s}:s=16000"
    ffmpeg("-i", video, "-f", "lavfi", "-i", sound, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", path)
    return path


def sound_of(path: Path) -> np.ndarray:
    """The file's sound as float (N,) at 16 kHz."""
    return np.frombuffer(ffmpeg("-i", path, "-ac", "1", "-ar", "16000", "-f", "f32le", "-"), np.float32)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-9)))

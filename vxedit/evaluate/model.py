"""What a model can do before any edit: its autoencoder, where its words look, and whether it draws what it is asked
for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.tokens import columns
from vxedit.edit.attention import attention_maps
from vxedit.edit.energy import inside_share
from vxedit.edit.region import to_cells
from vxedit.evaluate.sample import sample
from vxedit.render.backgrounds import BACKGROUNDS, HELD_OUT, photo_crop
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import never_trained, random_scene, render
from vxedit.score.fidelity import psnr


def vae_figures(backbone: Backbone, seeds: Sequence[int]) -> dict[str, list[float]]:
    """PSNR in dB of the autoencoder alone, one a clip (16 frames) of rendered clips and one a crop of held-out
    photographs."""
    drawn, photos = [], []
    for seed in seeds:
        frames = render(random_scene(seed, split="test")).frames
        drawn.append(psnr(backbone.decode(backbone.encode(frames), len(frames)), frames))
        rng = np.random.default_rng(seed)
        crop = photo_crop(rng, HELD_OUT[seed % len(HELD_OUT)], frames.shape[1]).astype(np.uint8)[None]
        photos.append(psnr(backbone.decode(backbone.encode(crop), 1), crop))
    return {"vae_drawn_db": drawn, "vae_photo_db": photos}


def attention_share(
    backbone: Backbone, seeds: Sequence[int], *, timestep: int = 400, layers: Sequence[str] | None = None
) -> dict[str, list[float]]:
    """The share of the object word's attention inside the object's true box at a timestep, by layer (mean over frames,
    one value a clip), with noise added to unseen clips; "area" is the box's own share of the frame, what a flat map
    would give."""
    shares: dict[str, list[float]] = {"area": []}
    levels = backbone.schedule(250)
    abar = levels.abar[int(np.abs(np.array(levels.timesteps) - timestep).argmin())]
    for seed in seeds:
        scene = random_scene(seed, split="test", actors=1)
        clip = render(scene)
        clean = backbone.encode(clip.frames)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean.device)
        word = columns(backbone.tokens(clip.caption), clip.caption, scene.actors[0].name)
        noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
        with torch.no_grad():
            maps = attention_maps(backbone, noisy, timestep, backbone.text(clip.caption).embeds, word, layers=layers)
        box = _box_masks(clip.boxes[0], *clip.frames.shape[1:3])
        shares["area"].append(float(box.mean()))
        for name, found in maps.items():
            inside = inside_share(found.cpu(), to_cells(box, *found.shape[-2:]))
            shares.setdefault(name, []).append(float(inside.mean()))
    return shares


def _box_masks(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes (F, 4) xyxy in [0, 1] as masks float32 (F, height, width)."""
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    rows = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:4])
    across = (x >= boxes[:, 0:1]) & (x < boxes[:, 2:3])
    return (rows[:, :, None] & across[:, None, :]).astype(np.float32)


@torch.no_grad()
def forward_flops(backbone: Backbone, latents: torch.Tensor) -> float:
    """Floating-point operations of one forward pass of the network over latents (1, C, f, h, w), as torch counts
    them."""
    from torch.utils.flop_counter import FlopCounterMode

    embeds = backbone.text("").embeds
    with FlopCounterMode(display=False) as counter:
        backbone.predict(latents, backbone.schedule(10).timesteps[0], embeds)
    return float(counter.get_total_flops())


def gradient_share(backbone: Backbone) -> float:
    """What a guidance pass costs in forward passes: as far as the last steering layer, there and back (backward counts
    twice)."""
    wanted = set(backbone.steering_layers())
    return 3 * max(layer.share for layer in backbone.layers() if layer.name in wanted)


@dataclass(frozen=True)
class Drawn:
    """A generated clip and what its prompt asked for; whether that pair of object and place was never trained on."""

    name: str
    place: str
    unseen: bool
    frames: np.ndarray


def generated_clips(
    backbone: Backbone, count: int, seed: int, progress: Callable[[int], None] | None = None
) -> list[Drawn]:
    """`count` generated clips, one object each, every second one a pair that training never saw."""
    rng = np.random.default_rng(seed)
    pairs = [(name, place) for name in DRAWINGS for place in BACKGROUNDS]
    apart = [pair for pair in pairs if never_trained(*pair)]
    trained = [pair for pair in pairs if not never_trained(*pair)]
    clips = []
    for k in range(count):
        pool = apart if k % 2 else trained
        name, place = pool[int(rng.integers(len(pool)))]
        article = "an" if name[0] in "aeiou" else "a"
        chance = torch.Generator().manual_seed(seed * 1000 + k)
        made = sample(backbone, f"{article} {name} over {place}", name, chance)
        frames = backbone.decode(made.clean, backbone.native.frames)
        clips.append(Drawn(name, place, k % 2 == 1, frames))
        if progress:
            progress(k + 1)
    return clips

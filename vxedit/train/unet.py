"""The embedded model's text encoder and U-Net: trained on single frames first, then on clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.invert.ddim import mixed_noise
from vxedit.train.data import Labels, labels, rendered_clips
from vxedit.train.excerpts import Batch, LatentClips, draw
from vxedit.train.grounding import grounding_loss, word_maps
from vxedit.train.loop import StageSettings, run_stage
from vxedit.train.precision import autocast, quick_attention
from vxedit.train.tokenizer import LENGTH
from vxedit.train.vae import LATENT_CHANNELS, to_tensor

CELLS = 16
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
HEAVIEST = 20.0
OBJECT = 5.0
SHIFT = 2.0


def build_unet() -> Any:
    """An untrained UNet3DConditionModel whose temporal layers start by changing nothing."""
    from diffusers import UNet3DConditionModel
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

    unet = UNet3DConditionModel(
        sample_size=CELLS,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(96, 128),
        cross_attention_dim=128,
        attention_head_dim=32,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock3D",) * 2,
        up_block_types=("CrossAttnUpBlock3D",) * 2,
    )
    for module in unet.modules():
        if isinstance(module, TransformerTemporalModel):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return unet


def build_text_encoder(vocabulary: int) -> Any:
    """An untrained CLIPTextModel, three layers of width 128."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
            projection_dim=128,
        )
    )


@contextmanager
def spatial_only(unet: nn.Module) -> Iterator[None]:
    """Skip the temporal layers, which for single frames cost much and say nothing."""
    from diffusers.models.resnet import TemporalConvLayer
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

    skipped = [m for m in unet.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]
    for module in skipped:
        module.forward = _skip_conv if isinstance(module, TemporalConvLayer) else _skip_transformer
    try:
        yield
    finally:
        for module in skipped:
            del module.forward


def _skip_conv(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return hidden


def _skip_transformer(hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor]:
    return (hidden_states,)


@torch.no_grad()
def encode_clips(vae: Any, seeds: Sequence[int], log: Callable[[str], None]) -> LatentClips:
    """Draw and encode one clip a seed."""
    from vxedit.render.scene import random_scene

    device = next(vae.parameters()).device
    latents, known = [], []
    for i, seed in enumerate(seeds):
        clip = rendered_clips([seed])[0]
        with autocast(device):
            latents.append(vae.encode(to_tensor(clip.frames).to(device)).latent.half().cpu())
        known.append(labels(clip, [actor.name for actor in random_scene(seed).actors], CELLS))
        if (i + 1) % 250 == 0:
            log(f"encoded {i + 1} of {len(seeds)} clips")
    return LatentClips(torch.stack(latents), tuple(known))


class Captions:
    """Token ids and, for up to two objects, the columns of their words."""

    def __init__(self, tokenizer: Any, known: Sequence[Labels]) -> None:
        texts = [label.caption for label in known]
        coded = tokenizer(
            texts,
            padding="max_length",
            max_length=LENGTH,
            truncation=True,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        self.ids: Tensor = coded["input_ids"]
        self.empty: Tensor = tokenizer("", padding="max_length", max_length=LENGTH, return_tensors="pt")["input_ids"]
        self.columns = torch.zeros(len(known), 2, LENGTH)
        for i, label in enumerate(known):
            starts, ends = coded["offset_mapping"][i].T
            for k, name in enumerate(label.names):
                found = re.search(rf"\b{re.escape(name)}\b", label.caption)  # whole words: a balloon is no ball
                if found is None:
                    raise ValueError(f"{name!r} is not in its clip's caption {label.caption!r}")
                self.columns[i, k] = ((starts < found.end()) & (ends > found.start()) & (ends > starts)).float()


def levels(rng: np.random.Generator, count: int, shift: float = 1.0) -> np.ndarray:
    """A step's timesteps, 0 to 999: one from every `count`-th part of the range, in random order (Kingma et al. 2021),
    so that a step of few clips sees much noise and little. `shift` draws them towards much noise, `shift` times as
    densely there (Esser et al. 2024)."""
    even = (rng.random() + np.arange(count) / count) % 1
    return rng.permutation((shift * even / (1 + (shift - 1) * even) * 1000).astype(np.int64))


def _weights(coverage: Tensor) -> Tensor:
    """How much each cell's error counts (B, f, h, w), mean one: OBJECT times as much where objects (B, f, n, h, w)
    cover it."""
    weight = 1 + (OBJECT - 1) * coverage.sum(2).clamp(max=1)
    return weight / weight.mean((1, 2, 3), keepdim=True)


def train_unet(
    settings: StageSettings,
    unet: nn.Module,
    text: nn.Module,
    tokenizer: Any,
    data: LatentClips,
    folder: Path,
    log: Callable[[str], None],
    *,
    batches: Sequence[Batch],
    scale: float,
    device: torch.device,
    drop: float = 0.1,
    ground: float = 0.5,
    structure: bool = False,
) -> dict[str, nn.Module]:
    """Train on `batches` in turn. Returns the averaged modules.

    Loss: the error of the predicted noise plus `ground` times the grounding loss; a caption is dropped with
    probability `drop`, so that the model also knows the empty prompt.

    `structure` trains what generation from noise needs: the error is weighted as if the velocity were predicted (1 /
    abar, at most HEAVIEST; Salimans & Ho 2022) and timesteps are drawn towards much noise (SHIFT), since that is where
    a clip's layout and colours are settled, and lost; where an object is, which is a tenth of the frame, it weighs
    OBJECT times as much; and a clip's frames share a random part of their noise (Ge et al. 2023), as inverted ones do.
    """
    from diffusers import DDIMScheduler

    abar_of = DDIMScheduler(**BETAS).alphas_cumprod.to(device)
    captions = Captions(tokenizer, data.labels)

    def loss(step: int) -> dict[str, Tensor]:
        seen = batches[step % len(batches)]
        frames, batch = seen.frames, seen.count
        rng = np.random.default_rng([step, frames])
        noise_rng = torch.Generator(device).manual_seed(step * 64 + frames)
        excerpts = draw(data, seen, rng)
        pick, coverage = excerpts.clips, excerpts.coverage.to(device)
        x0 = excerpts.latents.to(device) * scale
        kept = torch.from_numpy(rng.random(batch) >= drop)
        ids = torch.where(kept[:, None], captions.ids[pick], captions.empty).to(device)
        t = torch.from_numpy(levels(rng, batch, SHIFT if structure else 1.0)).to(device)
        abar = abar_of[t]
        a = abar.view(-1, 1, 1, 1, 1)
        noise = torch.randn(x0.shape, generator=noise_rng, device=device)
        if structure:
            part = torch.rand((batch, 1, 1, 1, 1), generator=noise_rng, device=device)
            noise = mixed_noise(noise, torch.randn(noise[:, :, :1].shape, generator=noise_rng, device=device), part)
        columns = (captions.columns[pick] * kept[:, None, None]).to(device)
        skipped = spatial_only(unet) if frames == 1 else nullcontext()
        with autocast(device), word_maps(unet, columns) as words, skipped:
            embeds = text(ids).last_hidden_state
            out = unet(a.sqrt() * x0 + (1 - a).sqrt() * noise, t, embeds).sample
        error = F.mse_loss(out.float(), noise, reduction="none").mean(1)
        heavy = _weights(coverage) * (1 / abar).clamp(max=HEAVIEST).view(-1, 1, 1, 1) if structure else 1.0
        weighted = (error * heavy).mean()
        per_frame = coverage.flatten(0, 1) * columns.any(-1).repeat_interleave(frames, 0)[..., None, None]
        grounded, share = grounding_loss(words.maps, per_frame, abar.repeat_interleave(frames))
        parts = {"loss": weighted + ground * grounded, "mse": error.mean(), "share": share}
        return parts if len(batches) == 1 else parts | {f"weighted{frames}": weighted}

    modules = {"unet": unet, "text_encoder": text}
    with quick_attention(device):
        return run_stage(settings, modules, loss, folder, log).shadow

"""A clip from noise, kept as a trajectory, so that what edits an inverted clip edits it as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone, Size
from vxedit.edit.one_track import OneTrack, keep_on_track
from vxedit.invert.ddim import guided, mixed_noise, noise_of
from vxedit.invert.inversion import Inversion
from vxedit.job import InvertSettings


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompt: str,
    size: Size,
    *,
    steps: int | None,
    guidance_scale: float | None,
    generator: torch.Generator,
    eta: float | None = 0.0,
    steady: Sequence[Sequence[int]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Sample with DDIM (Song et al. 2021) under classifier-free guidance (Ho & Salimans 2022).

    The trajectory replays exactly: its null embedding is the empty prompt's, at the same scale, and the noise that its
    steps add, with `eta` above 0, is kept. `steps`, `guidance_scale` and `eta` are the model's own where None.
    `generator`, on the processor, draws the noise, of which frames share the part that the model was trained with.
    Conditional and unconditional noise come from one pass over both. `steady`: the columns of each word whose object is
    kept on one way through the clip (one_track.py); the trajectory then replays from where guidance ended. Raises
    ValueError where the network gives values that are not finite.
    """
    scale = backbone.guidance_scale if guidance_scale is None else guidance_scale
    eta = backbone.eta if eta is None else eta
    shape = backbone.latent_shape(size)
    schedule = backbone.schedule(backbone.steps if steps is None else steps, shape)
    count = len(schedule)
    embeds, empty = backbone.text(prompt).embeds, backbone.unconditional(prompt)

    def drawn() -> Tensor:
        own = torch.randn(shape, generator=generator)
        shared = torch.randn(shape[:2] + (1,) + shape[3:], generator=generator)
        return mixed_noise(own, shared, backbone.shared_noise).to(backbone.device)

    x = drawn()
    fresh = torch.cat([drawn() for _ in range(count - 1)]) if eta > 0 and count > 1 else None
    settings = InvertSettings("ddim", count, scale)
    forwards = count * (1 if scale == 1 else 2)
    made = Inversion(x, empty, schedule, prompt, settings, forwards, 0, eta, fresh)
    pivots, guided_passes = [x], 0
    how, unsteady = OneTrack(), bool(steady)
    for i, t in enumerate(schedule.timesteps):
        a = schedule.abar[i]
        if unsteady and i < how.until * count:
            kept = keep_on_track(backbone, x, t, embeds, steady, how)
            x, guided_passes = kept.latents, guided_passes + kept.passes
            unsteady = bool((kept.before > how.guidance.enough).any())
            pivots[-1] = x
        if scale == 1:
            eps = noise_of(backbone.predict(x, t, embeds), x, a, backbone.parameterization)
        else:
            both = backbone.predict(x.repeat(2, 1, 1, 1, 1), t, torch.cat([empty, embeds]))
            plain, asked = noise_of(both, x, a, backbone.parameterization).chunk(2)
            eps = guided(plain, asked, scale)
        x = made.step(x, eps, i)
        if not bool(torch.isfinite(x).all()):
            raise ValueError("the clip left the range of finite numbers; try --dtype fp32 or a lower --guidance-scale")
        pivots.append(x)
        if progress:
            progress(i + 1, count)
    return replace(made, pivots=torch.cat(pivots), backwards=guided_passes)

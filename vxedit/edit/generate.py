"""A clip from noise, kept as a trajectory, so that what edits an inverted clip edits it as well."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vxedit.backbones.protocol import Backbone, Size
from vxedit.invert.ddim import guided, mixed_noise, noise_of, step
from vxedit.invert.inversion import Inversion
from vxedit.job import InvertSettings


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompt: str,
    size: Size,
    *,
    steps: int,
    guidance_scale: float | None,
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Sample with DDIM (Song et al. 2021, eta 0) under classifier-free guidance (Ho & Salimans 2022).

    The trajectory replays exactly: its null embedding is the empty prompt's, at the same scale, the model's own where
    `guidance_scale` is None. `generator`, on the processor, draws the noise, of which frames share the part that the
    model was trained with. Conditional and unconditional noise come from one pass over both. Raises ValueError where
    the network gives values that are not finite.
    """
    scale = backbone.guidance_scale if guidance_scale is None else guidance_scale
    shape = backbone.latent_shape(size)
    schedule = backbone.schedule(steps, shape)
    embeds, empty = backbone.text(prompt).embeds, backbone.unconditional(prompt)
    own, shared = (
        torch.randn(shape, generator=generator),
        torch.randn(shape[:2] + (1,) + shape[3:], generator=generator),
    )
    x = mixed_noise(own, shared, backbone.shared_noise).to(backbone.device)
    pivots = [x]
    for i, t in enumerate(schedule.timesteps):
        a, b = schedule.abar[i], schedule.abar[i + 1]
        if scale == 1:
            eps = noise_of(backbone.predict(x, t, embeds), x, a, backbone.parameterization)
        else:
            both = backbone.predict(x.repeat(2, 1, 1, 1, 1), t, torch.cat([empty, embeds]))
            plain, asked = noise_of(both, x, a, backbone.parameterization).chunk(2)
            eps = guided(plain, asked, scale)
        x = step(x, eps, a, b)
        if not bool(torch.isfinite(x).all()):
            raise ValueError("the clip left the range of finite numbers; try --dtype fp32 or a lower --guidance-scale")
        pivots.append(x)
        if progress:
            progress(i + 1, len(schedule))
    forwards = len(schedule) * (1 if scale == 1 else 2)
    settings = InvertSettings("ddim", steps, scale)
    return Inversion(torch.cat(pivots), empty, schedule, prompt, settings, forwards, 0)

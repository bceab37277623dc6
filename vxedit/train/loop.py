"""What every training stage shares: the learning rate's course, averaged weights, checkpoints, the log."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vxedit.train.precision import compute_dtype


@dataclass(frozen=True)
class StageSettings:
    """One stage: `steps` in all, the last `decay` of which bring the learning rate linearly to zero after a warm-up."""

    name: str
    steps: int
    lr: float
    warmup: int = 100
    decay: int = 1000
    ema: float = 0.999
    save_every: int = 500


def rate(step: int, settings: StageSettings) -> float:
    """The learning rate at a step: up, level, then down to zero (warm-up, stable, decay)."""
    down = (settings.steps - step) / max(1, min(settings.decay, settings.steps))
    return settings.lr * min(1.0, (step + 1) / max(1, settings.warmup), max(down, 0.0))


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al. 2024), for matrices and convolutions seen as matrices.

    Five Newton-Schulz steps bring the update's singular values near one, so rare directions learn as fast as common
    ones.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, *, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(mean, group["momentum"]).flatten(1))
                p.add_(update.view_as(p), alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values end between about 0.7 and 1.2."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(compute_dtype(matrix.device))
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


def optimizers(modules: Iterable[nn.Module], settings: StageSettings) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices and convolutions, AdamW for embeddings, norms, biases and the layers at the ends."""
    inner: list[nn.Parameter] = []
    outer: list[nn.Parameter] = []
    for module in modules:
        for name, p in module.named_parameters():
            matrix = p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= 16
            (
                inner if matrix and "conv_in" not in name and "conv_out" not in name and "embed" not in name else outer
            ).append(p)
    return [
        Muon(inner, settings.lr),
        torch.optim.AdamW(outer, settings.lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ]


def set_rate(opts: list[torch.optim.Optimizer], lr: float) -> None:
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = lr


@dataclass
class Average:
    """Exponential moving averages of some modules' parameters."""

    modules: dict[str, nn.Module]
    decay: float
    shadow: dict[str, nn.Module] = field(init=False)
    seen: int = 0

    def __post_init__(self) -> None:
        self.shadow = {name: copy.deepcopy(module).requires_grad_(False) for name, module in self.modules.items()}

    @torch.no_grad()
    def update(self) -> None:
        self.seen += 1
        keep = min(self.decay, (1 + self.seen) / (10 + self.seen))
        for name, module in self.modules.items():
            torch._foreach_lerp_(list(self.shadow[name].parameters()), list(module.parameters()), 1 - keep)


@dataclass
class Checkpoint:
    """A stage's state in one file, written beside and renamed, so that a killed run goes on from the last whole one."""

    path: Path
    modules: dict[str, nn.Module]
    average: Average
    opts: list[torch.optim.Optimizer]

    def save(self, step: int) -> None:
        state: dict[str, Any] = {"step": step, "seen": self.average.seen, "opts": [o.state_dict() for o in self.opts]}
        for name in self.modules:
            state[name] = self.modules[name].state_dict()
            state["ema." + name] = self.average.shadow[name].state_dict()
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)

    def load(self) -> int:
        """Restore the last state; the step to go on from, 0 where there is none."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        for name in self.modules:
            self.modules[name].load_state_dict(state[name])
            self.average.shadow[name].load_state_dict(state["ema." + name])
        for opt, saved in zip(self.opts, state["opts"], strict=True):
            opt.load_state_dict(saved)
        self.average.seen = state["seen"]
        return int(state["step"])


def run_stage(
    settings: StageSettings,
    modules: dict[str, nn.Module],
    loss: Callable[[int], dict[str, Tensor]],
    folder: Path,
    log: Callable[[str], None],
) -> Average:
    """Train `modules` on `loss(step)`, a dict whose "loss" is minimised and whose other entries are only logged.

    Resumes from the stage's checkpoint in `folder`. Returns the averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    average = Average(modules, settings.ema)
    opts = optimizers(modules.values(), settings)
    checkpoint = Checkpoint(folder / f"{settings.name}.pt", modules, average, opts)
    first = checkpoint.load()
    started = time.monotonic()
    means: dict[str, float] = {}
    for step in range(first, settings.steps):
        set_rate(opts, rate(step, settings))
        parts = loss(step)
        for opt in opts:
            opt.zero_grad(set_to_none=True)
        parts["loss"].backward()
        for module in modules.values():
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for opt in opts:
            opt.step()
        average.update()
        for key, value in parts.items():
            means[key] = 0.98 * means.get(key, float(value.detach())) + 0.02 * float(value.detach())
        if (step + 1) % 50 == 0:
            row = {"stage": settings.name, "step": step + 1, "minutes": round((time.monotonic() - started) / 60, 2)}
            log(json.dumps(row | {key: round(value, 5) for key, value in means.items()}))
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            checkpoint.save(step + 1)
    return average

"""The token-grounding loss: a word's attention belongs on its object (TokenCompose, Wang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class WordMaps:
    """Attention of chosen words, gathered while a U-Net runs. `columns` (B, n, L): which tokens each word has.

    `maps` gets one (B * F, n, N) per layer: the probability that each of N tokens attends to the word, mean over heads.
    """

    columns: Tensor
    maps: list[Tensor] = field(default_factory=list)

    def hook(self, attn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden, text = args[0] if args else kwargs["hidden_states"], kwargs["encoder_hidden_states"]
        q, k = (t.unflatten(2, (attn.heads, -1)).transpose(1, 2) for t in (attn.to_q(hidden), attn.to_k(text)))
        probs = ((q @ k.transpose(-1, -2)).float() * attn.scale).softmax(-1).mean(1)  # (B * F, N, L)
        columns = self.columns.repeat_interleave(len(probs) // len(self.columns), 0)
        self.maps.append((columns @ probs.transpose(1, 2)).float())  # autocast made it narrow


@contextmanager
def word_maps(unet: nn.Module, columns: Tensor) -> Iterator[WordMaps]:
    """Gather the words' maps from every text attention of `unet` while the context lasts."""
    found = WordMaps(columns)
    modules = [m for name, m in unet.named_modules() if name.endswith("attn2") and ".attentions." in name]
    handles = [module.register_forward_pre_hook(found.hook, with_kwargs=True) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def grounding_loss(
    maps: list[Tensor], coverage: Tensor, weight: Tensor, *, pixel: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The loss and, to be logged, the mean share of attention that lies on the object.

    `coverage` (B * F, n, h, w) of each cell by the object, 0 to 1; words without an object have none and do not count.
    `weight` (B * F,) is the noise level's abar: where little of the picture is left, little can be asked.
    L = mean over layers of (1 - sum A M / sum A)^2 + pixel * cross-entropy(A, M).
    """
    losses, shares = [], []
    for a in maps:
        side = coverage.shape[-1] // round((coverage[0, 0].numel() / a.shape[-1]) ** 0.5)
        m = F.adaptive_avg_pool2d(coverage, side).flatten(2)
        there = (m.sum(-1) > 0.5).float() * weight[:, None]
        share = (a * m).sum(-1) / (a.sum(-1) + 1e-6)
        entropy = F.binary_cross_entropy(a.clamp(1e-5, 1 - 1e-5), m, reduction="none").mean(-1)
        total = there.sum().clamp_min(1e-6)
        losses.append((((1 - share).square() + pixel * entropy) * there).sum() / total)
        shares.append((share * there).sum() / total)
    strength = weight.mean()
    return strength * torch.stack(losses).mean(), torch.stack(shares).mean()

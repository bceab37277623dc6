"""Bytes that a UNet3DConditionModel's activations need, counted from its stages.

What autograd keeps of frozen weights' network: the inputs of convolutions, norms and activations, and of an attention
its queries, keys, values and output; linear layers keep nothing. Recomputed stages keep their input alone (Chen et al.
2016, arXiv 1604.06174). Counts are in numbers of the network's own format unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vxedit.backbones.memory.unet3d_stages import Grid, Network, Stage, stages, weights

FLOAT_BYTES = 4
"""Attention's own sums, and captured maps, are float32 whatever the network is."""

RECOMPUTED = ("resnet", "temporal_conv", "temporal_attention")
"""The kinds that vxedit.backbones.borrowed.recomputed runs again."""


@dataclass(frozen=True)
class UNetMemory:
    """Bytes of activations of one pass over a single clip. `number`: bytes of one number of the network; `text`:
    tokens of the prompt."""

    network: Network
    grid: Grid
    number: int
    text: int = 77

    @classmethod
    def of(cls, config: Mapping[str, Any], grid: Grid, *, number: int, text: int = 77) -> UNetMemory:
        """From unet/config.json."""
        return cls(Network.of(config), grid, number, text)

    def weight_bytes(self) -> int:
        """All weights."""
        return self.number * sum(weights(self.network, stage) for stage in stages(self.network))

    def largest_stage_bytes(self) -> int:
        """The weights of the stage that has the most: what is on the device when stages are brought one by one."""
        return self.number * max(weights(self.network, stage) for stage in stages(self.network))

    def forward(self) -> int:
        """The peak of a pass without a gradient: the text, said again for every frame, the decoder's skips, and the
        stage that works on the most."""
        text = self.number * self.grid.frames * self.text * self.network.text_width
        return text + max(self._held(stage) + self._working(stage) for stage in stages(self.network))

    def guidance(self, captured: Collection[str], *, recomputed: bool = False) -> int:
        """The peak of a pass that ends at the last of the `captured` stages (such as "up_blocks.1.attentions.0"), and
        of its gradient with respect to the latents."""
        _, peak = self._gradient(self._until(captured), captured, recomputed=recomputed, stopped=True)
        return peak

    def null_text(self, *, recomputed: bool = False) -> int:
        """The peak of a whole pass and its gradient with respect to the text, which needs nothing of what comes before
        the first text attention. Where a guess is good enough, the next pass begins before its graph is let go."""
        order = stages(self.network)
        first = next(i for i, stage in enumerate(order) if stage.kind == "attention")
        kept, peak = self._gradient(order[first:], (), recomputed=recomputed)
        return max(peak, kept + self.forward()) - self.kept(order[first], stopped=True)

    def bound(self, captured: Collection[str], *, recomputed: bool = False) -> int:
        """Bytes of weights that a pass which ends at the last of the `captured` stages (of the whole network, where
        there is none) holds on to until its gradient is taken: those of the stages that aren't run again."""
        ran = [stage for stage in self._until(captured) if not (recomputed and stage.kind in RECOMPUTED)]
        return self.number * sum(weights(self.network, stage) for stage in ran)

    def captured(self, patterns: Collection[str]) -> tuple[str, ...]:
        """The stages that attend to the text and that a pattern names whole, begins (up to a dot) or fits; all of them
        where none does."""
        names = [stage.name for stage in stages(self.network) if stage.kind == "attention"]

        def wanted(name: str) -> bool:
            return any(
                f"{name}.".startswith(f"{p}.") or p.startswith(f"{name}.") or fnmatchcase(name, p) for p in patterns
            )

        return tuple(name for name in names if wanted(name)) or tuple(names)

    def _until(self, captured: Collection[str]) -> tuple[Stage, ...]:
        """The stages up to the last of those captured."""
        order = stages(self.network)
        return order[: max((i + 1 for i, stage in enumerate(order) if stage.name in captured), default=len(order))]

    def _gradient(
        self, ran: Sequence[Stage], captured: Collection[str], *, recomputed: bool, stopped: bool = False
    ) -> tuple[int, int]:
        """Bytes kept when the pass has ended, and the most there are until the gradient is taken."""
        kept = peak = 0
        for stage in ran:
            last = stopped and stage is ran[-1]
            again = recomputed and stage.kind in RECOMPUTED
            whole = self.kept(stage, captured=stage.name in captured, stopped=last)
            now = kept + whole + (self._capturing(stage) if last else self._backward(stage))
            peak, kept = max(peak, now), kept + (self._input(stage) if again else whole)
        return kept, peak

    def kept(self, stage: Stage, *, captured: bool = False, stopped: bool = False) -> int:
        """Bytes kept for the gradient of one stage. `stopped`: the pass ends where its attention to the text would
        begin."""
        n, c_in, c, inner = self._positions(stage), stage.channels_in, stage.channels_out, stage.inner
        if stage.kind == "time":
            return 0
        if stage.kind == "resnet":
            return self.number * n * 3 * (c_in + c)
        if stage.kind == "temporal_conv":
            return self.number * n * 12 * c
        if stage.kind not in ("attention", "temporal_attention"):
            return self.number * n * c_in * (3 if stage.kind == "conv_out" else 1)
        # Inputs of three norms; q, k, v and output of two attentions; 8 of the gate's projection and 4 of its product.
        across = stage.kind == "temporal_attention"
        of_tokens = n * (c + inner * (6 if stopped else 21 + 2 * across) + 2 * (2 if stopped else 3))
        of_text = 0 if across or stopped else 2 * self.grid.frames * self.text * inner
        sums = n * (inner // self.network.head) * (1 if stopped else 2)
        extra = self._captured(stage) if captured else 0
        return self.number * (of_tokens + of_text) + FLOAT_BYTES * sums + extra

    def _captured(self, stage: Stage) -> int:
        """What the map of a word keeps: the softmax over all keys, and in float32 the queries and keys."""
        n, heads = self._positions(stage), stage.inner // self.network.head
        widened = (n + self.grid.frames * self.text) * stage.inner
        return FLOAT_BYTES * (n * heads * self.text + widened)

    def _capturing(self, stage: Stage) -> int:
        """The scores before the softmax, as they come and divided by the root of the head's width."""
        return FLOAT_BYTES * 2 * self._positions(stage) * (stage.inner // self.network.head) * self.text

    def _input(self, stage: Stage) -> int:
        return self.number * self._positions(stage) * stage.channels_in

    def _backward(self, stage: Stage) -> int:
        """Gradients alive at once while a stage's own gradient is taken: of what it gives, and in the gate of an
        attention's feed-forward of the product (4 of the width), of both its factors (8), and the residual's."""
        n, c_in, c = self._positions(stage), stage.channels_in, stage.channels_out
        if stage.kind in ("attention", "temporal_attention"):
            return self.number * n * (c + 13 * stage.inner)
        return self.number * n * 3 * max(c_in, c)

    def _held(self, stage: Stage) -> int:
        return self.number * sum(c * self.grid.positions(level) for c, level in stage.skips)

    def _working(self, stage: Stage) -> int:
        """What is alive at once in a stage without a gradient: in a feed-forward the block's input, the stage's,
        the residual, its norm, the attention's output, the gate's projection (8 of the width), one factor (4) and the
        product (4)."""
        n, c_in, c = self._positions(stage), stage.channels_in, stage.channels_out
        if stage.kind == "time":
            return 0
        if stage.kind in ("attention", "temporal_attention"):
            return self.number * n * (3 * c + 19 * stage.inner)
        if stage.kind == "resnet":
            # the network still has the block's input, whose width is at most the stage's
            return self.number * n * (c + max(3 * c_in, 2 * c_in + c, c_in + 3 * c))
        return self.number * n * 4 * max(c_in, c)

    def _positions(self, stage: Stage) -> int:
        """Positions a stage reads; of an up-sampling, those that its convolution does."""
        return self.grid.positions(stage.level - (stage.kind == "down"))

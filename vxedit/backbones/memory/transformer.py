"""Bytes that a transformer over video tokens needs for its activations (Wan, LTX, CogVideoX and their kind).

As for the U-Net, weights are frozen: a block keeps the inputs of its norms and of its feed-forward's activation, and of
each attention the queries, keys, values and output.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOAT_BYTES = 4

SHORT_TEXT = 128
"""Up to so many keys a captured map is a whole softmax, as in vxedit.edit.attention."""


@dataclass(frozen=True)
class TransformerMemory:
    """Bytes of one pass over a single clip. `tokens`: those of the video, and of the text where `joint`; `text`: those
    of the prompt; `number`: bytes of one number of the network.

    `joint`: one attention over video and text in place of two; `float_norms`: norms are taken in float32 (Wan, LTX);
    `norms_queries`: so are queries and keys; `gated`: the feed-forward multiplies two halves.
    """

    depth: int
    width: int
    heads: int
    feed_forward: int
    tokens: int
    text: int
    number: int
    joint: bool = False
    float_norms: bool = True
    norms_queries: bool = True
    gated: bool = False

    def forward(self) -> int:
        """The peak of a pass without a gradient: in an attention its queries, keys, values and output, with four
        float32 copies on the way through norms and rotations; or the feed-forward's width before and after its
        activation."""
        attention = self.width * 4 * (self.number + FLOAT_BYTES)
        between = self.feed_forward * (4 if self.gated else 2)
        return self.tokens * max(attention, self.number * (between + 5 * self.width))

    def guidance(self, captured: int, *, blocks: int, recomputed: bool = False) -> int:
        """The peak of a pass that ends in block number `blocks`, counted from 1, and of its gradient. `captured` blocks
        are looked at; they are not among those run again."""
        inner = blocks - captured
        kept = captured * (self.block() + self.captured())
        if not recomputed:
            return kept + inner * self.block() + self.backward()
        return kept + inner * self.tokens * self.width * self.number + self.block() * (inner > 0) + self.backward()

    def block(self) -> int:
        """Bytes that one block keeps for its gradient."""
        norms = (2 if self.joint else 3) + self.norms_queries * (2 if self.joint else 3)
        attended = 4 if self.joint else 6  # the text's own keys and values are few
        numbers = attended * self.width + (3 if self.gated else 1) * self.feed_forward
        of_norms = norms * self.width * (FLOAT_BYTES if self.float_norms else self.number)
        sums = FLOAT_BYTES * self.heads * (1 if self.joint else 2)
        return self.tokens * (numbers * self.number + of_norms + sums)

    def captured(self) -> int:
        """What a word's map keeps: the softmax over all keys and the queries in float32, or, where the text is long, an
        attention's queries and output."""
        if self.text <= SHORT_TEXT:
            return FLOAT_BYTES * self.tokens * (self.heads * self.text + self.width)
        return self.tokens * self.width * (FLOAT_BYTES + 2 * self.number)

    def backward(self) -> int:
        """Gradients alive at once: of a block's output and residual, and of the feed-forward before and after its
        activation."""
        return self.tokens * self.number * (2 * self.width + 2 * self.feed_forward)

"""The source's keys and values lent to the edited clip: to whom, from whom, and what of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.edit.scenes import clip
from vxedit.backbones.protocol import Attention, AttentionCall
from vxedit.backbones.tokens import columns as columns_of
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.locate import Located
from vxedit.edit.real import Parts, Recipe, edit
from vxedit.edit.region import touched_cells
from vxedit.edit.sharing import Borrowing, Cover, Lent, SharingSettings, sharing_layers
from vxedit.edit.task import Edited, Subject, Task
from vxedit.invert.inversion import Inversion, invert
from vxedit.job import InvertSettings
from vxedit.render.scene import Rendered

STEPS = 4
SPANS = ((0,), (1,))


def cover(*, objects: int = 1) -> Cover:
    """Two frames of 16x16 pixels: the first object in the top left quarter, asked for in the top right one; the second
    in the bottom left one, asked for in the middle of the right half."""
    source, target = np.zeros((2, 2, 2, 16, 16), np.float32)
    source[0, :, :8, :8] = target[0, :, :8, 8:] = 1
    source[1, :, 8:, :8] = target[1, :, 4:12, 8:] = 1
    if objects == 2:
        target[0, :, 4:8] = 0  # as it is seen behind the other
    return Cover(source[:objects], target[:objects], SPANS)


def test_cells_belong_to_what_covers_most_of_them() -> None:
    there, asked = cover(objects=2).owners(4, 4)
    assert there.shape == asked.shape == (2, 4, 4)
    assert there[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [2, 2, 0, 0], [2, 2, 0, 0]]
    assert asked[1].tolist() == [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0]]


def test_a_source_cell_that_is_part_object_part_background_is_nobodys() -> None:
    one = cover()
    one.source[0, :, :8, 8:10] = 0.3
    there, _ = one.owners(8, 8)
    assert there[0, :4, 4].tolist() == [-1] * 4 and there[0, :4, 3].tolist() == [1] * 4


def call(seed: int, *, frames: int = 2, side: int = 4, name: str = "a") -> AttentionCall:
    made = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, frames, 2, side * side, 8, generator=made)
    return AttentionCall(Attention(name, "space", None, 1), q, k, v, None, 1, frames, side, side)


def lent(call: AttentionCall) -> Lent:
    kept = Lent([call.attention.name])
    assert kept(call) is None
    return kept


def test_a_place_looks_at_its_own_frame_and_at_what_it_is_in_the_source() -> None:
    own, source, what = call(0), call(1), cover()
    out = Borrowing(lent(source), what)(own)
    assert out is not None
    there, asked = (one.flatten(1) for one in what.owners(4, 4))
    for frame, query in ((0, 0), (0, 3), (1, 7), (1, 12)):
        lender = (there[frame] == asked[frame, query]).nonzero()[:, 0]
        assert 0 < len(lender) < 16
        keys = torch.cat([own.key[frame], source.key[frame][:, lender]], 1)
        values = torch.cat([own.value[frame], source.value[frame][:, lender]], 1)
        expected = F.scaled_dot_product_attention(own.query[frame][:, query : query + 1], keys, values)
        torch.testing.assert_close(out[frame, :, query], expected[:, 0])


def test_lending_a_clip_to_itself_changes_nothing() -> None:
    """Every key stands twice then, where there is one kind of place alone."""
    own = call(0)
    nothing = np.zeros((1, 2, 16, 16), np.float32)
    out = Borrowing(lent(own), Cover(nothing, nothing, SPANS))(own)
    assert out is not None
    torch.testing.assert_close(out, F.scaled_dot_product_attention(own.query, own.key, own.value))


def test_attentions_that_were_not_lent_are_left_alone() -> None:
    assert Borrowing(lent(call(1)), cover())(call(0, name="other")) is None
    kept = Lent(["other"])
    kept(call(0))
    assert not kept.calls


@pytest.fixture(scope="module")
def truth() -> Rendered:
    return clip("ball", "gravel", frames=4, size=64, start=(0.3, 0.35), end=(0.34, 0.4))


@pytest.fixture(scope="module")
def inversion(tiny: UNet3D, truth: Rendered) -> Inversion:
    return invert(tiny, tiny.encode(truth.frames), "a red ball", InvertSettings("uni", STEPS, 2.5))


def edited(tiny: UNet3D, inversion: Inversion, truth: Rendered, how: Recipe) -> Edited:
    found = Located(truth.masks[0], truth.boxes[0])
    columns = columns_of(tiny.tokens(inversion.prompt), inversion.prompt, "ball")
    subject = Subject("ball", columns, found, found.boxes + np.array([0.25, 0.125, 0.25, 0.125]))
    return edit(Task(tiny, inversion, truth.frames, (subject,), torch.Generator().manual_seed(0)), how)


def test_the_last_attentions_over_space_share(tiny: UNet3D) -> None:
    space = [one.name for one in tiny.attentions() if one.kind == "space"]
    assert len(space) > 1
    assert sharing_layers(tiny, 1.0) == tuple(space)
    assert sharing_layers(tiny, 0.5) == tuple(space[len(space) - round(len(space) / 2) :])
    assert sharing_layers(tiny, 0.0) == ()


def test_sharing_changes_the_edit_region_alone_and_costs_a_pass_a_step(
    tiny: UNet3D, inversion: Inversion, truth: Rendered
) -> None:
    free = Parts(guidance=False, anchor=False)
    without = edited(tiny, inversion, truth, Recipe(start=1.0, parts=free))
    how = Recipe(start=1.0, parts=replace(free, sharing=True), sharing=SharingSettings(start=0.5))
    shared = edited(tiny, inversion, truth, how)
    assert (without.forwards, shared.forwards) == (2 * STEPS, 2 * STEPS + STEPS // 2)
    outside = touched_cells(shared.region.alpha, *shared.latents.shape[-2:])[None, None] == 0
    assert torch.equal(*(_outside(one.latents, outside) for one in (shared, without)))
    assert (shared.latents - without.latents).abs().max() > 1e-3
    never = edited(tiny, inversion, truth, replace(how, sharing=SharingSettings(start=1.0)))
    assert torch.equal(never.latents, without.latents)


def _outside(latents: Tensor, outside: Tensor) -> Tensor:
    return latents[outside.expand_as(latents)]

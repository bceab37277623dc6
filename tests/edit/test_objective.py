"""The sum of energies for one and for several objects, against sums that are made another way."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vxedit.edit.energy import (
    box_energy,
    centroid_energy,
    corner_energy,
    drawn_energy,
    rasterise,
    smoothness_energy,
    topk_energy,
)
from vxedit.edit.likeness import appearance, appearance_energy, presence_energy
from vxedit.edit.objective import NAMES, Aim, Weights, energy_of, parse_weights
from vxedit.errors import UsageError

LEFT, RIGHT = np.array([[0.0, 0.25, 0.5, 0.75]] * 3), np.array([[0.25, 0.25, 0.75, 0.75]] * 3)  # they share a half
GRIDS = {"fine": (8, 8), "coarse": (4, 6)}
NONE = Weights(**dict.fromkeys(NAMES, 0.0))


def only(name: str, weight: float = 1.0) -> Weights:
    return replace(NONE, **{name: weight})


def random_maps(words: int = 1, seed: int = 0) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {layer: torch.rand(1, words, 3, *grid, generator=made) for layer, grid in GRIDS.items()}


def in_box(box: list[float], height: int = 8, width: int = 8) -> Tensor:
    """A map with all of its mass in a box, (1, 3, h, w)."""
    return rasterise(np.array([box] * 3), height, width)[None]


def whole_aim(boxes: np.ndarray, seed: int = 7) -> tuple[Aim, dict[str, Tensor]]:
    """An aim that has everything, and current features."""
    made = torch.Generator().manual_seed(seed)
    then = {layer: torch.randn(1, 3, *grid, 5, generator=made) for layer, grid in GRIDS.items()}
    now = {layer: torch.randn(1, 3, *grid, 5, generator=made) for layer, grid in GRIDS.items()}
    source = {layer: m[:, 0] for layer, m in random_maps(seed=8).items()}
    return Aim(boxes, source=source, source_boxes=boxes[::-1] * 0.8, features=then), now


def test_one_box_is_the_mean_box_energy_of_the_layers_on_their_own_grids() -> None:
    """Counted with numpy on a 48 x 48 lattice that divides both grids, for boxes along its lines."""
    boxes = np.array([[5, 7, 20, 31], [0, 3, 48, 10], [11, 40, 29, 48]]) / 48
    points = (np.arange(48) + 0.5) / 48
    maps, each = random_maps(), []
    for m in maps.values():
        height, width = m.shape[-2:]
        across, down = ((points > boxes[:, [i]]) & (points < boxes[:, [i + 2]]) for i in (0, 1))
        hit = (down[:, :, None] & across[:, None, :]).reshape(3, height, 48 // height, width, 48 // width)
        inside = m[0, 0].double().numpy() * hit.mean((2, 4))
        each.append((1 - inside.sum((1, 2)) / m[0, 0].double().numpy().sum((1, 2))) ** 2)
    for weights in (Weights(box=1), Weights(), parse_weights([])):
        assert energy_of(maps, [Aim(boxes)], weights).numpy() == pytest.approx(np.mean(each, 0), rel=1e-5)


def test_each_term_is_its_energy_on_every_layers_grid() -> None:
    maps, aim = random_maps(), Aim(LEFT + [[0.05, 0, 0, 0]])
    centres = torch.tensor([[0.275, 0.5]] * 3)
    for layer, m in maps.items():
        region = rasterise(aim.boxes, *GRIDS[layer])
        wanted = {
            "box": box_energy(m[:, 0], region),
            "drawn": drawn_energy(m[:, 0], region),
            "centroid": centroid_energy(m[:, 0], centres),
            "topk": topk_energy(m[:, 0], region),
            "corner": corner_energy(m[:, 0], region),
            "smoothness": smoothness_energy(m[:, 0], centres),
            "presence": presence_energy(m[:, 0]),
        }
        for name, value in wanted.items():
            torch.testing.assert_close(energy_of({layer: m}, [aim], only(name)), value[0], msg=name)
    assert set(wanted) == set(NAMES) - {"size", "shape", "appearance", "leak"}


def test_the_energy_is_the_weighted_sum_of_its_terms_and_each_has_a_gradient() -> None:
    aim, now = whole_aim(LEFT)
    weights = Weights(**{name: 0.3 + 0.1 * i for i, name in enumerate(NAMES)})
    maps = {layer: m.requires_grad_() for layer, m in random_maps(2).items()}
    now = {layer: x.requires_grad_() for layer, x in now.items()}
    aims = [aim, replace(aim, boxes=RIGHT, order=1)]
    total = torch.zeros(3)
    for name, weight in asdict(weights).items():
        value = energy_of(maps, aims, only(name), features=now)
        inputs = now if name == "appearance" else maps
        gradients = torch.autograd.grad(value.sum(), list(inputs.values()), retain_graph=True)
        assert all(float(gradient.abs().max()) > 1e-8 for gradient in gradients), name
        total = total + weight * value
    torch.testing.assert_close(energy_of(maps, aims, weights, features=now), total)


@pytest.mark.parametrize("level", [0.0, 0.2])
def test_flat_maps_give_finite_energies_and_gradients(level: float) -> None:
    aim, now = whole_aim(LEFT)
    maps = {layer: torch.full_like(m, level).requires_grad_() for layer, m in random_maps(2).items()}
    value = energy_of(maps, [aim, replace(aim, boxes=RIGHT)], Weights(**dict.fromkeys(NAMES, 1.0)), features=now)
    gradients = torch.autograd.grad(value.sum(), list(maps.values()))
    assert bool(torch.isfinite(value).all()) and all(bool(torch.isfinite(g).all()) for g in gradients)


def test_no_terms_at_all_are_a_zero_with_a_graph() -> None:
    maps = {layer: m.requires_grad_() for layer, m in random_maps().items()}
    value = energy_of(maps, [Aim(LEFT)], NONE)
    assert torch.equal(value.detach(), torch.zeros(3))
    assert all(float(g.abs().max()) == 0 for g in torch.autograd.grad(value.sum(), list(maps.values())))


def test_a_centre_is_exact_for_a_box_between_the_cells_and_over_the_border() -> None:
    """The centre of the part that is in the frame, to far less than a cell."""
    boxes = np.array([[0.13, 0.21, 0.34, 0.4], [-0.3, 0.5, 0.3, 1.4], [0.5, 0.5, 0.9, 0.9]])
    maps = random_maps()
    wanted = torch.tensor([[0.235, 0.305], [0.15, 0.75], [0.7, 0.7]])
    torch.testing.assert_close(
        energy_of({"fine": maps["fine"]}, [Aim(boxes)], only("centroid")),
        centroid_energy(maps["fine"][:, 0], wanted)[0],
    )


def test_the_size_expected_is_the_sources_times_the_ratio_of_the_areas() -> None:
    """A source of 2 x 2 cells in its box of 4 x 2; the target's box is twice as wide: 8 cells of 64."""
    source, was = {"fine": in_box([0.0, 0.0, 0.25, 0.25])}, np.array([[0.0, 0.0, 0.5, 0.25]] * 3)
    aim = Aim(np.array([[0.0, 0.5, 1.0, 0.75]] * 3), source=source, source_boxes=was)
    for right, bottom, wanted in ((1.0, 0.625, 0.0), (0.5, 0.625, (4 / 64) ** 2), (1.0, 1.0, (24 / 64) ** 2)):
        now = in_box([0.0, 0.5, right, bottom])
        value = energy_of({"fine": now[:, None]}, [aim], only("size"))
        assert value.tolist() == pytest.approx([wanted] * 3, abs=1e-7)


def test_the_shape_expected_is_the_sources_at_the_target() -> None:
    """An L in its box, two cells to the right and three down."""
    mask = torch.zeros(1, 3, 8, 8)
    mask[..., 1:4, 1], mask[..., 3, 1:4] = 0.5, 0.5
    was = np.array([[1, 1, 4, 4]] * 3) / 8
    aim = Aim(was + np.array([2, 3, 2, 3]) / 8, source={"fine": mask}, source_boxes=was)
    moved = torch.roll(mask, (3, 2), (-2, -1))
    assert energy_of({"fine": moved[:, None]}, [aim], only("shape")).tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert energy_of({"fine": mask[:, None]}, [aim], only("shape")).tolist() == pytest.approx([10 / 64] * 3, abs=1e-5)


def test_the_shape_expected_is_without_what_is_in_front() -> None:
    """Two bars of three cells, upright; the one in front hides the lower two of the other, and is whole itself."""
    bar = torch.zeros(1, 3, 8, 8)
    bar[..., 0:3, 1] = 1
    was = np.array([[0, 0, 3, 3]] * 3) / 8
    aims = [
        Aim(was + np.array([0, down, 0, down]) / 8, order=down, source={"fine": bar}, source_boxes=was)
        for down in (2, 3)
    ]
    whole, top = torch.roll(bar, 3, -2), torch.zeros_like(bar)
    top[..., 2, 1] = 1
    seen, unhidden = ({"fine": torch.stack([m, whole], 1)} for m in (top, torch.roll(bar, 2, -2)))
    assert energy_of(seen, aims, only("shape")).tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert energy_of(unhidden, aims, only("shape")).tolist() == pytest.approx([2 / 64 / 2] * 3, abs=1e-5)


def test_the_appearance_is_compared_layer_by_layer() -> None:
    aim, now = whole_aim(LEFT)
    maps, each = random_maps(), []
    assert aim.source is not None and aim.features is not None
    for layer, m in maps.items():
        source = appearance(aim.source[layer], aim.features[layer])[0]
        each.append(appearance_energy(m[:, 0], now[layer], source)[0])
    value = energy_of(maps, [aim], only("appearance"), features=now)
    torch.testing.assert_close(value, torch.stack(each).mean(0))


def test_the_object_in_front_owns_what_both_boxes_cover() -> None:
    """All attention in the overlap: right for the one in front, wholly wrong for the one behind."""
    overlap = in_box([0.25, 0.25, 0.5, 0.75])
    maps = {"fine": torch.stack([overlap, overlap], 1)}
    for behind in (0, 1):
        aims = [Aim(LEFT, order=int(behind == 1)), Aim(RIGHT, order=int(behind == 0))]
        assert energy_of(maps, aims, only("box")).tolist() == pytest.approx([0.5] * 3)
        assert energy_of(maps, aims, only("leak")).tolist() == pytest.approx([0.5] * 3)
        assert energy_of(maps, aims, Weights()).tolist() == pytest.approx([1] * 3)
        # the front one's box, and of the other's what it leaves
        rest = [[0.0, 0.25, 0.25, 0.75], [0.5, 0.25, 0.75, 0.75]][behind]
        best = [in_box([0.0, 0.25, 0.5, 0.75]), in_box([0.25, 0.25, 0.75, 0.75])]
        best[behind] = in_box(rest)
        right = {"fine": torch.stack(best, 1)}
        for name in ("box", "drawn", "topk", "corner", "centroid", "leak"):
            assert energy_of(right, aims, only(name)).tolist() == pytest.approx([0] * 3, abs=1e-6), name


def test_of_objects_at_the_same_depth_both_own_what_they_share() -> None:
    overlap = in_box([0.25, 0.25, 0.5, 0.75])
    maps = {"fine": torch.stack([overlap, overlap], 1)}
    assert energy_of(maps, [Aim(LEFT), Aim(RIGHT)], Weights()).tolist() == pytest.approx([0] * 3, abs=1e-12)


def test_the_leak_keeps_attention_out_of_the_others_region_alone() -> None:
    """A quarter of the first one's mass in the second's own region, a quarter where there is nobody."""
    first = in_box([0.0, 0.25, 0.5, 0.75])  # 16 cells
    first[..., 2, 6] = first[..., 7, 7] = 8
    second = in_box([0.75, 0.25, 1.0, 0.5])
    maps = {"fine": torch.stack([first, second], 1)}
    aims = [Aim(LEFT), Aim(np.array([[0.75, 0.25, 1.0, 0.5]] * 3))]
    assert energy_of(maps, aims, only("leak")).tolist() == pytest.approx([0.25**2 / 2] * 3, rel=1e-5)
    box = (0.5**2 + 0) / 2
    assert energy_of(maps, aims, Weights()).tolist() == pytest.approx([box + 0.25**2 / 2] * 3, rel=1e-5)
    assert energy_of(maps, aims, parse_weights(["leak=0"])).tolist() == pytest.approx([box] * 3, rel=1e-5)
    alone = {"fine": maps["fine"][:, :1]}
    assert torch.equal(energy_of(alone, aims[:1], only("leak")), torch.zeros(3))


def test_each_aim_takes_its_own_word() -> None:
    maps = random_maps(2)
    aims = [Aim(LEFT, order=1), Aim(RIGHT)]
    swapped = {layer: m.flip(1) for layer, m in maps.items()}
    torch.testing.assert_close(energy_of(swapped, aims[::-1], Weights()), energy_of(maps, aims, Weights()))
    assert not torch.allclose(energy_of(swapped, aims, Weights()), energy_of(maps, aims, Weights()), rtol=1e-2)


def test_what_is_hidden_is_not_pulled_but_still_kept_out_of_the_others() -> None:
    """The second is behind the first in the last frame alone; there its jitter, of which the neighbour is a part, is
    free too."""
    behind = np.stack([[0.75, 0.25, 1.0, 0.75], [0.75, 0.25, 1.0, 0.75], [0.1, 0.3, 0.4, 0.7]])
    maps, aims = random_maps(2), [Aim(LEFT, order=1), Aim(behind)]
    for name in ("box", "drawn", "centroid", "topk", "corner", "presence"):
        both = energy_of(maps, aims, only(name))
        first, second = (energy_of({k: m[:, [i]] for k, m in maps.items()}, [aims[i]], only(name)) for i in (0, 1))
        torch.testing.assert_close(both[:2], (first + second)[:2] / 2, msg=name)
        torch.testing.assert_close(both[2], first[2] / 2, msg=name)
    one = energy_of({k: m[:, [0]] for k, m in maps.items()}, aims[:1], only("smoothness"))
    torch.testing.assert_close(energy_of(maps, aims, only("smoothness")), one / 2)
    inside = {"fine": torch.stack([in_box([0.0, 0.25, 0.5, 0.75])] * 2, 1)}
    assert energy_of(inside, aims, only("leak")).tolist() == pytest.approx([0.5] * 3)


def test_the_depth_of_three_objects_is_their_order() -> None:
    """Boxes one within the other, the smallest in front: rings of 4, 12 and 20 cells."""
    boxes = [np.array([[3 - i, 3 - i, 5 + i, 5 + i]] * 3) / 8 for i in range(3)]
    aims = [Aim(box, order=-i) for i, box in enumerate(boxes)]
    maps = {"fine": torch.full((1, 3, 3, 8, 8), 0.1)}
    box = np.mean([(1 - cells / 64) ** 2 for cells in (4, 12, 20)])
    leak = np.mean([((36 - cells) / 64) ** 2 for cells in (4, 12, 20)])
    assert energy_of(maps, aims, only("box")).tolist() == pytest.approx([box] * 3, rel=1e-5)
    assert energy_of(maps, aims, only("leak")).tolist() == pytest.approx([leak] * 3, rel=1e-5)


@pytest.mark.parametrize("name", ["size", "shape", "appearance"])
def test_a_term_that_compares_with_the_source_says_so_without_it(name: str) -> None:
    aim, now = whole_aim(LEFT)
    maps = random_maps()
    energy_of(maps, [aim], only(name), features=now)
    with pytest.raises(UsageError, match=rf"the {name} energy needs .*source maps in layer fine, got none: .*{name}=0"):
        energy_of(maps, [replace(aim, source=None)], only(name), features=now)
    assert aim.source is not None
    with pytest.raises(UsageError, match=r"layer coarse, got those of fine"):
        energy_of(maps, [replace(aim, source={"fine": aim.source["fine"]})], only(name), features=now)
    energy_of(maps, [Aim(LEFT)], replace(Weights(), **{name: 0.0}))


def test_what_else_is_missing_is_named() -> None:
    aim, now = whole_aim(LEFT)
    maps = random_maps()
    for name in ("size", "shape"):
        with pytest.raises(UsageError, match=rf"the {name} energy needs the object's source boxes"):
            energy_of(maps, [replace(aim, source_boxes=None)], only(name))
    with pytest.raises(UsageError, match="appearance energy needs the source's features"):
        energy_of(maps, [replace(aim, features=None)], only("appearance"), features=now)
    with pytest.raises(UsageError, match="appearance energy needs the current features"):
        energy_of(maps, [aim], only("appearance"))


def test_maps_and_aims_that_do_not_fit_are_refused() -> None:
    maps = random_maps(2)
    with pytest.raises(UsageError, match=r"\(1, 2, 3, 8, 8\), not \(1, 1, f, h, w\)"):
        energy_of(maps, [Aim(LEFT)], Weights())
    with pytest.raises(UsageError, match=r"boxes are \(2, 4\), and the maps of layer fine have 3 frames"):
        energy_of(maps, [Aim(LEFT[:2]), Aim(RIGHT)], Weights())
    for wrong in ({}, maps):
        with pytest.raises(UsageError, match="give one or more"):
            energy_of(wrong, [], Weights())


def test_weights_are_read_over_the_defaults() -> None:
    assert parse_weights([]) == Weights() and Weights().box == 1
    assert parse_weights(["centroid=0.5", " size = 1e-1 "]) == Weights(centroid=0.5, size=0.1)
    assert parse_weights(["box=0", "topk=2"]) == Weights(box=0, topk=2)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["centriod=1"], 'no energy "centriod" in "centriod=1": did you mean centroid\\? the energies are box, .*leak'),
        (["=1"], 'no energy ""'),
        (["centroid"], '"centroid" gives no weight: write NAME=WEIGHT'),
        (["centroid=much"], 'the weight of centroid is "much": a weight is a finite number that is 0 or more'),
        (["centroid="], 'the weight of centroid is ""'),
        (["centroid=1=2"], 'the weight of centroid is "1=2"'),
        (["centroid=nan"], "the weight of centroid is nan: a weight is a finite"),
        (["box=inf"], "the weight of box is inf"),
        (["box=-0.5"], "the weight of box is -0.5: a weight is a finite number that is 0 or more, as in box=0.5"),
        (["box=1", "size=1", "box=2"], "box is given twice, as 1 and as 2"),
    ],
)
def test_what_is_no_weight_is_refused_with_what_would_be(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_weights(texts)


def test_an_unlike_name_gets_no_suggestion_and_weights_of_ones_own_are_checked() -> None:
    with pytest.raises(UsageError, match="the energies are") as refused:
        parse_weights(["zzz=1"])
    assert "did you mean" not in str(refused.value)
    with pytest.raises(UsageError, match="the weight of shape is -1"):
        Weights(shape=-1.0)

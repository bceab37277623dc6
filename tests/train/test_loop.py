"""The training loop: the rate's course, the optimisers, and going on after an interruption as if without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vxedit.train.loop import Average, Muon, StageSettings, optimizers, orthogonal, rate, run_stage


def settings(steps: int = 12, save_every: int = 4) -> StageSettings:
    return StageSettings("stage", steps, lr=0.05, warmup=3, decay=5, ema=0.9, save_every=save_every)


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [rate(step, settings(20)) for step in range(20)]
    assert rates[:4] == pytest.approx([0.05 / 3, 0.1 / 3, 0.05, 0.05])
    assert rates[2:16] == pytest.approx([0.05] * 14)
    assert rates[16:] == pytest.approx([0.04, 0.03, 0.02, 0.01])
    assert rate(20, settings(20)) == 0 == rate(99, settings(20))
    assert rate(0, StageSettings("stage", 4, lr=1.0, warmup=0, decay=0)) == 1.0


def test_orthogonal_updates_have_singular_values_near_one() -> None:
    made = torch.Generator().manual_seed(0)
    for shape in ((24, 40), (40, 24), (32, 32)):
        left, _ = torch.linalg.qr(torch.randn(shape[0], shape[0], generator=made))
        right, _ = torch.linalg.qr(torch.randn(shape[1], shape[1], generator=made))
        spread = torch.zeros(shape)
        rank = min(shape)
        spread[range(rank), range(rank)] = torch.logspace(0, -1.3, rank)
        found = orthogonal(left @ spread @ right)
        assert found.shape == shape and found.dtype == torch.float32
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.5 and values.max() < 1.4
        alignment = torch.trace(left.T @ found @ right.T)  # the directions are kept
        assert float(alignment) > 0.6 * rank


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_muon_steps_are_as_long_whatever_the_gradient(scale: float) -> None:
    """A semi-orthogonal update of rms 1 / sqrt(longer side), times 0.2 sqrt(longer side): 0.2 of the rate."""
    start = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    weight, idle = nn.Parameter(start.clone()), nn.Parameter(torch.ones(16, 16))
    opt = Muon([weight, idle], 0.05)
    (scale * weight.square().sum()).backward()
    opt.step()
    moved = weight.detach() - start
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2 * 0.05, rel=0.25)
    assert float((moved * start).sum()) < 0
    assert torch.equal(idle, torch.ones(16, 16))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 16, 3, padding=1)
        self.inner = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.token_embedding = nn.Embedding(20, 16)
        self.out = nn.Linear(16, 2)
        self.idle = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.inner(self.conv_in(x))) + self.token_embedding.weight.mean()
        return self.out(hidden.mean((2, 3)))


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net()


def test_every_parameter_has_one_optimiser() -> None:
    module = net()
    muon, adam = (
        [id(p) for group in opt.param_groups for p in group["params"]] for opt in optimizers([module], settings())
    )
    assert sorted(muon + adam) == sorted(id(p) for p in module.parameters())
    inner = {id(module.inner.weight), id(module.idle.weight)}
    assert set(muon) == inner  # not the ends, embeddings, norms, biases, or matrices too narrow for it


Loss = Callable[[int], dict[str, Tensor]]


def task(module: Net, seen: list[tuple[int, float]] | None = None, *, fail_at: int | None = None) -> Loss:
    """A loss that depends on the step alone, as the stages' do, and notes what it was asked for."""

    def loss(step: int) -> dict[str, Tensor]:
        if step == fail_at:
            raise KeyboardInterrupt
        made = torch.Generator().manual_seed(step)
        x = torch.randn(4, 3, 8, 8, generator=made)
        error = (module(x) - x[:, :2].mean((2, 3)) - 1).square().mean()
        if seen is not None:
            seen.append((step, float(error.detach())))
        return {"loss": error, "other": error.detach() * 2}

    return loss


def run(module: Net, folder: Path, seen: list[tuple[int, float]], fail_at: int | None = None) -> Average:
    return run_stage(settings(), {"net": module}, task(module, seen, fail_at=fail_at), folder, lambda _: None)


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_training_learns(tmp_path: Path) -> None:
    module, seen = net(), []
    before = weights(module)
    average = run(module, tmp_path, seen)
    assert [step for step, _ in seen] == list(range(12))
    assert seen[-1][1] < 0.5 * seen[0][1]
    assert not torch.equal(weights(average.shadow["net"]), weights(module))
    assert not torch.equal(weights(average.shadow["net"]), before)
    assert not any(p.requires_grad for p in average.shadow["net"].parameters())


@pytest.mark.parametrize("fail_at", [4, 6, 11])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path, fail_at: int) -> None:
    whole, once, twice = net(), [], []
    expected = run(whole, tmp_path / "whole", once)
    with pytest.raises(KeyboardInterrupt):
        run(net(), tmp_path / "cut", twice, fail_at)
    (tmp_path / "cut" / "stage.part").write_bytes(b"what a killed run was writing")
    module, rest = net(seed=1), []
    found = run(module, tmp_path / "cut", rest)
    saved = fail_at // 4 * 4
    assert [step for step, _ in rest] == list(range(saved, 12))
    assert [loss for _, loss in rest] == pytest.approx([loss for _, loss in once[saved:]], rel=1e-5)
    torch.testing.assert_close(weights(module), weights(whole), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights(found.shadow["net"]), weights(expected.shadow["net"]), rtol=0, atol=1e-6)
    assert found.seen == expected.seen == 12


def test_the_rate_of_a_resumed_run_is_that_of_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr("vxedit.train.loop.set_rate", lambda opts, lr: rates.append(lr))
    with pytest.raises(KeyboardInterrupt):
        run(net(), tmp_path, [], 9)
    rates.clear()
    run(net(), tmp_path, [])
    assert rates == [rate(step, settings()) for step in range(8, 12)]


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    module = net()
    first = run(module, tmp_path, [])
    again, seen = net(seed=1), []
    second = run(again, tmp_path, seen)
    assert seen == []
    assert torch.equal(weights(again), weights(module))
    assert torch.equal(weights(second.shadow["net"]), weights(first.shadow["net"]))


def test_the_average_starts_quick_and_then_is_slow() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = Average({"net": module}, 0.9)
    module.weight.data.fill_(1.0)
    average.update()
    assert float(average.shadow["net"].weight.detach()) == pytest.approx(1 - 2 / 11)
    for _ in range(100):
        average.update()
    before = float(average.shadow["net"].weight.detach())
    module.weight.data.fill_(2.0)
    average.update()
    assert float(average.shadow["net"].weight.detach()) == pytest.approx(0.9 * before + 0.2)


def test_the_log_has_a_row_every_fifty_steps(tmp_path: Path) -> None:
    module, rows = net(), []
    run_stage(settings(101), {"net": module}, task(module), tmp_path, rows.append)
    told = [json.loads(row) for row in rows]
    assert [row["step"] for row in told] == [50, 100]
    assert told[0]["stage"] == "stage" and told[0]["other"] == pytest.approx(2 * told[0]["loss"], rel=1e-3)

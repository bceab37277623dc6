"""A job's model: its loading settings, and how it is fitted into memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.backbones.test_wan import write_tiny_wan
from tests.footage import PROMPT, write_footage
from vxedit import model
from vxedit.backbones.memory import choose, device
from vxedit.backbones.memory.device import DeviceMemory
from vxedit.backbones.memory.needs import Way
from vxedit.backbones.memory.offload import Shelf
from vxedit.backbones.memory.plan import LADDER
from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load, outline
from vxedit.errors import InputError, ModelError, UsageError
from vxedit.invert.store import Store
from vxedit.job import InvertSettings, Loading, RealJob
from vxedit.job_json import job_from_json, job_to_json
from vxedit.real import edit_real, plan

BOX = (0.15, 0.3, 0.45, 0.7)


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_wan(tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture
def job(checkpoint: Path, tmp_path: Path) -> RealJob:
    clip = tmp_path / "clip.mp4"
    write_footage(clip)
    invert = InvertSettings(kind="uni", steps=3, guidance_scale=1.0)
    return RealJob(
        clip, tmp_path / "out.mp4", "ball", "by:+0.2,0", PROMPT, BOX, model=str(checkpoint), device="cpu", invert=invert
    )


def on_cuda(free: int) -> Any:
    return lambda *_: DeviceMemory("cuda", free)


def test_what_is_chosen_is_said_before_any_weights_load(job: RealJob) -> None:
    planned = plan(job)
    assert planned.memory is not None
    assert planned.memory.way == Way()
    *_, memory, time = planned.describe()
    assert memory == planned.memory.line()
    assert time.startswith("time: about ")
    assert planned.memory.line().startswith("memory: about ")


def test_what_fits_nowhere_is_refused_with_flags_that_fit(job: RealJob, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = plan(job).memory
    assert needed is not None
    monkeypatch.setattr(choose, "device_memory", lambda _: DeviceMemory("cpu", int(0.5 * needed.peak)))
    with pytest.raises(ModelError, match=r"free: pass --(size|num-frames|dtype)"):
        plan(job)


def test_memory_that_runs_out_ends_in_the_next_way(
    job: RealJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ways: list[Way | None] = []
    plain = model.load

    def noted(*given: Any, **how: Any) -> Any:
        ways.append(how["way"])
        backbone = plain(*given, **how)
        if len(ways) == 1:
            monkeypatch.setattr(backbone, "encode", lambda _: (_ for _ in ()).throw(MemoryError()))
        return backbone

    monkeypatch.setattr(model, "load", noted)
    result = edit_real(job, store=Store(tmp_path / "store"))
    assert result.output.is_file()
    assert ways[0] == Way()
    assert ways[1] != ways[0]
    assert "out of memory; again with another plan" in caplog.text


def test_a_family_whose_estimate_was_not_measured_is_never_refused(wan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = outline(str(wan))
    asked = choose.Asked(Size(9, 32, 48), "fp32", 16)
    monkeypatch.setattr(choose, "device_memory", on_cuda(1))
    made = choose.memory_plan(
        shown.layout, shown.facts, choose.Edit(4, device="cuda"), asked, torch.device("cpu"), choose.Wishes()
    )
    assert made is not None
    assert made.way.offload != "none"
    needs = made.needs(asked)
    assert made.peak == min(needs.peak(way) for way in LADDER) < needs.peak(Way())


def test_a_transformer_s_estimate_grows_with_the_clip(wan: Path) -> None:
    shown = outline(str(wan))

    def needs(frames: int, height: int, width: int) -> Any:
        asked = choose.Asked(Size(frames, height, width), "fp32", 16)
        return choose.transformer_needs(shown.layout, shown.facts, choose.Edit(4, device="cuda"), asked)

    small, wide, long = needs(9, 32, 48), needs(9, 32, 96), needs(21, 32, 48)
    weights = sum(parameter.numel() for parameter in load(str(wan), device="cpu").network.parameters())  # type: ignore[attr-defined]
    assert small.network == 4 * weights
    assert wide.guidance[False].activations == 2 * small.guidance[False].activations
    assert long.forward == 2 * small.forward  # six frames of latents for three


@pytest.mark.parametrize(
    ("loading", "error", "said"),
    [
        (Loading(revision="v1"), UsageError, "--revision v1"),
        (Loading(lora=(Path("none.safetensors"),)), InputError, r"--lora none\.safetensors is no file"),
        (Loading(lora_scale=-1.0), UsageError, "--lora-scale -1"),
    ],
)
def test_loading_that_cannot_be_meant_is_refused(
    job: RealJob, loading: Loading, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan(replace(job, loading=loading))


def test_loading_is_kept_in_the_record(job: RealJob) -> None:
    asked = replace(job, loading=Loading("main", (Path("a.safetensors"),), 0.5, "model"))
    assert job_from_json(job_to_json(asked)) == asked


def test_a_lora_changes_the_model_and_its_identity(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    plain = load(str(checkpoint), device="cpu")
    name = "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    weight = dict(plain.parts["network"].named_modules())[name].weight  # type: ignore[attr-defined]
    down, up = torch.full((1, weight.shape[1]), 0.1), torch.full((weight.shape[0], 1), 0.2)
    file = tmp_path / "one.safetensors"
    save_file({f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}, file)
    tuned = load(str(checkpoint), device="cpu", lora=[file], lora_scale=0.5)
    changed = dict(tuned.parts["network"].named_modules())[name].weight  # type: ignore[attr-defined]
    torch.testing.assert_close(changed, weight + 0.5 * 0.02)
    assert tuned.identity != plain.identity


def test_parts_wait_off_the_device_until_they_are_used(wan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is the processor itself, so that what is computed can be compared; the moves are counted."""
    used: list[str] = []
    monkeypatch.setattr(Shelf, "use", lambda self, name: used.append(name))
    plain = load(str(wan), device="cpu")
    spared = load(str(wan), device="cpu", way=Way(recomputed=True, offload="model"))
    latents = torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain.predict(latents, 500.0, plain.text(PROMPT).embeds)
        found = spared.predict(latents, 500.0, spared.text(PROMPT).embeds)
        spared.text(PROMPT)
        spared.decode(latents, 9)
    assert torch.equal(found, expected)
    assert used == ["text_encoder", "network", "vae"]


def test_weights_that_come_stage_by_stage_give_the_same(wan: Path) -> None:
    plain = load(str(wan), device="cpu")
    spared = load(str(wan), device="cpu", way=Way(recomputed=True, offload="sequential"))
    latents = torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain.predict(latents, 500.0, plain.text(PROMPT).embeds)
        torch.testing.assert_close(spared.predict(latents, 500.0, spared.text(PROMPT).embeds), expected)


def test_only_the_last_prompts_are_kept(checkpoint: Path) -> None:
    backbone: Any = load(str(checkpoint), device="cpu")
    first = backbone.text("a ball")
    assert backbone.text("a ball") is first
    for number in range(8):
        backbone.text(f"a ball {number}")
    assert backbone.text("a ball") is not first


def test_free_memory_is_told(tmp_path: Path) -> None:
    assert device.host_free() > 2**20

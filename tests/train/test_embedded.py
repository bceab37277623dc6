"""Every stage for two steps, from nothing to a folder that loads as any other model does."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from vxedit.backbones.registry import load, outline
from vxedit.backbones.tokens import columns
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import attention_maps
from vxedit.train import embedded, vae
from vxedit.train.embedded import GUIDANCE_SCALE, SHARED_NOISE, Plan, export, take_up, train
from vxedit.train.unet import build_unet

PLAN = Plan(
    vae_steps=2,
    image_steps=2,
    clip_steps=2,
    joint_steps=3,
    clips=2,
    vae_batch=2,
    image_batch=1,
    clip_batch=1,
)
STAGES = ("vae", "encode", "image", "clip", "joint", "export")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after every stage, one call of `train` each, as a run in pieces is."""
    work: Path = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(vae, "Crops", functools.partial(vae.Crops, clips=1, photos=2))
        for stage in STAGES:
            train(PLAN, work, work / "model", device=torch.device("cpu"), only=[stage], log=lambda _: None)
    return work


def saved(path: Path) -> Any:
    """Checkpoints nest weights by module; other files hold tensors and numbers by name."""
    return torch.load(path, weights_only=True, map_location="cpu")


def test_every_stage_leaves_its_checkpoint_and_result(work: Path) -> None:
    for name, steps in (("vae", 2), ("image", 2), ("clip", 2), ("joint", 3)):
        assert saved(work / f"{name}.pt")["step"] == steps
    for name in ("vae-final.pt", "latents.pt", "image-final.pt", "clip-final.pt", "joint-final.pt"):
        assert (work / name).stat().st_size > 0
    assert not list(work.glob("*.part"))


def test_latents_have_the_shape_and_spread_that_the_network_is_trained_at(work: Path) -> None:
    found = saved(work / "latents.pt")
    assert found["latents"].shape == (2, 16, 32, 16, 16) and found["latents"].dtype == torch.float16
    scaled = found["latents"][::7].float() * found["scale"]
    assert float(scaled.square().mean()) == pytest.approx(1, rel=1e-3)


def test_temporal_layers_are_trained_on_clips_alone(work: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        start = build_unet().state_dict()
    image, clip = (saved(work / f"{stage}-final.pt")["unet"] for stage in ("image", "clip"))
    over_time = [name for name in start if "temp_" in name or "transformer_in" in name]
    assert len(over_time) > 20
    assert all(torch.equal(image[name], start[name]) for name in over_time)
    assert any(not torch.equal(clip[name], image[name]) for name in over_time)
    assert any(not torch.equal(image[name], start[name]) for name in start)


def test_the_joint_stage_goes_on_from_the_clips_and_trains_all(work: Path) -> None:
    before, after = (saved(work / f"{stage}-final.pt")["unet"] for stage in ("clip", "joint"))
    for part in ("temp_", "attentions"):
        moved = [float((after[name] - before[name]).abs().max()) for name in before if part in name]
        assert max(moved) > 0
    apart = [float((after[name] - before[name]).abs().mean()) for name in before]
    assert max(apart) < 0.05  # three steps, not another beginning


def loaded_from(folder: str) -> UNet3D:
    return cast(UNet3D, load(folder, device="cpu"))


def test_the_folder_loads_and_runs(work: Path) -> None:
    folder = str(work / "model")
    assert outline(folder).native == (16, 128, 128)
    model = loaded_from(folder)
    assert model.native == (16, 128, 128) and model.parameterization == "epsilon"
    assert model.guidance_scale == GUIDANCE_SCALE
    assert model.shared_noise == SHARED_NOISE > 0  # frames were trained with a part of their noise in common
    assert all(p.dtype == torch.float32 for p in model._modules.unet.parameters())
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    latents = model.encode(frames)
    assert latents.shape == (1, 32, 2, 8, 8)
    assert model.decode(latents, 2).shape == frames.shape
    prompt = "a burger over a wooden table"
    embeds = model.text(prompt).embeds
    with torch.no_grad():
        assert model.predict(latents, 500, embeds).shape == latents.shape
        maps = attention_maps(model, latents, 500, embeds, columns(model.tokens(prompt), prompt, "burger"))
    assert maps and all(m.shape[:2] == (1, 2) for m in maps.values())


def test_what_is_loaded_is_what_was_trained(work: Path) -> None:
    model = loaded_from(str(work / "model"))
    loaded = model._modules.unet.state_dict()
    assert is_of(loaded, work, "joint") and not is_of(loaded, work, "clip")
    scale = saved(work / "latents.pt")["scale"]
    assert model._modules.vae.config.scaling_factor == pytest.approx(float(scale))


def is_of(loaded: dict[str, torch.Tensor], work: Path, stage: str) -> bool:
    """Whether weights are those that a stage ended with, in half precision."""
    trained = saved(work / f"{stage}-final.pt")["unet"]
    return all(torch.equal(loaded[name], trained[name].half().float()) for name in ("conv_in.weight", "conv_out.bias"))


def test_without_the_joint_stage_the_clip_s_is_written(work: Path, tmp_path: Path) -> None:
    for name in ("vae-final.pt", "latents.pt", "image-final.pt", "clip-final.pt"):
        (tmp_path / name).symlink_to(work / name)
    export(tmp_path, tmp_path / "model")
    loaded = loaded_from(str(tmp_path / "model"))._modules.unet.state_dict()
    assert is_of(loaded, work, "clip") and not is_of(loaded, work, "image")


def test_a_finished_model_is_trained_on_from_its_own_weights(work: Path, tmp_path: Path) -> None:
    take_up(work / "model", tmp_path)
    train(PLAN, tmp_path, None, device=torch.device("cpu"), only=["encode"], log=lambda _: None)
    assert saved(tmp_path / "latents.pt")["scale"] == pytest.approx(float(saved(work / "latents.pt")["scale"]))
    export(tmp_path, tmp_path / "model")
    for part, file in (
        ("unet", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("vae", "diffusion_pytorch_model"),
    ):
        name = f"{part}/{file}.safetensors"
        assert (tmp_path / "model" / name).read_bytes() == (work / "model" / name).read_bytes()


def test_taking_up_a_model_leaves_what_was_trained_already(work: Path, tmp_path: Path) -> None:
    (tmp_path / "clip-final.pt").write_bytes(b"trained")
    take_up(work / "model", tmp_path)
    assert (tmp_path / "clip-final.pt").read_bytes() == b"trained" and (tmp_path / "vae-final.pt").exists()


def test_the_package_is_where_it_goes_without_a_folder() -> None:
    from vxedit.backbones import registry

    assert embedded.PACKAGE.resolve() == Path(registry.EMBEDDED).resolve()

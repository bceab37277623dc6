"""The embedded model, from nothing to a folder in diffusers' layout: autoencoder, single frames, clips, both in turn,
export."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vxedit.train.data import Labels
from vxedit.train.excerpts import Batch, LatentClips
from vxedit.train.loop import StageSettings
from vxedit.train.tokenizer import write_tokenizer
from vxedit.train.unet import BETAS, build_text_encoder, build_unet, encode_clips, train_unet
from vxedit.train.vae import build_vae, train_vae

STEERING = ["up_blocks.0", "up_blocks.1.attentions.0"]
"""The text attentions of middle and full resolution on the way up, without the last, as in the larger models."""

SHARED_NOISE = 0.85
"""Of 0, 0.5, 0.75, 0.85 and 0.95 the one whose clips hang together best with objects still moving, by eye."""

GUIDANCE_SCALE = 3.5
"""Of 2, 2.5, 3 and 3.5 the one at which a detector finds the object in most frames of 16 generated clips."""

STEPS, ETA = 40, 1.0
"""Of 20 and 40 steps, without fresh noise and with DDPM's, the pair at which a detector finds the object in most frames
of those clips and of 16 more."""

PACKAGE = Path(__file__).resolve().parent.parent / "backbones" / "embedded"


@dataclass(frozen=True)
class Plan:
    """How long each stage trains and how much it sees a step."""

    vae_steps: int = 3500
    image_steps: int = 1100
    clip_steps: int = 600
    joint_steps: int = 7500
    clips: int = 5400
    first_clip: int = 0
    vae_batch: int = 16
    image_batch: int = 64
    clip_batch: int = 4


def train(
    plan: Plan, work: Path, out: Path | None, *, device: torch.device, only: Sequence[str], log: Callable[[str], None]
) -> None:
    """Run the stages named in `only`, each from its last checkpoint in `work`; `out` None writes into the package."""
    if "vae" in only:
        settings = StageSettings("vae", plan.vae_steps, lr=1.5e-3, decay=plan.vae_steps // 2)
        vae = train_vae(settings, work, log, device=device, batch=plan.vae_batch)
        torch.save(vae.state_dict(), work / "vae-final.pt")
    if "encode" in only:
        torch.save(_encode(plan, work, device, log), work / "latents.pt")
    if {"image", "clip", "joint"} & set(only):
        _train_unet(plan, work, device, only, log)
    if "export" in only:
        export(work, out or PACKAGE)
        log(f"wrote {out or PACKAGE}")


def _final_vae(work: Path) -> Any:
    vae = build_vae()
    vae.load_state_dict(torch.load(work / "vae-final.pt", weights_only=True, map_location="cpu"))
    return vae.eval().requires_grad_(False)


def _encode(plan: Plan, work: Path, device: torch.device, log: Callable[[str], None]) -> dict[str, Any]:
    vae = _final_vae(work).to(device, memory_format=torch.channels_last)
    data = encode_clips(vae, range(plan.first_clip, plan.first_clip + plan.clips), log)
    known = {
        "captions": [one.caption for one in data.labels],
        "names": [list(one.names) for one in data.labels],
        "coverage": [torch.from_numpy(one.coverage) for one in data.labels],
    }
    return {"latents": data.latents, "scale": _scale(work, data.latents), **known}


def _scale(work: Path, latents: Tensor) -> float:
    """What brings latents to unit spread; that of the model that was taken up, where one was."""
    if (work / "scale.json").exists():
        return float(json.loads((work / "scale.json").read_text()))
    return float(latents[::7].float().square().mean().rsqrt())


def _load_data(work: Path) -> tuple[LatentClips, float]:
    saved = torch.load(work / "latents.pt", weights_only=True, mmap=True)
    known = zip(saved["captions"], saved["names"], saved["coverage"], strict=True)
    labels = tuple(Labels(caption, tuple(names), coverage.numpy()) for caption, names, coverage in known)
    return LatentClips(saved["latents"], labels), saved["scale"]


def take_up(model: Path, work: Path) -> None:
    """Put a finished model's weights into `work` where the stages before the last would have left theirs, so that the
    last can train it on where checkpoints are gone. What `work` has already stays."""
    from safetensors.torch import load_file

    work.mkdir(parents=True, exist_ok=True)
    parts = {"unet": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model"}
    found = {
        name: {key: value.float() for key, value in load_file(model / name / f"{file}.safetensors").items()}
        for name, file in parts.items()
    }
    vae = found.pop("vae")
    for name, state in (("vae", vae), ("clip", found)):
        if not (work / f"{name}-final.pt").exists():
            torch.save(state, work / f"{name}-final.pt")
    config = json.loads((model / "vae" / "config.json").read_text())
    (work / "scale.json").write_text(json.dumps(config["scaling_factor"]))


def _train_unet(plan: Plan, work: Path, device: torch.device, only: Sequence[str], log: Callable[[str], None]) -> None:
    from transformers import CLIPTokenizer

    vocabulary = write_tokenizer(work / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    torch.manual_seed(1)
    unet, text = build_unet().to(device), build_text_encoder(vocabulary).to(device)
    data, scale = _load_data(work)
    modules = {"unet": unet, "text_encoder": text}

    def stage(settings: StageSettings, after: str | None, batches: Sequence[Batch], structure: bool = False) -> None:
        if after:
            start = torch.load(work / f"{after}-final.pt", weights_only=True, map_location=device)
            for name, module in modules.items():
                module.load_state_dict(start[name])
        done = train_unet(
            settings, unet, text, tokenizer, data, work, log,
            batches=batches, scale=scale, device=device, structure=structure,
        )  # fmt: skip
        torch.save({name: module.state_dict() for name, module in done.items()}, work / f"{settings.name}-final.pt")

    frames, clips, short_clips = Batch(1, plan.image_batch), Batch(16, plan.clip_batch), Batch(8, plan.clip_batch * 2)
    if "image" in only:
        stage(StageSettings("image", plan.image_steps, lr=1e-3, decay=plan.image_steps // 3), None, [frames])
    short: dict[str, Any] = {"lr": 7e-4, "ema": 0.998, "save_every": 200}
    if "clip" in only:
        stage(StageSettings("clip", plan.clip_steps, decay=plan.clip_steps // 2, **short), "image", [clips])
    if "joint" in only:
        joint = StageSettings("joint", plan.joint_steps, decay=plan.joint_steps, **short)
        stage(joint, "clip", [frames, frames, clips, frames, frames, short_clips], structure=True)


def export(work: Path, out: Path) -> None:
    """Write the model as diffusers and transformers read it: float16 safetensors, configs, tokenizer, scheduler."""
    from diffusers import DDIMScheduler

    scale = torch.load(work / "latents.pt", weights_only=True, mmap=True)["scale"]
    vocabulary = write_tokenizer(out / "tokenizer")
    unet, text, vae = build_unet(), build_text_encoder(vocabulary), _final_vae(work)
    last = next(path for stage in ("joint", "clip", "image") if (path := work / f"{stage}-final.pt").exists())
    state = torch.load(last, weights_only=True, map_location="cpu")
    unet.load_state_dict(state["unet"])
    text.load_state_dict(state["text_encoder"])
    vae.register_to_config(scaling_factor=scale)
    for name, module in {"unet": unet, "vae": vae, "text_encoder": text}.items():
        module.half().save_pretrained(out / name, safe_serialization=True)
    DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1).save_pretrained(out / "scheduler")
    index = {
        "_class_name": "TextToVideoSDPipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet3DConditionModel"],
        "vae": ["diffusers", "AutoencoderDC"],
        "vxedit": {
            "frames": 16,
            "height": 128,
            "width": 128,
            "max_frames": 48,
            "steering_layers": STEERING,
            "shared_noise": SHARED_NOISE,
            "guidance_scale": GUIDANCE_SCALE,
            "steps": STEPS,
            "eta": ETA,
            "steady": True,
        },
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")

"""Memory's estimates against what torch really keeps, and the plan that is made of them."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny import DC_VAE, UNET, VAE, write_tiny_checkpoint
from vxedit.backbones.autoencoder import PIXELS_AT_ONCE
from vxedit.backbones.memory.autoencoder import autoencoder_bytes, pixels_at_once
from vxedit.backbones.memory.device import DeviceMemory, device_memory, host_free
from vxedit.backbones.memory.needs import Needs, Pass, Way
from vxedit.backbones.memory.offload import Shelf
from vxedit.backbones.memory.parts import parameters_in
from vxedit.backbones.memory.plan import Asked, MemoryPlan, Wishes, plan_memory
from vxedit.backbones.memory.retry import out_of_memory, with_next_step
from vxedit.backbones.memory.text import text_encoder_bytes
from vxedit.backbones.memory.transformer import TransformerMemory
from vxedit.backbones.memory.unet3d import UNetMemory
from vxedit.backbones.memory.unet3d_needs import CHUNK_PIXELS, Edit, unet3d_needs
from vxedit.backbones.memory.unet3d_stages import Grid, Network, flops, stages, weights
from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import capture_words
from vxedit.errors import ModelError

GIB = 2**30


class Live(TorchDispatchMode):
    """The most bytes that tensors made meanwhile had together: `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._older: dict[int, StorageWeakRef] = {}
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in filter(torch.is_tensor, tree_leaves((args, kwargs or {}))):
            ref = StorageWeakRef(tensor.untyped_storage())
            if ref.cdata not in self._made:
                self._older.setdefault(ref.cdata, ref)
        out = func(*args, **(kwargs or {}))
        self._made = {key: entry for key, entry in self._made.items() if not entry[0].expired()}
        for tensor in filter(torch.is_tensor, tree_leaves(out)):
            ref = StorageWeakRef(tensor.untyped_storage())
            older = self._older.get(ref.cdata)
            if older is None or older.expired():
                self._older.pop(ref.cdata, None)
                self._made[ref.cdata] = (ref, tensor.untyped_storage().nbytes())
        self.peak = max(self.peak, sum(count for _, count in self._made.values()))
        return out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> UNet3D:
    return cast(UNet3D, load(str(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))), device="cpu"))


def memory_of(backbone: UNet3D, frames: int, height: int, width: int) -> UNetMemory:
    return UNetMemory.of(dict(backbone._modules.unet.config), Grid(frames, height, width), number=4)


def on_meta(**config: Any) -> Any:
    from diffusers import UNet3DConditionModel

    with torch.device("meta"):
        return UNet3DConditionModel(**config)


@pytest.mark.parametrize("config", [{}, UNET, {**UNET, "layers_per_block": 2, "block_out_channels": (16, 24, 40)}])
def test_weights_are_counted_as_diffusers_makes_them(config: dict[str, Any]) -> None:
    if len(config.get("block_out_channels", ())) == 3:
        down, up = ("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"), ("CrossAttnUpBlock3D",) * 2
        config = {**config, "down_block_types": down, "up_block_types": ("UpBlock3D", *up)}
    network = Network.of(config)
    counted = sum(weights(network, stage) for stage in stages(network))
    assert counted == sum(weight.numel() for weight in on_meta(**config).parameters())


def test_stages_are_the_network_s_own_modules() -> None:
    network = Network.of(UNET)
    unet = on_meta(**UNET)
    for stage in stages(network):
        own = sum(weight.numel() for weight in unet.get_submodule(stage.name).parameters())
        norm = sum(weight.numel() for weight in unet.conv_norm_out.parameters()) if stage.kind == "conv_out" else 0
        assert weights(network, stage) == own + norm, stage.name


def test_operations_are_those_of_torch_s_counter() -> None:
    unet, grid = on_meta(**UNET), Grid(3, 8, 16)
    latents, text = torch.empty(1, 4, *grid, device="meta"), torch.empty(1, 77, 32, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(latents, 1, encoder_hidden_states=text)
    assert flops(Network.of(UNET), grid, 77) == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert flops(Network.of({}), Grid(16, 32, 32), 77) == pytest.approx(4.9e12, rel=0.01)
    assert flops(Network.of({}), Grid(24, 40, 72), 77) == pytest.approx(21.4e12, rel=0.01)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("grid", [(4, 16, 16), (2, 16, 32)])
def test_guidance_needs_what_it_is_said_to(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch, grid: tuple[int, int, int], recomputed: bool
) -> None:
    monkeypatch.setattr(tiny, "checkpoint_activations", recomputed)
    latents, embeds = torch.randn(1, 4, *grid, requires_grad=True), torch.randn(1, 77, 32)
    memory = memory_of(tiny, *grid)
    for count in (1, len(tiny.layers())):  # the pass ends at the first text attention, at the last
        names = [layer.name for layer in tiny.layers()[:count]]
        with Live() as live, capture_words(tiny, [[3]], layers=names, stop=True) as seen:
            tiny.predict(latents, 500, embeds)
        with live:
            torch.autograd.grad([m.square().sum() for m in seen.maps.values()], latents)
        del seen
        assert memory.guidance(memory.captured(names), recomputed=recomputed) == pytest.approx(live.peak, rel=0.04)


@pytest.mark.parametrize("recomputed", [False, True])
def test_null_text_and_a_plain_pass_need_what_they_are_said_to(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch, recomputed: bool
) -> None:
    monkeypatch.setattr(tiny, "checkpoint_activations", recomputed)
    latents, embeds = torch.randn(1, 4, 4, 16, 16), torch.randn(1, 77, 32, requires_grad=True)
    memory = memory_of(tiny, 4, 16, 16)
    with Live() as plain, torch.no_grad():
        tiny.predict(latents, 500, embeds)
    assert memory.forward() == pytest.approx(plain.peak, rel=0.04)
    with Live() as live:
        guess = tiny.predict(latents, 500, embeds)
        with torch.no_grad():  # the next step's pass, with the graph still there
            tiny.predict(latents, 500, embeds)
        torch.autograd.grad(guess.sum(), embeds)
    assert memory.null_text(recomputed=recomputed) == pytest.approx(live.peak, rel=0.04)


def test_activations_grow_with_frames_and_with_pixels() -> None:
    def needed(frames: int, width: int) -> list[int]:
        memory = UNetMemory.of({}, Grid(frames, 32, width), number=2)
        steering = memory.captured(["up_blocks.1", "up_blocks.2.attentions.0"])
        return [memory.guidance(steering, recomputed=again) for again in (False, True)] + [memory.forward()]

    one, two, four = (needed(frames, 32) for frames in (8, 16, 32))
    assert two == [2 * value for value in one] and four == [4 * value for value in one]
    one, two, four = (needed(8, width) for width in (32, 64, 128))
    assert [d - c for c, d in zip(two, four, strict=True)] == [2 * (c - b) for b, c in zip(one, two, strict=True)]
    assert all(1.9 * b < c <= 2 * b for b, c in zip(one, two, strict=True))  # what the text takes doesn't grow


def test_a_narrow_network_needs_less_and_recomputing_too() -> None:
    wide, narrow = (UNetMemory.of({}, Grid(16, 32, 32), number=number) for number in (4, 2))
    steering = narrow.captured(["up_blocks.1"])
    assert narrow.weight_bytes() == 2 * 1_411_233_860
    assert wide.weight_bytes() == 2 * narrow.weight_bytes() and wide.forward() == 2 * narrow.forward()
    assert narrow.guidance(steering, recomputed=True) < 0.5 * narrow.guidance(steering)
    assert narrow.guidance(narrow.captured(["down_blocks"])) < narrow.guidance(steering) < narrow.null_text()


def test_a_gradient_holds_on_to_the_weights_of_what_is_not_run_again(tiny: UNet3D) -> None:
    memory = memory_of(tiny, 2, 8, 8)
    unet = tiny._modules.unet
    assert memory.bound(()) == memory.weight_bytes() == 4 * sum(w.numel() for w in unet.parameters())
    kept = [unet.conv_in, unet.time_embedding, *(b.attentions for b in unet.down_blocks if hasattr(b, "attentions"))]
    first = [stage.name for stage in stages(memory.network) if stage.kind == "attention"][:1]
    assert memory.bound(first, recomputed=True) == 4 * sum(w.numel() for module in kept for w in module.parameters())


def test_steering_layers_are_found_by_their_beginnings() -> None:
    memory = UNetMemory.of({}, Grid(1, 8, 8), number=4)
    assert memory.captured(["up_blocks.1", "up_blocks.2.attentions.0"]) == (
        *(f"up_blocks.1.attentions.{i}" for i in range(3)),
        "up_blocks.2.attentions.0",
    )
    assert memory.captured(["mid_block.attentions.0.transformer_blocks.0.attn2"]) == ("mid_block.attentions.0",)
    assert len(memory.captured(["nothing"])) == 16


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderDC"])
@pytest.mark.parametrize("widths", [(8, 8, 16, 16), (8, 16, 16, 16)])
def test_an_autoencoder_needs_what_it_is_said_to(kind: str, widths: tuple[int, ...]) -> None:
    import diffusers

    config = dict(VAE, block_out_channels=widths, layers_per_block=2)
    if kind == "AutoencoderDC":
        config = dict(DC_VAE, encoder_block_out_channels=widths, decoder_block_out_channels=widths)
        config.update(encoder_layers_per_block=(2,) * 4, decoder_layers_per_block=(2,) * 4)
    vae = getattr(diffusers, kind)(**config).eval()
    frames = torch.randn(3, 3, 64, 64)
    with torch.no_grad(), Live() as encoding:
        coded = vae.encode(frames)
    latents = coded.latent_dist.mean if hasattr(coded, "latent_dist") else coded.latent
    with torch.no_grad(), Live() as decoding:
        vae.decode(latents)
    said = autoencoder_bytes(config, frames[:, 0].numel())
    assert said == pytest.approx(max(encoding.peak, decoding.peak), rel=0.12)


def test_an_autoencoder_sees_a_chunk_a_frame_or_a_tile() -> None:
    size, config = Size(24, 320, 576), {"sample_size": 256}
    assert pixels_at_once(config, size, "chunks", chunk=2**20) == 5 * 320 * 576
    assert pixels_at_once(config, size, "frames", chunk=2**20) == 320 * 576
    assert pixels_at_once(config, size, "tiles", chunk=2**20) == 256 * 256
    assert pixels_at_once(config, Size(2, 128, 128), "chunks", chunk=2**20) == 2 * 128 * 128
    assert autoencoder_bytes(VAE, 2000) == 2 * autoencoder_bytes(VAE, 1000)
    assert CHUNK_PIXELS == PIXELS_AT_ONCE


def test_a_text_encoder_needs_what_it_is_said_to(tiny: UNet3D) -> None:
    encoder = tiny._modules.text_encoder
    with torch.no_grad(), Live() as live:
        encoder(torch.zeros(1, 77, dtype=torch.long))
    assert text_encoder_bytes(encoder.config.to_dict(), 77) == pytest.approx(live.peak, rel=0.05)


def test_t5_s_scores_are_counted() -> None:
    config = {"d_model": 8, "d_ff": 16, "num_heads": 2, "d_kv": 4, "feed_forward_proj": "gated-gelu"}
    assert text_encoder_bytes(config, 10, number=2) == 2 * 10 * (6 * 8 + 3 * 16 + 2 * 2 * 10)


def test_weights_are_read_from_a_file_s_header_alone(tmp_path: Path) -> None:
    root = write_tiny_checkpoint(tmp_path / "model", variant="fp16")
    file = root / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    network = Network.of(UNET)
    assert parameters_in(file) == sum(weights(network, stage) for stage in stages(network))
    short = tmp_path / "short.safetensors"
    short.write_bytes(file.read_bytes()[: 8 + int.from_bytes(file.read_bytes()[:8], "little")])
    assert parameters_in(short) == parameters_in(file)
    for broken in (b"", b"\xff" * 64, (4).to_bytes(8, "little") + b"none", (2).to_bytes(8, "little") + b"[]"):
        short.write_bytes(broken)
        with pytest.raises(ModelError, match="can't be read as safetensors"):
            parameters_in(short)


def test_an_edit_s_needs_are_its_parts(tmp_path: Path) -> None:
    root = write_tiny_checkpoint(tmp_path / "model")
    parts = ("unet", "vae", "text_encoder")
    configs = {part: json.loads((root / part / "config.json").read_text()) for part in parts}
    edit, asked = Edit(steps=10, device="cuda"), Asked(Size(4, 128, 128), "bf16")
    needs = unet3d_needs(configs, {"vae": 1000, "text_encoder": 500}, ["up_blocks"], edit, asked)
    memory = UNetMemory.of(UNET, Grid(4, 16, 16), number=2)
    assert (needs.network, needs.autoencoder, needs.text_encoder) == (memory.weight_bytes(), 4000, 2000)
    assert needs.guidance[True].activations == memory.guidance(memory.captured(["up_blocks"]), recomputed=True)
    assert needs.null_text[False].activations == memory.null_text()
    assert needs.kept == 2 * 4 * (11 * 4 * 4 * 16 * 16 + 10 * 77 * 32)
    assert needs.scratch == 0 < unet3d_needs(configs, {"vae": 0, "text_encoder": 0}, [], Edit(10), asked).scratch
    plain = unet3d_needs(
        configs,
        {"vae": 0, "text_encoder": 0},
        [],
        Edit(10, null_text=False, guided=False),
        replace(asked, dtype="fp32"),
    )
    assert set(plain.phases(Way())) == {"text", "autoencoder", "forward"}
    assert plain.network == 2 * needs.network


def transformer_peak(
    family: str, depth: int, dtype: torch.dtype, *, recomputed: bool = False, gradient: bool = True
) -> int:
    """Of a pass over 512 tokens of 64 numbers and its gradient."""
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "Wan":
            network = diffusers.WanTransformer3DModel(
                num_attention_heads=4,
                attention_head_dim=16,
                in_channels=4,
                out_channels=4,
                text_dim=16,
                freq_dim=16,
                ffn_dim=320,
                num_layers=depth,
                cross_attn_norm=True,
                rope_max_seq_len=64,
            )
            given: dict[str, Any] = {"timestep": torch.tensor([5])}
            latents = torch.randn(1, 4, 4, 16, 32, requires_grad=True)
        else:
            network = diffusers.LTXVideoTransformer3DModel(
                in_channels=4,
                out_channels=4,
                num_attention_heads=4,
                attention_head_dim=16,
                cross_attention_dim=64,
                caption_channels=16,
                num_layers=depth,
            )
            given = {"timestep": torch.tensor([5]), "encoder_attention_mask": torch.ones(1, 7)}
            given.update(num_frames=4, height=8, width=16)
            latents = torch.randn(1, 512, 4, requires_grad=True)
    network = torch.nn.Module.to(network, dtype).eval().requires_grad_(False)
    if recomputed:
        network.enable_gradient_checkpointing()
    text = torch.randn(1, 7, 16, dtype=dtype)
    with Live() as live, torch.set_grad_enabled(gradient):
        output = network(latents.to(dtype), encoder_hidden_states=text, return_dict=False, **given)[0]
        if gradient:
            torch.autograd.grad(output.float().square().sum(), latents)
    return live.peak


@pytest.mark.parametrize(("family", "feed_forward"), [("Wan", 320), ("LTX", 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_transformer_s_blocks_keep_what_they_are_said_to(family: str, feed_forward: int, dtype: torch.dtype) -> None:
    memory = TransformerMemory(4, 64, 4, feed_forward, tokens=512, text=7, number=dtype.itemsize)
    two, four = (transformer_peak(family, depth, dtype) for depth in (2, 4))
    assert memory.block() == pytest.approx((four - two) / 2, rel=0.08)
    assert memory.guidance(0, blocks=4) == pytest.approx(four, rel=0.12)
    assert memory.forward() == pytest.approx(transformer_peak(family, 2, dtype, gradient=False), rel=0.25)


def test_a_transformer_s_recomputed_blocks_keep_their_input() -> None:
    memory = TransformerMemory(4, 64, 4, 320, tokens=512, text=7, number=4)
    two, four = (transformer_peak("Wan", depth, torch.float32, recomputed=True) for depth in (2, 4))
    said = memory.guidance(0, blocks=4, recomputed=True) - memory.guidance(0, blocks=2, recomputed=True)
    assert said == pytest.approx(four - two, rel=0.05)
    assert memory.guidance(0, blocks=4, recomputed=True) == pytest.approx(four, rel=0.2)


def test_a_transformer_grows_with_its_tokens_and_with_what_is_captured() -> None:
    short = TransformerMemory(30, 1536, 12, 8960, tokens=1000, text=512, number=2)
    long = replace(short, tokens=3000)
    for ask in (lambda m: m.forward(), lambda m: m.guidance(3, blocks=15), lambda m: m.block()):
        assert ask(long) == 3 * ask(short)
    assert short.guidance(3, blocks=15) - short.guidance(2, blocks=15) == short.captured()
    assert short.guidance(1, blocks=16) - short.guidance(1, blocks=15) == short.block()


NEEDS = Needs(
    network=4000,
    autoencoder=300,
    text_encoder=1500,
    stage=100,
    text=10,
    forward=500,
    decode={"chunks": 5000, "frames": 800, "tiles": 200},
    guidance={False: Pass(6000, 3000), True: Pass(2000, 700)},
    kept=50,
    scratch=20,
)
"""Made up. The peak is guidance's 11870 at first, then 10870 (autoencoder) and 7870 with recomputed activations, 6070
with parts moved in, 2870 with stages moved in."""


@pytest.mark.parametrize(
    ("free", "peak", "way"),
    [
        (11870, 11870, Way()),
        (11869, 10870, Way(recomputed=True)),
        (10869, 7870, Way(recomputed=True, vae="frames")),
        (7869, 6070, Way(recomputed=True, offload="model")),
        (6069, 5370, Way(recomputed=True, offload="sequential")),
        (5369, 2870, Way(recomputed=True, vae="frames", offload="sequential")),
    ],
)
def test_each_step_of_the_ladder_is_taken_when_the_one_before_does_not_fit(free: int, peak: int, way: Way) -> None:
    plan = plan_memory(Asked(Size(16, 256, 256), "fp32"), lambda _: NEEDS, DeviceMemory("cuda", free))
    assert plan.way == way
    assert plan.peak == peak


ASKED = Asked(Size(16, 256, 256), "fp32", multiple=64)


def proportional(asked: Asked) -> Needs:
    """Activations grow with the clip, weights and all else shrink with a narrow format."""
    share = asked.size.frames * asked.size.height * asked.size.width / (16 * 256 * 256)
    narrow = 1 if asked.dtype == "fp32" else 2
    return replace(
        NEEDS,
        network=NEEDS.network // narrow,
        decode={way: int(count * share) for way, count in NEEDS.decode.items()},
        forward=int(NEEDS.forward * share / narrow),
        guidance={
            again: Pass(int(one.activations * share / narrow), one.weights // narrow)
            for again, one in NEEDS.guidance.items()
        },
    )


def plan_for(free: int, *, kind: str = "cuda", needs: Needs = NEEDS, **wishes: Any) -> MemoryPlan:
    return plan_memory(ASKED, lambda _: needs, DeviceMemory(kind, free), Wishes(**wishes))


def test_tiles_come_before_moving_weights() -> None:
    needs = replace(NEEDS, decode={"chunks": 50000, "frames": 9000, "tiles": 200})
    assert plan_for(8000, needs=needs).way == Way(recomputed=True, vae="tiles")


def test_what_does_not_help_is_not_done() -> None:
    needs = replace(NEEDS, guidance={False: Pass(600), True: Pass(200)})
    assert plan_for(7000, needs=needs).way == Way(vae="frames")


def test_wishes_are_kept() -> None:
    assert plan_for(99999, offload="model").way == Way(offload="model")
    assert plan_for(99999, recomputed=True, vae="frames").way == Way(recomputed=True, vae="frames")
    assert plan_for(11000, offload="none").way == Way(recomputed=True)
    assert plan_for(7000, offload="sequential", recomputed=True).way == Way(recomputed=True, offload="sequential")
    with pytest.raises(ModelError, match="pass --offload sequential"):
        plan_for(7000, offload="none")


def test_weights_can_not_be_kept_outside_the_only_memory_there_is() -> None:
    assert plan_for(7870, kind="cpu").way == Way(recomputed=True, vae="frames")
    asked_for = plan_for(99999, kind="cpu", offload="sequential")
    assert asked_for.way == Way() and "--offload does nothing on cpu" in asked_for.line()
    with pytest.raises(ModelError) as raised:
        plan_for(7000, kind="mps")
    assert "--offload" not in str(raised.value)


def test_what_is_said_to_fit_does() -> None:
    memory = DeviceMemory("cpu", 5700)
    with pytest.raises(ModelError, match="16 frames of 256x256 in fp32 need about") as raised:
        plan_memory(ASKED, proportional, memory)
    flags = str(raised.value).split("pass ")[1].split(" or ")
    assert flags == ["--dtype bf16"]  # weights alone are too many for any size in fp32
    memory = DeviceMemory("cpu", 7000)
    with pytest.raises(ModelError) as raised:
        plan_memory(ASKED, proportional, memory)
    flags = str(raised.value).split("pass ")[1].split(" or ")
    assert flags == ["--dtype bf16", "--size 192x192", "--num-frames 9"]
    for size in (Size(16, 192, 192), Size(9, 256, 256)):
        plan_memory(replace(ASKED, size=size), proportional, memory)
    with pytest.raises(ModelError):
        plan_memory(replace(ASKED, size=Size(10, 256, 256)), proportional, memory)
    with pytest.raises(ModelError, match="another --model or --device"):
        plan_memory(ASKED, proportional, DeviceMemory("cpu", 100))


def test_flags_are_joined_where_one_alone_does_not_fit() -> None:
    with pytest.raises(ModelError, match=r"pass --dtype bf16 --size 192x192 or --dtype bf16 --num-frames \d+$"):
        plan_memory(ASKED, proportional, DeviceMemory("cpu", 4650))


def test_leaving_null_text_out_is_said_to_help_where_it_does() -> None:
    needs = replace(NEEDS, null_text={False: Pass(20000), True: Pass(9000)})
    with pytest.raises(ModelError, match=r"pass --inversion uni$"):
        plan_memory(
            ASKED, lambda asked: replace(proportional(asked), null_text=needs.null_text), DeviceMemory("cpu", 9000)
        )
    with pytest.raises(ModelError) as raised:
        plan_for(5000, kind="cpu", needs=needs)
    assert "--inversion" not in str(raised.value)


def test_the_plan_is_said_in_one_line() -> None:
    needs = replace(NEEDS, network=4 * GIB, guidance={False: Pass(6 * GIB), True: Pass(GIB)})
    line = plan_for(6 * GIB, needs=needs).line()
    assert line == "memory: about 5.0 GiB of 6.0 GiB free, most in guidance; activations recomputed"
    assert (
        plan_for(20 * GIB, needs=needs).line().endswith("10.0 GiB of 20.0 GiB free, most in guidance; nothing spared")
    )


def test_parts_are_on_the_device_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"network": torch.nn.Linear(1, 1), "vae": torch.nn.Linear(1, 1)}
    moves: list[tuple[str, str]] = []
    for name, part in parts.items():
        monkeypatch.setattr(part, "to", lambda where, name=name: moves.append((name, str(where))))
    shelf = Shelf(parts, torch.device("cuda"))
    assert moves == [("network", "cpu"), ("vae", "cpu")]
    moves.clear()
    shelf.use("vae")
    shelf.use("text")  # is none of its parts, and so where it always is
    shelf.use("network")
    shelf.use("network")
    shelf.clear()
    assert moves == [("vae", "cuda"), ("vae", "cpu"), ("network", "cuda"), ("network", "cpu")]


@pytest.mark.parametrize(
    ("err", "is_memory"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("could not create a primitive: out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory of what was said"), False),
    ],
)
def test_running_out_of_memory_is_known(err: Exception, is_memory: bool) -> None:
    assert out_of_memory(err) is is_memory
    wrapped = ValueError("in the middle")
    wrapped.__cause__ = err
    assert out_of_memory(wrapped) is is_memory


def test_torch_s_own_error_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55, dtype=torch.uint8)
    assert out_of_memory(raised.value)


def test_after_running_out_the_next_plan_is_tried() -> None:
    tried: list[Way] = []
    told: list[str] = []

    def attempt(plan: MemoryPlan) -> str:
        tried.append(plan.way)
        if plan.way.offload == "none":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert with_next_step(plan_for(99999), attempt, tell=told.append) == "done"
    assert tried == [Way(), Way(recomputed=True), Way(recomputed=True, vae="frames"), Way(True, "chunks", "model")]
    assert len(told) == 3 and "parts moved in" in told[-1]


def test_the_end_of_the_ladder_is_a_message_with_flags() -> None:
    def attempt(_: MemoryPlan) -> None:
        raise MemoryError

    plan = plan_memory(ASKED, proportional, DeviceMemory("cpu", 99999))
    with pytest.raises(
        ModelError, match=r"out of memory with 16 frames of 256x256 in fp32.*pass --dtype bf16"
    ) as raised:
        with_next_step(plan, attempt, tell=lambda _: None)
    assert isinstance(raised.value.__cause__, MemoryError)


def test_other_errors_are_not_tried_again() -> None:
    calls: list[int] = []

    def attempt(_: MemoryPlan) -> None:
        calls.append(1)
        raise RuntimeError("shapes don't match")

    with pytest.raises(RuntimeError, match="shapes"):
        with_next_step(plan_for(99999), attempt)
    assert len(calls) == 1


def test_nothing_of_a_failed_try_is_left_when_the_next_begins() -> None:
    held: list[weakref.ref[Tensor]] = []

    def attempt(plan: MemoryPlan) -> str:
        if held:
            assert held[0]() is None
            return "done"
        big = torch.zeros(1000)
        held.append(weakref.ref(big))
        loop: list[Any] = [big]
        loop.append(loop)  # only a collection frees what refers to itself
        raise MemoryError

    assert with_next_step(plan_for(99999), attempt, tell=lambda _: None) == "done"


def test_free_memory_is_the_system_s_own_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "meminfo"
    said.write_text("MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:    2048 kB\n")
    assert host_free(said) == 2 * 2**20
    assert host_free(tmp_path / "missing") > 0
    here = device_memory(torch.device("cpu"))
    assert here.kind == "cpu" and not here.apart
    assert 0 < here.free_bytes < host_free()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    there = device_memory(torch.device("cuda"))
    assert there.apart and there.free_bytes == 1140  # 95 % of what is free and what torch holds but doesn't use

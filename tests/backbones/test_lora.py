"""Low-rank fine-tuning from files, merged into weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.tiny import UNET, WIDTH
from vxedit.backbones.lora import apply_lora, lora_identity
from vxedit.errors import ModelError

RANK = 2
TARGETS = (
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.0.temp_attentions.0.transformer_blocks.0.ff.net.0.proj",
    "up_blocks.0.resnets.0.conv1",
    "mid_block.temp_convs.0.conv1.2",
)
"""Linear layers, a convolution over a frame, and one over time."""


def make_network(seed: int = 0) -> Any:
    from diffusers import UNet3DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet3DConditionModel(**UNET).eval().requires_grad_(False)


@pytest.fixture
def network() -> Any:
    return make_network()


def random(*shape: int, seed: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def factors(module: Any, seed: int) -> tuple[Tensor, Tensor]:
    """`up` (out, r, 1, …) and `down` (r, in, kernel …), as layers of their own would have them."""
    out, *rest = module.weight.shape
    return random(out, RANK, *(1 for _ in rest[1:]), seed=seed), random(RANK, *rest, seed=seed + 100)


def pairs_of(network: Any, names: tuple[str, ...] = TARGETS) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: factors(network.get_submodule(name), seed) for seed, name in enumerate(names)}


def passed(network: Any) -> Tensor:
    latents, embeds = random(1, 4, 3, 8, 8, seed=7), random(1, 5, WIDTH, seed=8)
    with torch.no_grad():
        output: Tensor = network(10 * latents, 500, encoder_hidden_states=10 * embeds).sample
    return output


def beside(network: Any, pairs: dict[str, tuple[Tensor, Tensor]], scale: float) -> Tensor:
    """The output of a network beside whose layers the low-rank ones run: what LoRA is while it is trained."""
    handles = []
    for name, (up, down) in pairs.items():
        layer = network.get_submodule(name)

        def add(module: Any, args: Any, output: Tensor, up: Tensor = up, down: Tensor = down) -> Tensor:
            if isinstance(module, nn.Linear):
                return output + scale * (args[0] @ down.flatten(1).T @ up.flatten(1).T)
            run = nn.functional.conv2d if isinstance(module, nn.Conv2d) else nn.functional.conv3d
            return output + scale * run(run(args[0], down, None, module.stride, module.padding), up)

        handles.append(layer.register_forward_hook(add))
    found = passed(network)
    for handle in handles:
        handle.remove()
    return found


Named = Callable[[str, str], str]


def peft(name: str, side: str) -> str:
    return f"unet.{name}.lora_{'B' if side == 'up' else 'A'}.weight"


def peft_whole(name: str, side: str) -> str:
    return f"base_model.model.{name}.lora_{'B' if side == 'up' else 'A'}.default.weight"


def diffusers_layers(name: str, side: str) -> str:
    return f"unet.{name}.lora.{side}.weight"


def diffusers_processors(name: str, side: str) -> str:
    if ".attn" not in name:
        return diffusers_layers(name, side)
    block, layer = name.removesuffix(".0").rsplit(".", 1)
    return f"unet.{block}.processor.{layer}_lora.{side}.weight"


def kohya(name: str, side: str) -> str:
    return f"lora_unet_{name.replace('.', '_')}.lora_{side}.weight"


@pytest.mark.parametrize("named", [peft, peft_whole, diffusers_layers, diffusers_processors, kohya])
def test_a_merged_network_is_the_one_with_low_rank_layers_beside_its_own(
    named: Named, network: Any, tmp_path: Path
) -> None:
    pairs = pairs_of(network)
    expected, plain = beside(network, pairs, 0.7), passed(network)
    content = {
        named(name, side): factor.contiguous()
        for name, pair in pairs.items()
        for side, factor in zip(("up", "down"), pair, strict=True)
    }
    save_file(content, tmp_path / "tuned.safetensors")
    apply_lora(network, [tmp_path / "tuned.safetensors"], 0.7)
    found = passed(network)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert float((found - plain).abs().max()) > 1e-3


def write_peft(
    folder: Path, network: Any, names: tuple[str, ...] = TARGETS[:1], *, stem: str = "tuned", **notes: str
) -> Path:
    content = {
        peft(name, side): factor.contiguous()
        for name, pair in pairs_of(network, names).items()
        for side, factor in zip(("up", "down"), pair, strict=True)
    }
    file = folder / f"{stem}.safetensors"
    save_file(content, file, metadata=notes or None)
    return file


def added(network: Any, file: Path, scale: float = 1.0, name: str = TARGETS[0]) -> Tensor:
    before = network.get_submodule(name).weight.clone()
    apply_lora(network, [file], scale)
    return network.get_submodule(name).weight - before


def test_scale_0_changes_nothing(network: Any, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    apply_lora(network, [write_peft(tmp_path, network, TARGETS)], 0.0)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_only_what_is_named_changes_and_in_its_own_type(network: Any, tmp_path: Path) -> None:
    file = write_peft(tmp_path, network)
    up, down = factors(network.get_submodule(TARGETS[0]), 0)
    network.bfloat16()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    apply_lora(network, [file])
    after = network.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == [f"{TARGETS[0]}.weight"]
    assert network.get_submodule(TARGETS[0]).weight.dtype == torch.bfloat16
    exact = (before[f"{TARGETS[0]}.weight"].float() + up @ down).bfloat16()
    assert torch.equal(after[f"{TARGETS[0]}.weight"], exact)


def test_several_files_add_up(network: Any, tmp_path: Path) -> None:
    file = write_peft(tmp_path, network)
    once = added(network, file, 2.0)
    before = network.get_submodule(TARGETS[0]).weight.clone()
    apply_lora(network, [file, file], -1.0)
    torch.testing.assert_close(network.get_submodule(TARGETS[0]).weight, before - once, rtol=1e-4, atol=1e-6)


def test_alpha_is_divided_by_the_rank(network: Any, tmp_path: Path) -> None:
    """Kohya's scripts keep alpha in the file, diffusers in its header, peft in a file beside it."""
    up, down = factors(network.get_submodule(TARGETS[0]), 0)
    content = {kohya(TARGETS[0], "up"): up, kohya(TARGETS[0], "down"): down}
    alpha = {kohya(TARGETS[0], "up").replace("lora_up.weight", "alpha"): torch.tensor(6.0)}
    save_file(content | alpha, tmp_path / "kohya.safetensors")
    torch.testing.assert_close(added(network, tmp_path / "kohya.safetensors"), 3 * up @ down, rtol=1e-3, atol=1e-6)

    header = json.dumps({"unet.lora_alpha": 8, "unet.r": RANK, "text_encoder.lora_alpha": 1})
    file = write_peft(tmp_path, network, stem="header", lora_adapter_metadata=header)
    torch.testing.assert_close(added(network, file), 4 * up @ down, rtol=1e-3, atol=1e-6)

    header = json.dumps({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn2.to_k": 2}})
    file = write_peft(tmp_path, network, stem="pattern", lora_adapter_metadata=header)
    torch.testing.assert_close(added(network, file), up @ down, rtol=1e-3, atol=1e-6)

    file = write_peft(tmp_path, network, stem="adapter_model")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "use_rslora": True}))
    torch.testing.assert_close(added(network, file), 8 / 2**0.5 * up @ down, rtol=1e-3, atol=1e-6)


class Block(nn.Module):
    def __init__(self, *, early: bool) -> None:
        super().__init__()
        self.attn1 = nn.Linear(6, 6)
        if early:
            self.ff = nn.Linear(6, 8)
        self.attn2 = nn.Linear(5, 6)
        if not early:
            self.ff = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(6)


class Tower(nn.Module):
    """Two blocks and a convolution, as diffusers makes them now, or as it made them up to 0.16."""

    def __init__(self, *, early: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(early=early), Block(early=early)])
        self.conv = nn.Conv3d(6, 6, (3, 1, 1))


def cloneofsimo(network: nn.Module) -> list[Tensor]:
    """What Text-To-Video-Finetuning saves of it: up and down of every linear and convolution layer in turn."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)]
    return [factor for seed, layer in enumerate(layers) for factor in factors(layer, seed)]


@pytest.mark.parametrize("early", [False, True])
def test_pairs_without_names_go_to_the_layers_in_the_order_of_their_time(early: bool, tmp_path: Path) -> None:
    old, now = Tower(early=early), Tower()
    now.load_state_dict(old.state_dict())
    pairs = cloneofsimo(old)
    torch.save([nn.Parameter(factor) for factor in pairs], tmp_path / "100_unet.pt")
    apply_lora(now, [tmp_path / "100_unet.pt"], 0.5, allow_pickle=True)
    layers = {name: m for name, m in old.named_modules() if isinstance(m, nn.Linear | nn.Conv3d)}
    assert len(layers) == 7
    for (name, layer), up, down in zip(layers.items(), pairs[0::2], pairs[1::2], strict=True):
        product = torch.einsum("or,rikab->oikab", up[..., 0, 0, 0], down) if up.ndim == 5 else up @ down
        torch.testing.assert_close(now.get_submodule(name).weight, layer.weight + 0.5 * product)


def test_pairs_without_names_of_a_whole_video_network(network: Any, tmp_path: Path) -> None:
    pairs = cloneofsimo(network)
    names = [name for name, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)]
    told = dict(zip(names, zip(pairs[0::2], pairs[1::2], strict=True), strict=True))
    expected = beside(network, told, 0.3)
    torch.save(pairs, tmp_path / "unet.pt")
    apply_lora(network, [tmp_path / "unet.pt"], 0.3, allow_pickle=True)
    torch.testing.assert_close(passed(network), expected, rtol=1e-3, atol=1e-4)


def test_numbered_pairs_count_in_the_classes_that_the_header_names(tmp_path: Path) -> None:
    tower: Any = Tower()
    layers = [layer for block in tower.blocks for layer in (block.attn1, block.attn2, block.ff)]
    content = {}
    for i, layer in enumerate(layers):
        content[f"unet:{i}:up"], content[f"unet:{i}:down"] = factors(layer, i)
    save_file(content, tmp_path / "tuned.safetensors", metadata={"unet": json.dumps(["Block"])})
    before = [layer.weight.clone() for layer in layers]
    apply_lora(tower, [tmp_path / "tuned.safetensors"])
    for i, layer in enumerate(layers):
        up, down = factors(layer, i)
        torch.testing.assert_close(layer.weight, before[i] + up @ down)


def test_stable_lora_s_convolutions_have_their_kernel_on_both_factors(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.Conv2d(4, 6, 3), nn.Conv3d(4, 6, (3, 1, 1)), nn.Embedding(7, 4))
    content = {
        "0.lora_A": random(RANK, 4, seed=0),
        "0.lora_B": random(5, RANK, seed=1),
        "1.lora_A": random(3 * RANK, 3 * 4, seed=2),
        "1.lora_B": random(3 * 6, 3 * RANK, seed=3),
        "2.lora_A": random(3 * RANK, 3 * 4, seed=4),
        "2.lora_B": random(3 * 6, 3 * RANK, seed=5),
        "3.lora_A": random(RANK, 7, seed=6),
        "3.lora_B": random(4, RANK, seed=7),
    }
    save_file(content, tmp_path / "stable_unet.safetensors")
    before = [layer.weight.detach().clone() for layer in network]  # type: ignore[operator, union-attr]
    apply_lora(network, [tmp_path / "stable_unet.safetensors"])
    products = [(content[f"{i}.lora_B"] @ content[f"{i}.lora_A"]).numpy() for i in range(4)]
    expected = [
        products[0],
        products[1].reshape(6, 4, 3, 3),
        products[2].reshape(6, 4, 3, 3).mean(3)[..., None, None],
        products[3].T,
    ]
    for layer, was, change in zip(network, before, expected, strict=True):
        weight: Any = layer.weight
        torch.testing.assert_close(weight.detach(), was + torch.from_numpy(change))


def test_a_file_may_tune_the_text_encoder_too(network: Any, tmp_path: Path) -> None:
    text_encoder: Any = nn.Module()
    text_encoder.encoder = nn.Sequential(nn.Linear(4, 4, bias=False))
    up, down = random(4, RANK, seed=0), random(RANK, 4, seed=1)
    content = {"lora_te_text_model_encoder_0.lora_up.weight": up, "lora_te_text_model_encoder_0.lora_down.weight": down}
    unet = {
        kohya(TARGETS[0], side): f
        for side, f in zip(("up", "down"), factors(network.get_submodule(TARGETS[0]), 0), strict=True)
    }
    file = tmp_path / "both.safetensors"
    save_file(content | unet, file)
    with pytest.raises(ModelError, match="lora_te_text_model_encoder_0"):
        apply_lora(network, [file])
    before = text_encoder.encoder[0].weight.detach().clone()
    apply_lora(network, [file], text_encoder=text_encoder)
    torch.testing.assert_close(text_encoder.encoder[0].weight.detach(), before + up @ down)


def test_a_file_for_wan_goes_by_the_authors_names(tmp_path: Path) -> None:
    from diffusers import WanTransformer3DModel

    wan: Any = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=1,
    )
    both = {
        "self_attn.q": "attn1.to_q",
        "cross_attn.k": "attn2.to_k",
        "cross_attn.o": "attn2.to_out.0",
        "ffn.0": "ffn.net.0.proj",
        "ffn.2": "ffn.net.2",
    }
    content: dict[str, Tensor] = {}
    expected: dict[str, Tensor] = {}
    for seed, (theirs, ours) in enumerate(both.items()):
        weight = wan.get_submodule(f"blocks.0.{ours}").weight.detach()
        up, down = random(len(weight), RANK, seed=seed), random(RANK, weight.shape[1], seed=seed + 50)
        content |= {f"diffusion_model.blocks.0.{theirs}.lora_A.weight": down}
        content |= {f"diffusion_model.blocks.0.{theirs}.lora_B.weight": up}
        expected[ours] = weight + up @ down
    save_file(content, tmp_path / "wan.safetensors")
    apply_lora(wan, [tmp_path / "wan.safetensors"])
    for ours, weight in expected.items():
        torch.testing.assert_close(wan.get_submodule(f"blocks.0.{ours}").weight.detach(), weight)


def test_a_file_for_another_network_is_refused_and_changes_nothing(network: Any, tmp_path: Path) -> None:
    good = write_peft(tmp_path, network, stem="good")
    up, down = factors(network.get_submodule(TARGETS[0]), 0)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}

    def refused(content: dict[str, Tensor], match: str) -> None:
        save_file({key: value.clone() for key, value in content.items()}, tmp_path / "bad.safetensors")
        with pytest.raises(ModelError, match=match):
            apply_lora(network, [good, tmp_path / "bad.safetensors"])
        assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())

    other = "transformer.blocks.9.attn1.to_q"
    named = {peft(TARGETS[0], "up"): up, peft(TARGETS[0], "down"): down}
    refused({f"{other}.lora_A.weight": down, f"{other}.lora_B.weight": up} | named, f"1 of the 2 things.*{other}")
    refused({peft(TARGETS[0], "up"): up}, f"unet.{TARGETS[0]}")
    refused(named | {f"unet.{TARGETS[0]}.dora_scale": up}, "dora_scale")
    refused({peft(TARGETS[0], "up"): up, peft(TARGETS[0], "down"): down[:, :-1].contiguous()}, r"\(2, 31\).*\(32, 32\)")
    refused({peft(TARGETS[0], "up"): up, peft(TARGETS[0], "down"): random(3, WIDTH, seed=0)}, r"\(3, 32\)")
    refused({}, "there is nothing in it")
    refused(
        {f"unet:0:{side}": f for side, f in zip(("up", "down"), (up, down), strict=True)}, "1 pairs in it for the unet"
    )
    refused({"unet:1:up": up, "unet:1:down": down}, "aren't complete")


def test_pickles_are_read_only_where_that_is_allowed(network: Any, tmp_path: Path) -> None:
    file = tmp_path / "100_unet.pt"
    torch.save(cloneofsimo(network), file)
    with pytest.raises(ModelError, match=r"is a pickle.*--allow-pickle"):
        apply_lora(network, [file])
    for content, match in ((cloneofsimo(network)[:-1], "pairs of tensors"), (cloneofsimo(network)[:-2], "one by one")):
        torch.save(content, file)
        with pytest.raises(ModelError, match=match):
            apply_lora(network, [file], allow_pickle=True)


def test_a_file_that_can_not_be_read_is_named(network: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"bad.safetensors can't be read"):
        apply_lora(network, [tmp_path / "bad.safetensors"])
    with pytest.raises(ModelError, match=r"none.safetensors is not a file"):
        apply_lora(network, [tmp_path / "none.safetensors"])


def test_a_tuned_model_has_an_identity_of_its_own(network: Any, tmp_path: Path) -> None:
    one, other = write_peft(tmp_path, network, stem="one"), write_peft(tmp_path, network, TARGETS, stem="other")
    found = lora_identity("abc", [one], 1.0)
    assert len(found) == 64
    assert lora_identity("abc", [one], 1) == found
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(one.read_bytes())
    assert lora_identity("abc", [moved], 1.0) == found
    told = [found, lora_identity("abd", [one]), lora_identity("abc", [one], 0.5), lora_identity("abc", [other])]
    told += [lora_identity("abc", [one, other]), lora_identity("abc", [other, one]), "abc"]
    assert len(set(told)) == len(told)
    assert lora_identity("abc", []) == lora_identity("abc", [one], 0.0) == "abc"
    adapter = write_peft(tmp_path, network, stem="adapter_model")
    alone = lora_identity("abc", [adapter])
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8}))
    assert lora_identity("abc", [adapter]) != alone

"""Folders in ModelScope's published layout: which are taken, which file of them, and what is said about the others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones import hub
from vxedit.backbones.families.unet3d import UNET3D
from vxedit.backbones.layout import choose_weights, find_layout, missing_files
from vxedit.backbones.registry import KNOWN, find, load, outline
from vxedit.errors import ModelError, UsageError


def predicted(folder: Path, **options: bool | str) -> torch.Tensor:
    backbone = load(str(folder), device="cpu", **options)
    latents = torch.randn(1, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    return backbone.predict(latents, 500, backbone.text("a red ball").embeds)


def test_pickled_weights_are_refused_with_the_remedy_and_taken_when_allowed(tiny_folder: Path, tmp_path: Path) -> None:
    pickled = write_tiny_checkpoint(tmp_path / "pickled", safe=False)
    for ask in (outline, load):
        with pytest.raises(ModelError, match=r"unet, vae, text_encoder.*--allow-pickle.*save_pretrained") as caught:
            ask(str(pickled))
        assert "\n" not in str(caught.value)
    torch.testing.assert_close(predicted(pickled, allow_pickle=True), predicted(tiny_folder), rtol=0, atol=0)


def test_half_variant_is_taken_where_it_is_the_only_one(tiny_folder: Path, tmp_path: Path) -> None:
    half = write_tiny_checkpoint(tmp_path / "half", variant="fp16")
    half_pickled = write_tiny_checkpoint(tmp_path / "half_pickled", variant="fp16", safe=False)
    full = predicted(tiny_folder)
    stored = predicted(half)
    assert stored.dtype == torch.float32
    assert not torch.equal(stored, full)
    torch.testing.assert_close(stored, full, rtol=0, atol=2e-2)
    torch.testing.assert_close(predicted(half_pickled, allow_pickle=True), stored, rtol=0, atol=0)


def test_a_narrow_network_takes_the_half_variant_and_the_plain_file_where_there_is_none(
    tiny_folder: Path, tmp_path: Path
) -> None:
    both = shutil.copytree(tiny_folder, tmp_path / "both")
    write_tiny_checkpoint(tmp_path / "other", variant="fp16", seed=1)
    name = "diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(tmp_path / "other" / "unet" / name, both / "unet" / name)
    assert find_layout(both, half=True).weights["unet"].file == f"unet/{name}"
    assert find_layout(both).weights["unet"].variant is None
    narrow = load(str(both), device="cpu", dtype="bf16")
    assert narrow.dtype == torch.bfloat16
    assert narrow.text("a ball").embeds.dtype == torch.float32
    # The variant has another seed's weights, so its being taken shows; the autoencoder falls back to the plain file.
    other = load(str(tmp_path / "other"), device="cpu", dtype="bf16")
    latents, embeds = torch.ones(1, 4, 2, 8, 8), narrow.text("a ball").embeds
    torch.testing.assert_close(narrow.predict(latents, 1, embeds), other.predict(latents, 1, embeds), rtol=0, atol=0)
    assert narrow.predict(latents, 1, embeds).dtype == torch.float32


def test_safetensors_come_before_the_wanted_variant() -> None:
    files = {"unet/diffusion_pytorch_model.fp16.bin", "unet/diffusion_pytorch_model.safetensors"}
    assert choose_weights(UNET3D, files, half=True)["unet"].file == "unet/diffusion_pytorch_model.safetensors"


def test_weights_in_pieces_are_there_when_all_of_them_are() -> None:
    stem = "unet/diffusion_pytorch_model"
    pieces = [f"{stem}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = [f"{stem}.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    indices = [f"{stem}.safetensors.index.json", f"{stem}.safetensors.index.fp16.json"]
    files = {*pieces, *halves, *indices}
    assert choose_weights(UNET3D, files, half=False)["unet"].files == (indices[0], *pieces)
    assert choose_weights(UNET3D, files, half=True)["unet"].files == (indices[1], *halves)
    assert choose_weights(UNET3D, files - {halves[0]}, half=True)["unet"].files == (indices[0], *pieces)
    assert "unet" not in choose_weights(UNET3D, {indices[0], pieces[0]}, half=False)
    assert f"{stem}.safetensors" in missing_files(UNET3D, {indices[0], pieces[0]}, need_weights=True)


def test_every_missing_part_is_named_at_once(tiny_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_folder, tmp_path / "broken")
    shutil.rmtree(broken / "vae")
    (broken / "tokenizer" / "merges.txt").unlink()
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    for ask in (outline, load):
        with pytest.raises(ModelError) as caught:
            ask(str(broken))
        for part in ("vae/config.json", "tokenizer/", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion"):
            assert part in str(caught.value)
        assert "text_encoder/" not in str(caught.value)


def test_model_index_may_be_missing(tiny_folder: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny_folder, tmp_path / "bare")
    (bare / "model_index.json").unlink()
    assert outline(str(bare)).native == (16, 64, 64)


def test_another_network_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    config = other / "unet" / "config.json"
    config.write_text(config.read_text().replace("UNet3DConditionModel", "UNetSpatioTemporalConditionModel"))
    with pytest.raises(ModelError, match=r"UNetSpatioTemporalConditionModel.*UNet3DConditionModel"):
        outline(str(other))
    config.write_text("{")
    with pytest.raises(ModelError, match=r"config\.json can't be read"):
        outline(str(other))


def test_damaged_and_incomplete_weights_are_noticed(tiny_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny_folder, tmp_path / "broken")
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_out.bias"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"conv_out\.bias"):
        load(str(broken), device="cpu")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"unet/diffusion_pytorch_model\.safetensors can't be loaded") as caught:
        load(str(broken), device="cpu")
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(ModelError, match="did you mean zeroscope"):
        find("zeroscop")
    with pytest.raises(ModelError, match="embedded, modelscope, zeroscope"):
        find("xyzzy")
    with pytest.raises(ModelError, match="is a file"):
        find(str(tiny_folder / "model_index.json"))
    for folder in (str(tmp_path / "not there"), "./not there", "~/not there"):
        with pytest.raises(ModelError, match="no folder"):
            find(folder)
    with pytest.raises(UsageError, match="nonsense"):
        load(str(tiny_folder), device="nonsense")
    with pytest.raises(UsageError, match="fp32, fp16, bf16"):
        load(str(tiny_folder), device="cpu", dtype="float8")


def test_names_of_the_hub_know_their_size() -> None:
    assert find("modelscope").source == {"": "damo-vilab/text-to-video-ms-1.7b"}
    assert find("zeroscope").native == (24, 320, 576)
    assert find(KNOWN["zeroscope"].sources[""]).native == (24, 320, 576)
    assert find("someone/else").source == {"": "someone/else"}


def test_a_model_that_is_neither_cached_nor_to_be_had_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for ask in (outline, load):
        with pytest.raises(ModelError, match=r"`hf download damo-vilab/text-to-video-ms-1\.7b`"):
            ask("modelscope")


def test_a_cached_model_is_found_without_the_network(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    repo = tmp_path / "models--someone--tiny"
    snapshot = shutil.copytree(tiny_folder, repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "_fetch", lambda *_, **__: pytest.fail("the network was asked"))
    assert hub.hub_tree({"": "someone/tiny"}, half=False, need_weights=True, allow_pickle=False).root == snapshot
    assert load("someone/tiny", device="cpu").name == "someone/tiny"


PUBLISHED = (
    *(
        "README.md",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
    ),
    *("unet/config.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.bin"),
    *("vae/config.json", "vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"),
    *("text_encoder/config.json", "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
)


def test_of_a_model_on_the_hub_only_what_is_needed_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    fetched: list[set[str]] = []
    there = write_tiny_checkpoint(tmp_path / "there")

    def snapshot(hub_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        # by the name, not the commit: the hub's cache then knows it by that name without the network
        assert (hub_id, revision) == ("someone/new", None)
        fetched.append(set(allow_patterns))
        return str(there)

    info = SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename=name) for name in PUBLISHED])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    new = {"": "someone/new"}
    with pytest.raises(ModelError, match=r"the weights of unet are .*--allow-pickle"):
        hub.hub_tree(new, half=True, need_weights=True, allow_pickle=False)
    assert not fetched
    plain = {name for name in PUBLISHED if name.endswith((".json", ".txt"))}
    assert hub.hub_tree(new, half=True, need_weights=False, allow_pickle=True).root == there
    assert fetched == [plain]
    hub.hub_tree(new, half=True, need_weights=True, allow_pickle=True)
    assert fetched[1:] == [
        plain,
        {
            "unet/diffusion_pytorch_model.fp16.bin",
            "vae/diffusion_pytorch_model.safetensors",
            "text_encoder/model.safetensors",
        },
    ]


def test_a_missing_embedded_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxedit.backbones.registry.EMBEDDED", tmp_path / "embedded")
    with pytest.raises(ModelError, match="install vxedit again"):
        outline("embedded")
    write_tiny_checkpoint(tmp_path / "embedded")
    assert outline("embedded").name == load("embedded", device="cpu").name == "embedded"


def test_what_a_model_is_trained_at_comes_from_its_index(tmp_path: Path) -> None:
    settings = {"frames": 8, "height": 96, "width": 128, "max_frames": 20, "steering_layers": ["mid_block"]}
    folder = write_tiny_checkpoint(tmp_path / "own", vxedit=settings)
    shown, loaded = outline(str(folder)), load(str(folder), device="cpu")
    assert shown.native == loaded.native == (8, 96, 128)
    assert shown.fit(50, 96, 128) == loaded.fit(50, 96, 128) == (20, 96, 128)
    assert loaded.steering_layers() == ("mid_block.attentions.0.transformer_blocks.0.attn2",)


def test_how_a_model_generates_comes_from_its_index(tmp_path: Path) -> None:
    plain = write_tiny_checkpoint(tmp_path / "plain", vxedit={})
    own = write_tiny_checkpoint(tmp_path / "own", vxedit={"steps": 30, "eta": 0.5, "steady": True})
    for folder, expected in ((plain, (20, 0.0, False)), (own, (30, 0.5, True))):
        shown, loaded = outline(str(folder)).facts, load(str(folder), device="cpu")
        assert (shown.steps, shown.eta, shown.steady) == (loaded.steps, loaded.eta, loaded.steady) == expected


@pytest.mark.parametrize(
    "setting",
    [
        {"frames": 0},
        {"height": "64"},
        {"max_frames": 1.5},
        {"steering_layers": "mid_block"},
        {"guidance_scale": 0.5},
        {"guidance_scale": "5"},
        {"guidance_scale": True},
        {"shared_noise": 2},
        {"shared_noise": "0.5"},
        {"steps": 0},
        {"eta": 1.5},
        {"eta": "1"},
        {"eta": True},
        {"steady": 1},
    ],
)
def test_settings_of_another_kind_are_refused(tmp_path: Path, setting: dict[str, object]) -> None:
    folder = write_tiny_checkpoint(tmp_path / "own", vxedit=setting)
    with pytest.raises(ModelError, match=rf"{next(iter(setting))} .*leave it out"):
        outline(str(folder))


def test_steering_layers_that_are_not_there_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "own", vxedit={"steering_layers": ["up_blocks.7"]})
    with pytest.raises(ModelError, match=r"up_blocks\.7"):
        load(str(folder), device="cpu")


def test_identity_follows_configuration_and_weights_and_not_the_place(tiny_folder: Path, tmp_path: Path) -> None:
    from vxedit.backbones.identity import identity

    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    first = identity(find_layout(tiny_folder))
    assert identity(find_layout(moved)) == first
    scheduler = moved / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"beta_end": 0.013}))
    second = identity(find_layout(moved))
    assert second != first
    weights = moved / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    third = identity(find_layout(moved))
    assert third not in (first, second)
    index = moved / "model_index.json"
    told = json.loads(index.read_text())
    index.write_text(json.dumps(told | {"vxedit": {"frames": 3}}))
    assert identity(find_layout(moved)) == third
    index.write_text(json.dumps(told | {"boundary_ratio": 0.9}))  # which expert runs when
    assert identity(find_layout(moved)) != third


def test_identity_of_a_big_file_is_taken_from_its_ends(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxedit.backbones import identity as module

    monkeypatch.setattr(module, "WHOLE_UP_TO", 2**20)
    monkeypatch.setattr(module, "END", 2**10)
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    weights = moved / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())

    def changed_at(place: int) -> str:
        changed = bytearray(content)
        changed[place] ^= 1
        weights.write_bytes(bytes(changed))
        return module.identity(find_layout(moved))

    first = module.identity(find_layout(tiny_folder))
    assert changed_at(len(content) // 2) == first
    assert changed_at(500) != first
    assert changed_at(-500) != first


def test_an_outline_needs_neither_torch_nor_diffusers(tiny_folder: Path) -> None:
    code = (
        "import sys; from vxedit.backbones.registry import outline; o = outline(sys.argv[1]); "
        "assert len(o.tokens('a burger')) == 3 and o.fit(4, 64, 64) == (4, 64, 64) and len(o.schedule(5)) == 5; "
        "assert not {'torch', 'diffusers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_folder)], check=True, cwd=Path(__file__).parents[2])

"""What every family's backbone has to do, as tests that a family's own test class inherits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.footage import write_footage
from vxedit.backbones.memory.needs import Way
from vxedit.backbones.memory.offload import Shelf
from vxedit.backbones.placing import Parts
from vxedit.backbones.protocol import Backbone, Size
from vxedit.backbones.registry import load, outline
from vxedit.backbones.tokens import columns
from vxedit.edit.attention import attention_maps, capture
from vxedit.edit.energy import box_energy, rasterise
from vxedit.edit.generate import generate
from vxedit.edit.guidance import GuidanceSettings, guide
from vxedit.invert.inversion import Inversion, from_tensors, invert, replay_inversion, to_tensors
from vxedit.invert.store import Store
from vxedit.io.read import read_video
from vxedit.job import InvertSettings, RealJob, Selection
from vxedit.real import edit_real

PROMPT = "a red burger on the ball"


class FamilyContract:
    """A subclass says how its tiny checkpoint is written, which clip it takes, and which of the network's modules mix
    tokens beside the attention to the text: patterns of their names."""

    write: ClassVar[Callable[[Path], Path]]
    family: ClassVar[str]
    guidance_scale: ClassVar[float]
    """The authors' own, of the clips that the model generates."""
    clip: ClassVar[tuple[int, int, int]]
    """Frames, height and width of the clip that the tests use, one that the model takes as it is."""
    latents: ClassVar[tuple[int, int, int, int, int]]
    spans: ClassVar[tuple[tuple[int, ...], ...]]
    """Which of the clip's frames each frame of the latents covers."""
    mixers: ClassVar[tuple[str, ...]]
    patch: ClassVar[tuple[int, int, int]]
    timestep: ClassVar[float] = 600.0

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return cls.write(tmp_path_factory.mktemp("models") / "tiny")

    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, folder: Path) -> Backbone:
        return load(str(folder), device="cpu")

    def noisy(self, seed: int = 0) -> Tensor:
        return torch.randn(self.latents, generator=torch.Generator().manual_seed(seed))

    def burger(self, backbone: Backbone) -> tuple[int, ...]:
        return columns(backbone.tokens(PROMPT), PROMPT, "burger")

    def test_it_is_known_by_its_files(self, folder: Path, backbone: Backbone) -> None:
        shown = outline(str(folder))
        assert shown.layout.family.name == self.family
        assert shown.native == backbone.native
        assert shown.facts.guidance_scale == backbone.guidance_scale == self.guidance_scale
        assert shown.check_generated(*self.clip) == self.clip
        assert backbone.latent_shape(shown.check(*self.clip)) == self.latents

    def test_frames_become_latents_and_come_back(self, backbone: Backbone) -> None:
        frames, height, width = self.clip
        clip = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
        latents = backbone.encode(clip)
        assert latents.shape == self.latents
        assert latents.dtype == torch.float32
        assert bool(latents.isfinite().all())
        decoded = backbone.decode(latents, frames)
        assert decoded.shape == clip.shape
        assert decoded.dtype == np.uint8

    def test_a_clip_of_another_length_is_continued_and_cut(self, backbone: Backbone) -> None:
        frames, height, width = self.clip
        clip = np.random.default_rng(0).integers(0, 256, (frames - 1, height, width, 3), dtype=np.uint8)
        continued = np.concatenate([clip, clip[-1:]])
        torch.testing.assert_close(backbone.encode(clip), backbone.encode(continued), rtol=0, atol=0)
        assert len(backbone.decode(backbone.encode(clip), frames - 1)) == frames - 1

    def test_its_frames_cover_the_clip_s(self, backbone: Backbone) -> None:
        assert backbone.spans(self.clip[0]) == self.spans
        assert len(self.spans) == self.latents[2]

    def test_a_word_of_several_tokens_has_all_their_columns(self, backbone: Backbone) -> None:
        found = self.burger(backbone)
        assert len(found) == 2
        plain, changed = (backbone.text(prompt).embeds[0] for prompt in (PROMPT, PROMPT.replace("burger", "ball")))
        first = min(found)
        if len(plain) == len(changed):  # what stands before the word is embedded from both sides: the word differs most
            assert (plain - changed)[list(found)].abs().mean() > 0
        assert backbone.text(PROMPT).pieces == backbone.tokens(PROMPT)
        assert first > 0

    def test_maps_are_probabilities_on_the_latents_frames(self, backbone: Backbone) -> None:
        embeds, every = backbone.text(PROMPT).embeds, [layer.name for layer in backbone.layers()]
        with torch.no_grad():
            maps = attention_maps(backbone, self.noisy(), self.timestep, embeds, self.burger(backbone), layers=every)
        assert list(maps) == every
        for seen in maps.values():
            assert seen.shape[:2] == (1, self.latents[2])
            assert float(seen.min()) >= 0
            assert float(seen.max()) <= 1
            assert float(seen.max()) > 0

    def test_queries_and_keys_are_the_network_s_own(self, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[Tensor, Tensor]] = []
        plain = F.scaled_dot_product_attention

        def noted(query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            calls.append((query, key))
            return plain(query, key, *args, **kwargs)

        layer = backbone.layers()[-1]
        seen: list[tuple[Tensor, Tensor]] = []

        def look(module: Any, args: Any, kwargs: Any) -> None:
            query, key, _ = layer.qk(module, args, kwargs)
            seen.append((query, key))
            calls.clear()

        monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
        before = layer.module.register_forward_pre_hook(look, with_kwargs=True)
        after = layer.module.register_forward_hook(lambda *_: seen.extend(calls[:1]))
        with torch.no_grad():
            backbone.predict(self.noisy(), self.timestep, backbone.text(PROMPT).embeds)
        before.remove()
        after.remove()
        (query, key), (own_query, own_key) = seen[0], seen[1]
        # in joint attention the text stands before the clip, so a query's place is counted from the end
        torch.testing.assert_close(query, own_query[:, :, -query.shape[2] :].to(query), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(key, own_key[:, :, : key.shape[2]].to(key), rtol=1e-5, atol=1e-5)

    def test_the_output_is_the_same_when_it_is_watched(self, backbone: Backbone) -> None:
        latents, embeds = self.noisy(), backbone.text(PROMPT).embeds
        with torch.no_grad():
            plain = backbone.predict(latents, self.timestep, embeds)
            with capture(backbone, self.burger(backbone)):
                watched = backbone.predict(latents, self.timestep, embeds)
        assert plain.shape == latents.shape
        assert plain.dtype == torch.float32
        assert torch.equal(plain, watched)
        assert bool(plain.isfinite().all())
        assert float(plain.std()) > 0

    def test_a_cell_of_the_map_comes_from_its_own_place(self, backbone: Backbone) -> None:
        """With everything silenced that mixes tokens, a cell's gradient has its patch as its support."""
        layer, embeds = backbone.layers()[0].name, backbone.text(PROMPT).embeds
        deep, tall, wide = self.patch
        point = self.noisy().requires_grad_()
        with self.silenced(backbone):
            maps = attention_maps(backbone, point, self.timestep, embeds, self.burger(backbone), layers=[layer])[layer]
            frame, row, column = maps.shape[1] - 1, 1, maps.shape[3] - 1
            (gradient,) = torch.autograd.grad(maps[0, frame, row, column], point)
        reached = gradient[0].abs().sum(0) > 0
        expected = torch.zeros_like(reached)
        rows, columns_ = slice(row * tall, (row + 1) * tall), slice(column * wide, (column + 1) * wide)
        expected[reached.shape[0] - deep :, rows, columns_] = True
        assert torch.equal(reached, expected)

    @contextmanager
    def silenced(self, backbone: Backbone) -> Iterator[None]:
        """Have the modules that mix tokens give zeros."""
        network: Any = getattr(backbone, "network", None) or backbone._modules.unet  # type: ignore[attr-defined]

        def nothing(module: Any, args: Any, output: Any) -> Any:
            return tuple(0 * one for one in output) if isinstance(output, tuple) else 0 * output

        named = [m for name, m in network.named_modules() if any(fnmatchcase(name, mixer) for mixer in self.mixers)]
        assert named
        handles = [module.register_forward_hook(nothing) for module in named]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def test_stopping_early_and_recomputing_give_the_same_gradient(self, backbone: Backbone) -> None:
        embeds, word, wanted = backbone.text(PROMPT).embeds, self.burger(backbone), backbone.layers()[-1].name

        def gradient(*, stop: bool, again: bool) -> Tensor:
            point = self.noisy().requires_grad_()
            before, backbone.checkpoint_activations = backbone.checkpoint_activations, again  # type: ignore[attr-defined]
            try:
                with capture(backbone, word, layers=[wanted], stop=stop) as seen:
                    backbone.predict(point, self.timestep, embeds)
                (found,) = torch.autograd.grad(seen.maps[wanted].square().sum(), point)
            finally:
                backbone.checkpoint_activations = before  # type: ignore[attr-defined]
            return found

        plain = gradient(stop=False, again=False)
        assert float(plain.abs().max()) > 0
        assert bool((plain.abs().sum((0, 1, 3, 4)) > 0).all())
        for stop, again in ((True, False), (False, True), (True, True)):
            torch.testing.assert_close(gradient(stop=stop, again=again), plain, rtol=1e-4, atol=1e-6)

    def test_an_inverted_clip_replays_as_it_was(self, backbone: Backbone, tmp_path: Path) -> None:
        clean = 0.5 * self.noisy(1)
        made = invert(backbone, clean, PROMPT, InvertSettings(kind="uni", steps=4))
        assert made.schedule.abar[0] >= 0.05**2
        assert list(made.schedule.abar) == sorted(made.schedule.abar)
        torch.testing.assert_close(replay_inversion(backbone, made, pinned=True), clean, rtol=1e-4, atol=1e-5)
        store = Store(tmp_path)
        key = store.key({"clip": 1})
        store.put(key, *to_tensors(made))
        kept = store.get(key)
        assert kept is not None
        found = from_tensors(*kept)
        assert torch.equal(found.pivots, made.pivots)
        assert found.schedule == made.schedule
        assert found.settings == made.settings

    def test_guidance_lowers_the_energy_of_every_frame(self, backbone: Backbone) -> None:
        embeds, word = backbone.text(PROMPT).embeds, self.burger(backbone)
        boxes = np.tile(np.array([0.0, 0.0, 0.5, 0.5]), (self.latents[2], 1))

        def energy(x: Tensor) -> Tensor:
            with capture(backbone, word, stop=True) as seen:
                backbone.predict(x, self.timestep, embeds)
            values = [box_energy(m, rasterise(boxes, *m.shape[-2:])[None].to(m))[0] for m in seen.maps.values()]
            return torch.stack(values).mean(0)

        everywhere = torch.ones(1, 1, *self.latents[2:])
        result = guide(energy, self.noisy(), everywhere, GuidanceSettings(iterations=6, rate=0.1, enough=0.0))
        assert bool((result.after < result.before).all())

    def test_a_clip_is_generated_with_fresh_noise_and_its_object_kept_on_its_way(self, backbone: Backbone) -> None:
        def made(eta: float, steady: list[tuple[int, ...]]) -> Inversion:
            chance = torch.Generator().manual_seed(0)
            size = Size(*self.clip)
            return generate(
                backbone, PROMPT, size, steps=4, guidance_scale=2.0, generator=chance, eta=eta, steady=steady
            )

        plain, renewed, steady = made(0.0, []), made(1.0, []), made(1.0, [self.burger(backbone)])
        for clip in (plain, renewed, steady):
            assert clip.clean.shape == self.latents and bool(clip.pivots.isfinite().all())
        assert torch.equal(plain.pivot(0), renewed.pivot(0)) and not torch.equal(plain.clean, renewed.clean)
        assert steady.backwards > 0 and not torch.equal(steady.pivot(0), renewed.pivot(0))
        replayed = replay_inversion(backbone, renewed, pinned=False)
        torch.testing.assert_close(replayed, renewed.clean, rtol=1e-3, atol=1e-3)

    def test_a_clip_is_edited_from_file_to_file(self, folder: Path, backbone: Backbone, tmp_path: Path) -> None:
        """The whole way, with a clip of a length that the model is not made for."""
        frames, height, width = self.clip
        frames = max(2, frames - 1)
        clip = write_footage(tmp_path / "clip.mp4", frames=frames, width=width, height=height, sound=False)
        job = RealJob(
            clip,
            tmp_path / "out.mp4",
            "burger",
            "by:+0.25,0",
            prompt=PROMPT,
            box=(0.1, 0.25, 0.45, 0.75),
            model=str(folder),
            selection=Selection(size=(width, height)),
            invert=InvertSettings(kind="uni", steps=3, guidance_scale=1.0),
        )
        result = edit_real(job, backbone=backbone, store=Store(tmp_path / "store"))
        before, after = read_video(clip).frames.astype(int), read_video(result.output).frames.astype(int)
        assert after.shape == before.shape
        assert len(result.record["boxes"]["target"]) == frames
        assert result.record["cost"]["edit_gradient_passes"] > 0
        assert (np.abs(after - before).mean((1, 2, 3)) > 1).all()

    def test_a_clip_with_and_one_without_the_prompt_may_share_a_pass(self, backbone: Backbone) -> None:
        latents = torch.cat([self.noisy(0), self.noisy(1)])
        embeds = torch.cat([backbone.unconditional(PROMPT), backbone.text(PROMPT).embeds])
        with torch.no_grad():
            both = backbone.predict(latents, self.timestep, embeds)
            single = [backbone.predict(latents[i : i + 1], self.timestep, embeds[i : i + 1]) for i in (0, 1)]
        torch.testing.assert_close(both, torch.cat(single), rtol=1e-4, atol=1e-4)
        assert float((single[0] - single[1]).abs().max()) > 1e-2

    def test_parts_work_only_while_they_are_in_use(self, backbone: Parts) -> None:
        """What waits in the machine's memory must not be asked for anything: it would answer from there."""
        shelf, worked = Shelf({}, torch.device("cpu")), list[tuple[str, str | None]]()
        in_use: list[str] = []
        shelf.use = in_use.append  # type: ignore[method-assign]

        def noted(part: str) -> Callable[..., None]:
            return lambda *_: worked.append((part, in_use[-1] if in_use else None))

        handles = [
            module.register_forward_pre_hook(noted(part))
            for part, whole in backbone.parts.items()
            for module in whole.modules()
        ]
        before, backbone._shelf = backbone._shelf, shelf
        frames, height, width = self.clip
        model: Any = backbone
        try:
            with torch.no_grad():
                for _ in range(2):  # the second time prompts are remembered
                    latents = model.encode(np.zeros((frames, height, width, 3), np.uint8))
                    embeds = torch.cat([model.text("a burger").embeds, model.unconditional("a burger")])
                    model.predict(latents.repeat(2, 1, 1, 1, 1), self.timestep, embeds)
                    model.decode(latents, frames)
                model.predict(latents, self.timestep, model.text("a burger").embeds)
                model.unconditional("a burger")
        finally:
            backbone._shelf = before
            for handle in handles:
                handle.remove()
        assert {part for part, _ in worked} == set(backbone.parts)
        assert all(part == used for part, used in worked)

    def test_weights_that_come_stage_by_stage_change_nothing(self, folder: Path, backbone: Backbone) -> None:
        pytest.importorskip("accelerate")
        spared: Any = load(str(folder), device="cpu", way=Way(offload="sequential", recomputed=True))
        word, wanted, gradients = self.burger(backbone), [backbone.layers()[-1].name], []
        for model in (backbone, spared):
            point, embeds = self.noisy().requires_grad_(), model.text(PROMPT).embeds
            with capture(model, word, layers=wanted, stop=True) as seen:
                model.predict(point, self.timestep, embeds)
            gradients += torch.autograd.grad(seen.maps[wanted[0]].square().sum(), point)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            plain, other = (m.predict(self.noisy(), self.timestep, embeds) for m in (backbone, spared))
        torch.testing.assert_close(other, plain)
        assert all(weight.is_meta for weight in spared.parts["network"].parameters())

    def test_a_text_for_every_frame_is_refused(self, backbone: Backbone) -> None:
        if backbone.per_frame:
            return
        embeds = backbone.text(PROMPT).embeds[:, None].repeat(1, self.latents[2], 1, 1)
        with pytest.raises(ValueError, match="embeds must be"):
            backbone.predict(self.noisy(), self.timestep, embeds)

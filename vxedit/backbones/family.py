"""A family of models, as far as it can be known without torch: which files it is published as, and what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from vxedit.backbones.protocol import Parameterization, Schedule, Size
from vxedit.backbones.sizes import Sizes

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout
    from vxedit.backbones.tree import Tree

OF_DIFFUSERS = ("diffusion_pytorch_model",)
OF_TRANSFORMERS = ("model", "pytorch_model")
"""What the weights of each library are called, without their ending."""


@dataclass(frozen=True)
class Part:
    """One part of a published model. `kinds`: the classes that its configuration may name; none: any. `folder`: where
    it lies, "" the root, None its name. `config`: its configuration's file, None where it has none. `stems`: what its
    weights may be called without their ending; none: it has no weights. `optional`: the model does without."""

    name: str
    kinds: tuple[str, ...] = ()
    folder: str | None = None
    config: str | None = "config.json"
    stems: tuple[str, ...] = OF_DIFFUSERS
    optional: bool = False

    def file(self, name: str) -> str:
        """A file of the part by its name within the model."""
        folder = self.name if self.folder is None else self.folder
        return f"{folder}/{name}" if folder else name

    @property
    def config_file(self) -> str | None:
        return None if self.config is None else self.file(self.config)


SCHEDULER = Part("scheduler", config="scheduler_config.json", stems=())


@dataclass(frozen=True)
class Tokenizer:
    """Where a model's tokenizer is. `kind`: CLIP's, or a sentencepiece model such as T5's. `files`: any of these groups
    is one."""

    kind: Literal["clip", "t5"]
    folder: str = "tokenizer"

    @property
    def files(self) -> tuple[tuple[str, ...], ...]:
        other = ("vocab.json", "merges.txt") if self.kind == "clip" else ("spiece.model",)
        return tuple(tuple(f"{self.folder}/{name}" for name in group) for group in (("tokenizer.json",), other))


CLIP = Tokenizer("clip")
T5 = Tokenizer("t5")


class Levels(Protocol):
    """The noise levels that a model knows."""

    @property
    def parameterization(self) -> Parameterization: ...

    def schedule(self, steps: int, shape: Sequence[int] | None = None, *, invertible: bool = False) -> Schedule:
        """As Backbone.schedule."""
        ...


def as_it_is(prompt: str) -> str:
    """The prompt unchanged."""
    return prompt


def lowered(prompt: str) -> str:
    """The prompt in small letters, every character where it was."""
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in prompt)


@dataclass(frozen=True)
class Facts:
    """What a model can do. `text_limit`: the columns that its prompts have at most; `prepare` makes of a prompt what
    the model was trained to read, every character staying where it is: only what follows them may be added. `steering`:
    patterns of the layers whose maps localise best. `shared_noise`, `guidance_scale`, `steps`, `eta` and `steady` as
    Backbone's. `per_frame`: a text for every frame can be given. `controls`: what its attentions give can be
    replaced."""

    sizes: Sizes
    levels: Levels
    text_limit: int
    guidance_scale: float
    steering: tuple[str, ...]
    prepare: Callable[[str], str] = as_it_is
    shared_noise: float = 0.0
    steps: int = 20
    eta: float = 0.0
    steady: bool = False
    per_frame: bool = False
    controls: bool = False


@dataclass(frozen=True)
class Known:
    """A published model that has a short name. `sources`: hub ids by the folder of the model that they are, the one it
    is named by first, "" the model itself. `native`: what it was trained on. `disk_gb`: its files, in 10^9 bytes, as
    published or worked out from its configuration; `memory_gb`: what one guided step at that size takes in bf16 with
    recomputed activations, the network alone, estimated from its configuration."""

    name: str
    sources: Mapping[str, str]
    native: Size
    licence: str
    disk_gb: float
    memory_gb: float | None = None


@dataclass(frozen=True)
class Family:
    """Models of one kind. `parts`: the network first. `facts(layout, native)`: what the model in a folder can do;
    `native` where its size is known by its name. `backbone`: "module:class" of its Backbone. `recognises`: whether a
    tree of files is of this family; None: where the network's configuration names one of its kinds. `known`: its
    published models. `second_tokenizer`: a second text encoder's; words are found with the first."""

    name: str
    title: str
    parts: tuple[Part, ...]
    tokenizer: Tokenizer
    facts: Callable[[Layout, Size | None], Facts]
    backbone: str
    known: tuple[Known, ...] = ()
    recognises: Callable[[Tree], bool] | None = None
    second_tokenizer: Tokenizer | None = None

    @property
    def tokenizers(self) -> tuple[Tokenizer, ...]:
        return (self.tokenizer,) if self.second_tokenizer is None else (self.tokenizer, self.second_tokenizer)

    @property
    def network(self) -> Part:
        return self.parts[0]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def is_in(self, tree: Tree) -> bool:
        """Whether the model in `tree` is of this family."""
        if self.recognises is not None:
            return self.recognises(tree)
        config = self.network.config_file
        return config in tree.files() and class_of(tree.read_json(str(config))) in self.network.kinds


def class_of(config: dict[str, Any]) -> str | None:
    """The class that a configuration of diffusers or transformers names."""
    named = config.get("_class_name") or next(iter(config.get("architectures") or ()), None)
    return None if named is None else str(named)

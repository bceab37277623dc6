"""How well a clip's frames fit its prompt and one another, as CLIP sees them (Radford et al., ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vxedit.errors import ModelError
from vxedit.score.weights import find_weights, load_pretrained, model_type

BATCH = 8


@dataclass(frozen=True)
class Similarity:
    """Cosines in [-1, 1]. text: mean over the frames of the prompt's and the frame's, NaN without a prompt; the
    CLIP-SIM of TrailBlazer and others is a hundred times that. frames: mean over neighbouring frames, the frame
    consistency of Esser et al. (ICCV 2023, arXiv 2302.03011), NaN for one frame."""

    text: float
    frames: float


@dataclass(frozen=True)
class TextImage:
    """A CLIP model with its processor."""

    name: str
    network: Any
    processor: Any
    device: torch.device

    @torch.inference_mode()
    def similarity(self, frames: np.ndarray, prompt: str | None) -> Similarity:
        """frames: uint8 (F, H, W, 3). A prompt that is too long is cut off."""
        seen = torch.cat([self._images(frames[i : i + BATCH]) for i in range(0, len(frames), BATCH)])  # (F, d)
        neighbours = (seen[1:] * seen[:-1]).sum(-1)
        text = float("nan") if prompt is None else float((seen @ self._text(prompt)).mean())
        return Similarity(text, float(neighbours.mean()) if len(neighbours) else float("nan"))

    def _images(self, frames: np.ndarray) -> Tensor:
        shown = self.processor.image_processor(list(frames), return_tensors="pt")["pixel_values"]
        pooled = self.network.vision_model(pixel_values=shown.to(self.device)).pooler_output
        return torch.nn.functional.normalize(self.network.visual_projection(pooled).float(), dim=-1)

    def _text(self, prompt: str) -> Tensor:
        length = self.network.config.text_config.max_position_embeddings
        asked = self.processor.tokenizer([prompt], truncation=True, max_length=length, return_tensors="pt")
        pooled = self.network.text_model(input_ids=asked["input_ids"].to(self.device)).pooler_output
        return torch.nn.functional.normalize(self.network.text_projection(pooled).float(), dim=-1)[0]


def load_text_image(name: str, *, device: torch.device, allow_pickle: bool = False) -> TextImage:
    """The CLIP model `name`, a folder or a hub id whose files are in the hub's cache.

    Raises ModelError where it isn't there, isn't one, or can't be read.
    """
    folder = find_weights(name, option="--clip", allow_pickle=allow_pickle)
    if (kind := model_type(folder)) != "clip":
        raise ModelError(f"{name} is of type {kind}: give --clip a CLIP, such as openai/clip-vit-base-patch32")
    from transformers import CLIPModel, CLIPProcessor

    network, processor = load_pretrained(name, folder, CLIPModel, CLIPProcessor, device=device)
    return TextImage(name, network, processor, device)

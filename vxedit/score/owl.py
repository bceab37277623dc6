"""Finds an object by any word, with OWL-ViT (Minderer et al., ECCV 2022, arXiv 2205.06230) or OWLv2 (NeurIPS 2023,
arXiv 2306.09683)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vxedit.errors import ModelError
from vxedit.score.detector import Found
from vxedit.score.weights import find_weights, load_pretrained, model_type

THRESHOLD = 0.1
"""Score above which the best box counts as found; Peekaboo's and TrailBlazer's evaluations both take it."""

BATCH = 4


@dataclass(frozen=True)
class Owl:
    """An open-vocabulary detector. `padded`: the model sees the frame padded to a square at its lower right, as OWLv2
    does; otherwise stretched to one."""

    name: str
    network: Any
    processor: Any
    padded: bool
    device: torch.device

    def find(self, frames: np.ndarray, word: str) -> Found:
        """The box of the highest score in each of frames uint8 (F, H, W, 3), where that is above 0.1.

        The word is the query as it stands, as the published evaluations ask. Boxes are cut at the frame.
        """
        parts = [self._find(frames[i : i + BATCH], word) for i in range(0, len(frames), BATCH)]
        boxes = np.concatenate([boxes for boxes, _ in parts])
        scores = np.concatenate([scores for _, scores in parts])
        boxes = np.clip(boxes, 0, 1)
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(1)
        return Found(np.where(((scores > THRESHOLD) & ~empty)[:, None], boxes, np.nan), scores)

    @torch.inference_mode()
    def _find(self, frames: np.ndarray, word: str) -> tuple[np.ndarray, np.ndarray]:
        length = self.network.config.text_config.max_position_embeddings
        asked = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
        text = self.processor.tokenizer([word] * len(frames), **asked)
        shown = self.processor.image_processor(list(frames), return_tensors="pt")
        seen = self.network(
            input_ids=text["input_ids"].to(self.device),
            attention_mask=text["attention_mask"].to(self.device),
            pixel_values=shown["pixel_values"].to(self.device),
        )
        scores, best = torch.sigmoid(seen.logits[..., 0].float()).max(-1)  # (B, patches) to (B,)
        boxes = seen.pred_boxes.float()[torch.arange(len(frames)), best].cpu().numpy().astype(float)  # (B, 4) cx cy w h
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        height, width = frames.shape[1:3]
        if self.padded:
            corners = corners * max(height, width) / (width, height, width, height)
        return corners, scores.cpu().numpy().astype(float)


def load_owl(name: str, *, device: torch.device, allow_pickle: bool = False) -> Owl:
    """The detector `name`, a folder or a hub id whose files are in the hub's cache.

    Raises ModelError where it isn't there, isn't one, or can't be read.
    """
    folder = find_weights(name, option="--owl", allow_pickle=allow_pickle)
    kind = model_type(folder)
    if kind not in ("owlvit", "owlv2"):
        raise ModelError(
            f"{name} is of type {kind}: give --owl an OWL-ViT or OWLv2, such as google/owlvit-large-patch14"
        )
    import transformers

    classes = {
        "owlvit": ("OwlViTForObjectDetection", "OwlViTProcessor"),
        "owlv2": ("Owlv2ForObjectDetection", "Owlv2Processor"),
    }
    network_class, processor_class = (getattr(transformers, each) for each in classes[kind])
    network, processor = load_pretrained(name, folder, network_class, processor_class, device=device)
    return Owl(f"{kind} {name}", network, processor, kind == "owlv2", device)

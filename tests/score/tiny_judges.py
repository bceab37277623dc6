"""OWL-ViT, OWLv2 and CLIP of random weights, in the layout that the hub has them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from vxedit.train.tokenizer import write_tokenizer

SIDE = 32
"""Pixels of the square that they see."""

PREPROCESSING: dict[str, dict[str, Any]] = {
    "owlvit": {"image_processor_type": "OwlViTImageProcessor", "size": {"height": SIDE, "width": SIDE}},
    "owlv2": {"image_processor_type": "Owlv2ImageProcessor", "size": {"height": SIDE, "width": SIDE}},
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
    },
}


def write_judge(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Write a model of `kind`, "owlvit", "owlv2" or "clip", into `folder` and give the folder back."""
    import transformers

    words = write_tokenizer(folder)
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**layers, "vocab_size": words, "max_position_embeddings": 16, "pad_token_id": 0}
    text |= {"bos_token_id": words - 2, "eos_token_id": words - 1}
    vision = {**layers, "image_size": SIDE, "patch_size": 8}
    config_class, model_class = {
        "owlvit": ("OwlViTConfig", "OwlViTForObjectDetection"),
        "owlv2": ("Owlv2Config", "Owlv2ForObjectDetection"),
        "clip": ("CLIPConfig", "CLIPModel"),
    }[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = getattr(transformers, config_class)(text_config=text, vision_config=vision, projection_dim=16)
        network = getattr(transformers, model_class)(config)
        for parameter in network.parameters():  # as they come the boxes hardly differ
            torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING[kind]))
    return folder

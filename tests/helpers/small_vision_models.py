"""Small vision models of transformers with random weights, saved as a hub folder is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IMAGE = {"image_size": 32, "patch_size": 8}


def _of(name: str, **settings: Any) -> Callable[[], Any]:
    config = getattr(transformers, name.replace("Model", "Config").replace("ForImageClassification", "Config"))
    return lambda: getattr(transformers, name)(config(**{**SIZE, **IMAGE, **settings}))


TOKENS = {"vocab_size": 32, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
TEXT = {**SIZE, **TOKENS}
MODELS: dict[str, Callable[[], Any]] = {
    "clip": lambda: transformers.CLIPModel(transformers.CLIPConfig(text_config=TEXT, vision_config={**SIZE, **IMAGE})),
    "clip-vision": _of("CLIPVisionModel"),
    "siglip-vision": _of("SiglipVisionModel"),
    "dinov2": _of("Dinov2Model"),
    "dinov2-registers": _of("Dinov2WithRegistersModel", num_register_tokens=3),
    "vit": _of("ViTModel"),
    "vit-classifier": _of("ViTForImageClassification"),
    "siglip2-naflex": _of("Siglip2VisionModel", num_patches=16),
    "videomae": _of("VideoMAEModel", num_frames=4),
    "timesformer": _of("TimesformerModel", num_frames=4),
    "vivit": _of("VivitModel", num_frames=4, tubelet_size=[2, 8, 8]),
    "vjepa2": _of("VJEPA2Model", frames_per_clip=4, crop_size=32, pred_hidden_size=16, pred_num_attention_heads=2),
    "vitmae": _of("ViTMAEModel"),
    "hiera": lambda: transformers.HieraModel(
        transformers.HieraConfig(
            image_size=[32, 32],
            embed_dim=8,
            depths=[1, 1],
            num_heads=[1, 1],
            masked_unit_size=[2, 2],
            query_stride=[2, 2],
            num_query_pool=1,
        )
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ),
    "convnext": lambda: transformers.ConvNextModel(
        transformers.ConvNextConfig(image_size=32, num_stages=2, hidden_sizes=[8, 16], depths=[1, 1])
    ),
    "bert": _of("BertModel", vocab_size=32),
}


def make_vision_model(kind: str, folder: Path, **processor: Any) -> Any:
    """Saves a model of this kind, with the settings of its image processor if there are any; returns it in evaluation
    mode."""
    torch.manual_seed(3)
    model = MODELS[kind]()
    model.save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model.eval()

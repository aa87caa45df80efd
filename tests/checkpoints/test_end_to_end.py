"""Encoder and LLM trained together, on disk."""

from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.end_to_end import load_end_to_end, save_end_to_end
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.visual import new_encoder
from slt_cache.config import EncoderConfig, LoraConfig, VideoConfig
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import SignTranslator, VisualTranslator
from slt_cache.text.tokenizer import Tokenizer
from tests.helpers.caches import spec_of
from tests.helpers.toy_training import assert_same


def test_the_frozen_llm_of_a_joint_training_is_written_once(
    tokenizer: Tokenizer, small_mbart: Any, small_video: VideoConfig, tmp_path: Path
) -> None:
    encoder = EncoderConfig(weights="none", dim=32)
    lora = LoraConfig(r=2)
    add_lora(small_mbart, lora)
    model = VisualTranslator(new_encoder(encoder, small_video), SignTranslator(32, small_mbart, tokenizer.start))
    llm = {"name": "small-mbart", "lora": lora.recorded()}
    settings = {
        "encoder": encoder.model_dump(mode="json"),
        "video": small_video.recorded(),
        "features": spec_of(dim=32).to_json(),
        "language": tokenizer.language,
        "llm": llm,
    }
    record, best = Record("joint", settings, finished=True), tmp_path / "best"
    save_end_to_end(best, model, tokenizer, record, record)
    weights = best / "llm" / "model.safetensors"
    before = weights.stat().st_ino
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(1e-3)
    save_end_to_end(best, model, tokenizer, record, record)
    assert weights.stat().st_ino == before
    loaded = load_end_to_end(best, "train-joint").model
    assert_same(dict(loaded.named_parameters()), dict(model.named_parameters()))

"""Stage 1 on disk."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_model

from slt_cache.checkpoints.record import Record, save_record
from slt_cache.checkpoints.visual import load_visual, new_visual_translator, save_visual
from slt_cache.config import (
    EncoderConfig,
    LightTConfig,
    VideoConfig,
)
from slt_cache.text.tokenizer import Tokenizer
from tests.helpers.toy_training import assert_same


def test_equal_weights_are_equal_bytes_and_files_of_older_versions_are_read(
    tokenizer: Tokenizer, small_video: VideoConfig, tmp_path: Path
) -> None:
    encoder, light_t = EncoderConfig(weights="none", dim=32), LightTConfig(size="tiny")
    model = new_visual_translator(encoder, small_video, light_t, tokenizer)
    settings = {
        "encoder": encoder.model_dump(mode="json"),
        "video": small_video.recorded(),
        "light_t": light_t.model_dump(mode="json"),
        "tokenizer": {"language": tokenizer.language},
    }
    best = tmp_path / "visual" / "best"
    save_visual(best, model, tokenizer, Record("stage 1", settings, finished=True))
    with safe_open(best / "light_t.safetensors", "pt") as file:
        names = list(file.keys())
        assert not file.metadata()
    aliases = [
        name for name in model.translator.state_dict() if name.endswith(("embed_tokens.weight", "lm_head.weight"))
    ]
    assert [name for name in names if name in aliases] == [min(aliases)]
    assert_same(load_visual(best).model.state_dict(), model.state_dict())
    save_model(model.translator, str(best / "light_t.safetensors"))
    save_record(best, Record("stage 1", settings, finished=True))
    assert_same(load_visual(best).model.state_dict(), model.state_dict())


def test_the_smallest_light_t_and_encoder_make_stage_1(tokenizer: Tokenizer, small_video: VideoConfig) -> None:
    model = new_visual_translator(
        EncoderConfig(weights="none", dim=32), small_video, LightTConfig(size="tiny", dropout=0.25), tokenizer
    )
    assert model.encoder.dim == 32
    assert model.translator.seq2seq.config.vocab_size == len(tokenizer)
    assert model.translator.seq2seq.config.dropout == 0.25
    assert model.translator.start == tokenizer.start

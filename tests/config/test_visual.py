"""Settings of the visual encoder."""

from slt_cache.config import EncoderConfig


def test_what_changes_no_numbers_is_not_recorded() -> None:
    before = {"backbone": "resnet18", "weights": "imagenet", "dim": 512, "kernel": 5}
    assert EncoderConfig().recorded() == EncoderConfig(checkpointing=True).recorded() == before
    assert EncoderConfig(chunk_frames=64).recorded() == {**before, "chunk_frames": 64}
    assert EncoderConfig.model_validate(EncoderConfig(chunk_frames=64).recorded()).chunk_frames == 64

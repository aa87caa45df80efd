"""Settings of the visual encoder."""

from pathlib import Path

import pytest

from slt_cache.config import EncoderConfig, load_config


def test_what_changes_no_numbers_is_not_recorded() -> None:
    before = {"backbone": "resnet18", "weights": "imagenet", "dim": 512, "kernel": 5}
    assert EncoderConfig().recorded() == EncoderConfig(checkpointing=True).recorded() == before
    assert EncoderConfig(chunk_frames=64).recorded() == {**before, "chunk_frames": 64}
    assert EncoderConfig.model_validate(EncoderConfig(chunk_frames=64).recorded()).chunk_frames == 64


@pytest.mark.parametrize(
    ("written", "words", "weights"),
    [
        ("{weights: none}", ["name=resnet18"], "imagenet"),
        ("{weights: none}", ["name=torchvision:vit_b_16"], "imagenet"),
        ("{weights: stage_1.pth}", ["name=efficientnet-lite0"], "imagenet"),
        ("{weights: none}", ["name=resnet18", "weights=none"], "none"),
        ("{}", ["weights=mine.pth", "name=resnet18"], "mine.pth"),
        ("{name: resnet18, weights: none}", [], "none"),
        ("{name: resnet18, weights: none}", ["name=torchvision:resnet18"], "none"),
        ("{name: resnet18, weights: none}", ["name=resnet34"], "imagenet"),
        ("{name: resnet18, weights: none}", ["weights=imagenet"], "imagenet"),
        ("{name: resnet18, weights: none, named_weights: mine.pth}", [], "mine.pth"),
        ("{name: resnet18, named_weights: mine.pth}", ["weights=none"], "none"),
        ("{name: 'hf:model', weights: none}", ["name=resnet18"], "imagenet"),
        ("{weights: none}", ["name=hf:model"], "none"),
        ("{name: resnet18}", [], "imagenet"),
    ],
)
def test_a_network_used_as_it_comes_has_imagenet_weights_unless_others_are_given_with_its_name(
    tmp_path: Path, written: str, words: list[str], weights: str
) -> None:
    (tmp_path / "mine.yaml").write_text(f"encoder: {written}\n", encoding="utf-8")
    encoder = load_config(str(tmp_path / "mine.yaml"), [f"encoder.{word}" for word in words]).encoder
    assert encoder.as_named().weights == weights


def test_the_weights_of_a_network_used_as_it_comes_are_not_those_of_stage_1() -> None:
    assert (
        load_config("avatar", ["encoder.name=resnet18"]).encoder.recorded() == load_config("avatar").encoder.recorded()
    )

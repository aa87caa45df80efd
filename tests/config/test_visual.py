"""Settings of the visual encoder."""

from pathlib import Path

import pytest

from slt_cache.config import EncoderConfig, load_config, save_config
from slt_cache.runs.run import open_run


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
        ("{name: resnet18, weights: none}", ["name=resnet18", "weights=imagenet"], "imagenet"),
        ("{name: resnet18, weights: none}", ["weights=imagenet"], "none"),
        ("{name: resnet18, weights: none}", ["name=resnet34", "named_weights=mine.pth", "weights=none"], "mine.pth"),
        ("{weights: none}", ["name=resnet18", "named_weights=null"], "none"),
        ("{name: resnet18, weights: none}", ["name=resnet34", "weights=mine.pth", "name=resnet18"], "mine.pth"),
        ("{name: resnet18, weights: none, named_weights: mine.pth}", [], "mine.pth"),
        ("{name: resnet18, named_weights: mine.pth}", ["weights=none"], "mine.pth"),
        ("{name: resnet18, named_weights: mine.pth}", ["name=resnet18", "weights=none"], "none"),
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


@pytest.mark.parametrize(
    ("command", "written", "words", "of_stage_1", "of_named"),
    [
        ("train-visual", "{name: resnet18, named_weights: r18.pth}", ["weights=none"], "none", "r18.pth"),
        ("train-visual", "{name: resnet18}", ["weights=none"], "none", "imagenet"),
        ("train-joint", "{weights: none}", ["name=resnet18", "weights=mine.pth"], "mine.pth", "imagenet"),
        ("demo", "{name: resnet18, named_weights: r18.pth}", ["weights=none"], "none", "r18.pth"),
        ("bench visual", "{name: resnet18, weights: a.pth}", ["weights=none"], "none", "a.pth"),
        ("extract-features", "{weights: imagenet}", ["name=resnet18", "weights=none"], "imagenet", "none"),
        ("extract-features", "{name: resnet18, weights: a.pth}", [" weights = none"], "a.pth", "none"),
        ("translate", "{name: resnet18, named_weights: r18.pth}", ["weights=none"], "imagenet", "none"),
        ("cache verify", "{name: 'hf:model'}", ["weights=none"], "none", "none"),
        ("prepare", "{weights: imagenet}", ["weights=none", "name=resnet18"], "imagenet", "none"),
        ("report", "{name: resnet18}", ["weights=none"], "none", "imagenet"),
    ],
)
def test_weights_on_a_command_line_are_those_of_what_the_command_uses(
    tmp_path: Path, command: str, written: str, words: list[str], of_stage_1: str, of_named: str
) -> None:
    (tmp_path / "config.yaml").write_text(f"encoder: {written}\n", encoding="utf-8")
    settings = [f"encoder.{word.strip()}" for word in words]
    run = open_run(tmp_path, overrides=settings, for_command=command, device="cpu")
    for config in (run.config, run.lasting):
        assert config is not None
        assert (config.encoder.weights, config.encoder.as_named().weights) == (of_stage_1, of_named)
    save_config(run.config, tmp_path / "config.yaml")
    assert open_run(tmp_path).config.encoder == run.config.encoder


def test_the_weights_of_a_network_used_as_it_comes_are_not_those_of_stage_1() -> None:
    assert (
        load_config("avatar", ["encoder.name=resnet18"]).encoder.recorded() == load_config("avatar").encoder.recorded()
    )

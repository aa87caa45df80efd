"""Where the named encoders of a run are: names without folders, and files that last."""

from pathlib import Path

import pytest

from slt_cache.config import Config, EncoderConfig
from slt_cache.encoders.names import is_same_name, lasting, travelling
from slt_cache.features.spec import FeatureSpec
from slt_cache.runs.encoders import record_encoder, recorded_encoder, take_encoders, with_overrides
from slt_cache.runs.run import Run


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("command:/a/b/program --width 6", "command:program --width 6", True),
        ("command:'/a b/c d/program' --weights /e/f/w.bin", "command:program --weights w.bin", True),
        ("command:/a/b/program --width 6", "command:program --width 7", False),
        ("command:/a/program", "hf:program", False),
        ("hf:/a b/c/model", "hf:model", True),
        ("resnet18", "torchvision:resnet18", True),
        ("resnet18", "resnet34", False),
        ("command:it's", "command:it's", True),
    ],
)
def test_names_of_encoders_are_compared_without_folders(one: str, other: str, same: bool) -> None:
    assert is_same_name(one, other) is same


def test_settings_of_an_encoder_last_and_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    for name in ("a b/program", "w.bin"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    program = EncoderConfig(name="command:'a b/program' --weights w.bin 6", weights="imagenet", python="python")
    kept = lasting(program)
    assert kept.name == f"command:'{tmp_path}/a b/program' --weights {tmp_path}/w.bin 6"
    assert (kept.weights, kept.python, travelling(kept).python) == ("imagenet", "python", None)
    assert travelling(kept).name == travelling(program).name == "command:program --weights w.bin 6"
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "mediapipe").mkdir()
    for name in ("pose:mediapipe", "torchvision:resnet18", "hf:org/model", "efficientnet-lite0"):
        assert lasting(EncoderConfig(name=name)) == travelling(EncoderConfig(name=name)) == EncoderConfig(name=name)
    folder = EncoderConfig(name="hf:a b", weights="w.bin")
    assert lasting(folder).name == f"hf:{tmp_path}/a b" and travelling(lasting(folder)).name == "hf:a b"
    assert (lasting(folder).weights, travelling(folder).weights) == (str(tmp_path / "w.bin"), "w.bin")


@pytest.mark.parametrize(
    ("setting", "name", "weights"),
    [
        ("encoder.named_weights", "torchvision:resnet18", "moved.pth"),
        ("encoder.named_weights", "resnet34", "a.pth"),
        ("encoder.python", "resnet18", "a.pth"),
    ],
)
def test_weights_on_a_command_line_are_those_of_the_streams_of_that_network(
    setting: str, name: str, weights: str
) -> None:
    asked = EncoderConfig(name="resnet18", named_weights="moved.pth")
    found = with_overrides(EncoderConfig(name=name, weights="a.pth"), [f"{setting}=moved.pth"], asked)
    assert (found.name, found.as_named().weights) == (name, weights)


def test_a_training_takes_what_the_folder_of_a_cache_knows_of_its_encoder(tmp_path: Path) -> None:
    spec = FeatureSpec("a" * 64, "frame", 2, "float16", encoder="resnet18")
    named = Config(encoder=EncoderConfig(name="resnet18", weights=str(tmp_path / "w.pth"), dim=3))
    record_encoder(Run(tmp_path / "one", named), spec)
    run = Run(tmp_path / "two", Config())
    take_encoders(run, {tmp_path / "one" / "feats.h5": spec, tmp_path / "none.h5": spec})
    found = recorded_encoder(run, spec)
    assert found is not None
    assert (found.name, found.weights, found.dim) == ("resnet18", str(tmp_path / "w.pth"), 512)
    assert recorded_encoder(run, FeatureSpec("b" * 64, "frame", 2, "float16", encoder="resnet18")) is None

"""The training record: what an older one means, and what it is compared with."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import OtherSettings, Record, identity_of, read_record, require_same, write_record
from slt_cache.config import EncoderConfig
from slt_cache.features.spec import IMPORTED, FeatureSpec
from tests.helpers.caches import spec_of


def settings_of(backbone: str) -> dict[str, object]:
    return {
        "encoder": EncoderConfig(backbone=backbone).recorded(),
        "features": spec_of(backbone=backbone).to_json(),
        "seed": 1,
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A record from before backbones were named."""
    spec = json.loads(spec_of().to_json())
    del spec["backbone"]
    encoder = {"weights": "imagenet", "dim": 512, "kernel": 5}
    settings = {"encoder": encoder, "features": json.dumps(spec, sort_keys=True), "seed": 1}
    write_record(tmp_path, Record("stage", settings))
    return tmp_path


def test_a_record_from_before_backbones_were_named_is_one_of_resnet18(old: Path) -> None:
    record = read_record(old)
    assert record is not None
    assert record.settings == settings_of("resnet18")
    require_same(old, record, settings_of("resnet18"), "slt-cache train")


def test_a_record_of_another_backbone_is_refused_with_both_names(old: Path) -> None:
    record = read_record(old)
    assert record is not None
    with pytest.raises(OtherSettings, match=r"encoder\.backbone: made with resnet18, asked for resnet34"):
        require_same(old, record, settings_of("resnet34"), "slt-cache train")


@pytest.mark.parametrize("streams", [False, True], ids=["one", "several"])
def test_a_record_of_an_imported_stream_without_a_name_fits_any_but_two_names_differ(
    streams: bool, tmp_path: Path
) -> None:
    def settings(stream: str | None) -> dict[str, object]:
        text = FeatureSpec(None, IMPORTED, 8, "float32", source="spamo", stream=stream).to_json()
        return {"streams": {"a": {"features": json.loads(text)}}} if streams else {"features": text}

    unnamed, first, second = (settings(stream) for stream in (None, "_a", "_b"))
    for made, asked in ((unnamed, first), (first, unnamed), (first, first)):
        require_same(tmp_path, Record("stage", made), asked, "slt-cache train")
    with pytest.raises(OtherSettings, match=r"features\.stream: made with _a, asked for _b"):
        require_same(tmp_path, Record("stage", first), second, "slt-cache train")


def test_naming_the_backbone_makes_no_other_weights(old: Path) -> None:
    before = json.loads((old / "record.json").read_text())
    record = read_record(old)
    assert record is not None
    assert identity_of(asdict(record)) == identity_of(before)
    other = replace(record, settings=settings_of("resnet34"))
    assert identity_of(asdict(other)) != identity_of(before)

"""The spec of a cache: its text and hash, and what differs between two."""

import hashlib
import json
from dataclasses import fields
from typing import Any

import pytest

from slt_cache.features.cache import FeatureCache, FeaturesDiffer
from slt_cache.features.spec import FeatureSpec
from tests.helpers.caches import (
    spec_of,
    spec_with_views,
)

OTHERS: dict[str, Any] = {
    "encoder_sha256": "b" * 64,
    "level": "frame",
    "dim": 7,
    "dtype": "float32",
    "precision": "bf16",
    "keep_rate": 0.5,
    "resize": 255,
    "crop": 223,
    "fit": "crop",
    "blank": True,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.2, 0.2, 0.2),
    "decoder": "other",
    "views": 2,
    "view_seed": 0,
    "augmentation": {"phase": False},
    "source": "another lab",
    "fps": 12.5,
    "backbone": "resnet34",
    "encoder": "hf:another",
    "window": 16,
    "stride": 8,
    "options": {"scales": [1, 2]},
    "boxes": True,
    "stream": "_mae",
}


@pytest.mark.parametrize("spec", [spec_of(), spec_of("float32", keep_rate=0.125), spec_with_views(3)])
def test_a_spec_comes_back_from_json(spec: FeatureSpec) -> None:
    assert FeatureSpec.from_json(spec.to_json()) == spec
    assert FeatureSpec.from_json(spec.to_json()).sha256 == spec.sha256


def test_a_spec_from_before_backbones_were_named_is_one_of_resnet18() -> None:
    old = {name: value for name, value in json.loads(spec_of().to_json()).items() if name != "backbone"}
    text = json.dumps(old, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("5cc6a8e52448dd58")
    assert FeatureSpec.from_json(text) == spec_of(backbone="resnet18")
    assert FeatureSpec.from_json(text).differences(spec_of(backbone="resnet34")) == [
        "backbone: file resnet18, this run resnet34"
    ]


def test_imported_features_have_no_backbone() -> None:
    spec = FeatureSpec(None, "imported", 8, "float32", source="i3d")
    assert spec.backbone is None
    assert "backbone" not in json.loads(spec.to_json())
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_an_imported_stream_without_a_name_fits_any_but_two_names_differ() -> None:
    unnamed, first, second = (
        FeatureSpec(None, "imported", 8, "float32", source="spamo", stream=stream) for stream in (None, "_a", "_b")
    )
    assert "stream" not in json.loads(unnamed.to_json())
    assert not unnamed.differences(first)
    assert not first.differences(unnamed)
    assert first.differences(second) == ["stream: file _a, this run _b"]


def test_the_hash_of_a_spec_is_stable_and_tells_every_field() -> None:
    # Another value would mean that the text of a spec has changed.
    assert spec_of().sha256 == "b0e252446cb6685f7de4484af331a0cb52e46471cd11ec568e62425a9adef98e"
    assert set(OTHERS) == {field.name for field in fields(FeatureSpec)}
    hashes = {spec_of(**{name: value}).sha256 for name, value in OTHERS.items()} | {spec_of().sha256}
    assert len(hashes) == len(OTHERS) + 1


@pytest.mark.parametrize("name", [field.name for field in fields(FeatureSpec)])
def test_features_of_another_spec_are_refused_with_the_field_and_both_values(cache: FeatureCache, name: str) -> None:
    cache.require_spec(spec_of())
    file, run = getattr(spec_of(), name), OTHERS[name]
    if name == "encoder_sha256":
        file, run = "aaaaaaaaaaaa...", "bbbbbbbbbbbb..."
    for asked in (spec_of(**{name: OTHERS[name]}), {name: OTHERS[name]}):
        with pytest.raises(FeaturesDiffer) as refused:
            cache.require_spec(asked)
        assert refused.value.fields == f"{name}: file {file}, this run {run}"
        assert f"{cache.path} (train) holds other features" in str(refused.value)
        assert f"({name}: file {file}, this run {run})" in str(refused.value)
        new = cache.path.with_name("NEW.h5")
        assert f"(slt-cache extract-features --features {new})" in str(refused.value)


def test_of_a_mapping_only_its_fields_are_compared(cache: FeatureCache) -> None:
    cache.require_spec({})
    cache.require_spec({"level": "sign", "mean": (0.485, 0.456, 0.406), "view_seed": None})
    with pytest.raises(FeaturesDiffer) as refused:
        cache.require_spec({"level": "sign", "crop": 112, "resize": 128})
    assert refused.value.fields == "resize: file 256, this run 128; crop: file 224, this run 112"

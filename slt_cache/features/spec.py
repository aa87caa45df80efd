"""What decides the numbers in a feature cache. Knows nothing of videos or models."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slt_cache.reading import parsed

IMPORTED = "imported"
"""Level of features that were made elsewhere."""
UNNAMED_BACKBONE = "resnet18"
"""Backbone of features and trainings that name none: when they were made there was no other."""


@dataclass(frozen=True)
class FeatureSpec:
    """Two caches with equal specs hold the same numbers, on the same kind of device."""

    encoder_sha256: str | None
    """Over the tensors of the visual encoder (and, for hidden, of VL-Adapter and Light-T); None where imported."""
    level: str
    """frame, sign or hidden (method.md, table 8); or imported."""
    dim: int
    """C"""
    dtype: str
    precision: str | None = None
    """In which the encoder was run: fp32, bf16 or fp16."""
    keep_rate: float | None = None
    resize: int | None = None
    """Pixels"""
    crop: int | None = None
    """Pixels"""
    fit: str | None = None
    blank: bool | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    decoder: str | None = None
    views: int = 1
    """Of each clip; view 0 is plain, the others are augmented."""
    view_seed: int | None = None
    """Of the augmented views; None where there are none."""
    augmentation: Mapping[str, Any] | None = None
    """Settings of the augmented views; None where there are none."""
    source: str | None = None
    """What made imported features, as their importer named it."""
    fps: float | None = None
    """Frames a second to which clips were resampled before the keep rate; None where at the video's own."""
    backbone: str | None = None
    """Network of the visual encoder, as `encoder.backbone` names it; None where imported."""

    def __post_init__(self) -> None:
        if self.backbone is None and self.level != IMPORTED:
            object.__setattr__(self, "backbone", UNNAMED_BACKBONE)

    def to_json(self) -> str:
        """Returns the spec as a cache holds it, without `fps` and `backbone` where they are None."""
        fields = asdict(self)
        unset = {name for name in ("fps", "backbone") if not fields[name]}
        return json.dumps({name: fields[name] for name in fields if name not in unset}, sort_keys=True)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> "FeatureSpec":
        """Raises ValueError for anything but an object of these fields, each of its type."""
        return parsed(cls, text)

    def differences(
        self, asked: "FeatureSpec | Mapping[str, Any]", here: str = "file", there: str = "this run"
    ) -> list[str]:
        """`field: file x, this run y` for every field that differs; of a mapping, only the fields that it has."""
        made = asdict(self)
        wanted = asdict(asked) if isinstance(asked, FeatureSpec) else asked
        return [
            f"{name}: {here} {_short(value)}, {there} {_short(wanted[name])}"
            for name, value in made.items()
            if name in wanted and value != wanted[name]
        ]


def _short(value: Any) -> str:
    """A hash by its beginning, anything else whole."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text

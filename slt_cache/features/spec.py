"""What decides the numbers in a feature cache. Knows nothing of videos or models."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FeatureSpec:
    """Two caches with equal specs hold the same numbers, on the same kind of device."""

    encoder_sha256: str
    """Over the tensors of the visual encoder (and, for hidden, of VL-Adapter and Light-T)."""
    level: str
    """frame, sign or hidden (method.md, table 8)."""
    dim: int
    """C"""
    dtype: str
    keep_rate: float
    resize: int
    """Pixels"""
    crop: int
    """Pixels"""
    fit: str
    blank: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    views: int = 1
    decoder: str = "decord"

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> "FeatureSpec":
        values: dict[str, Any] = json.loads(text)
        for name in ("mean", "std"):
            values[name] = tuple(values[name])
        return cls(**values)

    def differences(self, asked: "FeatureSpec") -> list[str]:
        """`field: file x, this run y` for every field that differs."""
        made, wanted = asdict(self), asdict(asked)
        return [
            f"{name}: file {_short(value)}, this run {_short(wanted[name])}"
            for name, value in made.items()
            if value != wanted[name]
        ]


def _short(value: Any) -> str:
    """A hash by its beginning, anything else whole."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text

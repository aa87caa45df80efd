"""The spec: everything that determines the numbers in a feature cache. Knows nothing of videos or models."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slt_cache.reading import parsed

IMPORTED = "imported"
"""Level of features that were made elsewhere."""
UNNAMED_BACKBONE = "resnet18"
"""Backbone of features and trainings that name none, which were made when there was no other."""

LATER = ("fps", "backbone", "encoder", "window", "stride", "options", "boxes", "stream")
"""Fields that were added later, and are stored only if they are set."""


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that determines the features: caches with equal specs hold the same numbers on the same device
    type."""

    encoder_sha256: str | None
    """Hash of the tensors of the visual encoder (and, for hidden, of VL-Adapter and Light-T); None if imported."""
    level: str
    """frame, sign or hidden (method.md, table 8); or imported."""
    dim: int
    """C, feature channels; 0 where only the features themselves tell, in a spec to compare with."""
    dtype: str
    precision: str | None = None
    """Precision of the encoder: fp32, bf16 or fp16."""
    keep_rate: float | None = None
    resize: int | None = None
    """Pixels; side of the square to which frames are scaled."""
    crop: int | None = None
    """Pixels; side of the crop."""
    fit: str | None = None
    blank: bool | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    decoder: str | None = None
    views: int = 1
    """Number of views per clip; view 0 is not augmented, the others are."""
    view_seed: int | None = None
    """Random seed of the augmented views; None if there are none."""
    augmentation: Mapping[str, Any] | None = None
    """Settings of the augmented views; None if there are none."""
    source: str | None = None
    """Origin of imported features, as named at import."""
    fps: float | None = None
    """Frame rate to which clips were resampled before the keep rate; None for the video's own."""
    backbone: str | None = None
    """Network of the visual encoder, as in `encoder.backbone`; None if imported, or made by a named encoder."""
    encoder: str | None = None
    """Named encoder (`encoder.name`), without the folders of a path; None for that of stage 1, or if imported."""
    window: int | None = None
    """Kept frames that each time step sees; None for one."""
    stride: int | None = None
    """Kept frames between the starts of two windows; None without windows."""
    options: Mapping[str, Any] | None = None
    """Further settings of a named encoder that determine the features."""
    boxes: bool | None = None
    """Whether frames were cropped to the boxes of the manifest; None for whole frames."""
    stream: str | None = None
    """Which of several features of each clip were imported; None if they have no name."""

    def __post_init__(self) -> None:
        if self.backbone is None and self.encoder is None and self.level != IMPORTED:
            object.__setattr__(self, "backbone", UNNAMED_BACKBONE)

    def to_json(self) -> str:
        """Returns the spec as it is stored, without the fields in LATER that are None."""
        fields = asdict(self)
        unset = {name for name in LATER if not fields[name]}
        return json.dumps({name: fields[name] for name in fields if name not in unset}, sort_keys=True)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> "FeatureSpec":
        """Parses a spec. Raises ValueError for anything but an object with these fields of these types."""
        return parsed(cls, text)

    def differences(
        self, asked: "FeatureSpec | Mapping[str, Any]", here: str = "file", there: str = "this run"
    ) -> list[str]:
        """Returns `field: file x, this run y` for every field that differs; a mapping may have only some fields. The
        name of an encoder does not count where its hash is the same, since a folder may have any name; nor does a
        stream that only one of them names, since imports did not always record it."""
        own = asdict(self)
        other = asdict(asked) if isinstance(asked, FeatureSpec) else asked
        known = own["encoder"] and own["encoder_sha256"] == other.get("encoder_sha256")
        return [
            f"{name}: {here} {_short(value)}, {there} {_short(other[name])}"
            for name, value in own.items()
            if name in other
            and value != other[name]
            and not (known and name == "encoder")
            and not (name == "dim" and 0 in (value, other[name]))
            and not (name == "stream" and self.level == IMPORTED and None in (value, other[name]))
        ]


Specs = FeatureSpec | Mapping[str, FeatureSpec]
"""Spec of the features that a model reads, or that of each of its streams, by name."""


def streams_of(settings: Mapping[str, Any]) -> dict[str, FeatureSpec]:
    """Returns the spec of each stream that a training read, by name, in their order; none if there was one stream."""
    streams = sorted(settings.get("streams", {}).items(), key=lambda item: int(item[1]["place"]))
    return {name: FeatureSpec.from_json(json.dumps(one["features"])) for name, one in streams}


def specs_of(settings: Mapping[str, Any]) -> Specs:
    """Returns the spec of the features that a training read, or that of each of its streams."""
    return streams_of(settings) or FeatureSpec.from_json(settings["features"])


def by_name(specs: Specs) -> Mapping[str, FeatureSpec]:
    """Returns the spec of each stream by name, that of a single stream without a name."""
    return {"": specs} if isinstance(specs, FeatureSpec) else specs


def _short(value: Any) -> str:
    """Abbreviates a hash; anything else is returned in full."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text

"""Holistic landmarks of MediaPipe as features: `pose:mediapipe`. Body, hands and some of the face, normalized to the
shoulders. MediaPipe runs where the frames are read (video/landmarks.py); this file selects and normalizes its output.

Each point has four channels: x, y, z and visibility (CHANNELS has their names). In each frame the origin of x and y is
the middle of the shoulders, and the unit is their distance; x grows to the right of the image, y downwards, z away from
the camera. The origin of z is the middle of the shoulders for the body, the wrist for a hand, and the centre of the
head for the face. Visibility is MediaPipe's, 0 to 1, for the body; for hands and face it is 1. All four are 0 where
MediaPipe found nothing: nothing is interpolated.

Shoulders that were not found, are hardly visible, or nearly coincide are replaced by the medians of origin and unit
over the clip's other frames; where it has none, by the middle and a quarter of the width of the frame."""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
import torch

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.base import NamedEncoder, UnreachableWeights
from slt_cache.encoders.own_reader import OwnReader
from slt_cache.errors import InputError
from slt_cache.holistic.child import NoMediaPipe, installed, missing

_PARTS = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hip", "knee", "ankle", "heel", "foot_index")
BODY = (
    "nose",
    *(f"{side}_eye{part}" for side in ("left", "right") for part in ("_inner", "", "_outer")),
    *(f"{side}_ear" for side in ("left", "right")),
    *(f"mouth_{side}" for side in ("left", "right")),
    *(f"{side}_{part}" for part in _PARTS for side in ("left", "right")),
)
"""Points of the body, in MediaPipe's order; left is the person's left."""
HAND = (
    "wrist",
    *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip")),
    *(f"{finger}_{joint}" for finger in ("index", "middle", "ring", "pinky") for joint in ("mcp", "pip", "dip", "tip")),
)
"""Points of a hand, in MediaPipe's order."""
FACE = (
    *(61, 37, 0, 267, 291, 314, 17, 84),  # outer edge of the lips, from the right corner over the upper lip
    *(78, 81, 13, 311, 308, 402, 14, 178),  # inner edge
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # right and left eyebrow
    *(33, 159, 133, 145, 362, 386, 263, 374),  # right and left eye: corners, upper and lower lid
    *(1, 10, 152, 234, 454),  # tip of the nose, forehead, chin, cheeks
)
"""Points of the face, by their number in MediaPipe's face mesh."""
POINTS = (
    *(f"body.{name}" for name in BODY),
    *(f"{side}_hand.{name}" for side in ("left", "right") for name in HAND),
    *(f"face.{number}" for number in FACE),
)
CHANNELS = tuple(f"{point}.{channel}" for point in POINTS for channel in ("x", "y", "z", "visibility"))
"""Names of the channels, in order."""
_NUMBERS = np.array([*range(75), *(75 + number for number in FACE)])
"""Numbers of the points among MediaPipe's landmarks."""
_SHOULDERS = [BODY.index("left_shoulder"), BODY.index("right_shoulder")]
LEAST_VISIBLE = 0.5
"""Visibility of each shoulder below which they are replaced."""
CLOSEST = 0.02
"""Distance of the shoulders, in widths of the frame, below which they are replaced."""
RULE = 1
"""Version of selection and normalization, which changes with the numbers that they give."""
LICENCE = "Apache-2.0 (MediaPipe, code and models)"


def normalized(landmarks: np.ndarray) -> np.ndarray:
    """Selects and normalizes the landmarks of one clip, as `LandmarkReader` gives them: float32 [T', 543, 4], NaN where
    nothing was found, to float32 [T', C]."""
    origin, unit = _shoulders(landmarks.astype(np.float64))
    points = landmarks[:, _NUMBERS].astype(np.float64)  # [T', P, 4]
    is_found = ~np.isnan(points[..., :1])
    body = len(BODY)
    points[..., :2] -= origin[:, None, :2]
    points[:, :body, 2] -= origin[:, None, 2]
    points[..., :3] /= unit[:, None, None]
    points[:, body:, 3] = 1.0
    return np.where(is_found, points, 0.0).astype(np.float32).reshape(len(points), len(CHANNELS))


def _shoulders(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the middle [T', 3] and the distance [T'] of the shoulders in each frame, in widths of the frame."""
    left, right = landmarks[:, _SHOULDERS[0]], landmarks[:, _SHOULDERS[1]]
    middle, distance = (left[:, :3] + right[:, :3]) / 2, np.hypot(*(left - right)[:, :2].T)
    is_good = (distance >= CLOSEST) & (np.minimum(left[:, 3], right[:, 3]) >= LEAST_VISIBLE)  # false for NaN
    if is_good.any():
        middle[~is_good], distance[~is_good] = np.median(middle[is_good], axis=0), np.median(distance[is_good])
    else:
        middle[:], distance[:] = 0.0, 0.25
    return middle, distance


@dataclass(frozen=True)
class PoseEncoder(OwnReader):
    """MediaPipe Holistic."""

    unused = ("resize", "crop", "fit", "mean", "std")  # frames are read at their own size
    python: str | None = field(kw_only=True)
    """Interpreter that has MediaPipe; None for this process's own."""

    def finished(self, features: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(normalized(features.numpy()))


class NoPose(UnreachableWeights):
    """Error of an interpreter that cannot run MediaPipe."""

    own = (*UnreachableWeights.own, *PoseEncoder.unused, "precision")

    def __init__(self, python: str | None, why: NoMediaPipe):
        super().__init__(f"encoder.name pose:mediapipe: {missing(python, why)}")


def load(which: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder `pose:mediapipe`. Raises InputError for another name, and if there is no MediaPipe."""
    if which != "mediapipe":
        raise InputError(f"encoder.name pose:{which}: unknown. Use pose:mediapipe.")
    try:
        found = installed(config.python)
    except NoMediaPipe as error:
        raise NoPose(config.python, error) from error
    layout = json.dumps([found.models_sha256, CHANNELS, RULE])
    return PoseEncoder(
        "pose:mediapipe",
        len(CHANNELS),
        hashlib.sha256(layout.encode()).hexdigest(),
        LICENCE,
        video,
        options={"mediapipe": found.mediapipe},
        python=config.python,
    )

"""The movement of the hands: a planned clip in, one pose per frame out, in 1/128 of the picture's side. Draws nothing.

Each sign is a short stroke at its place; between two strokes, and from and to rest, the hands move smoothly."""

import math
from dataclasses import dataclass
from random import Random

from slt_cache.corpora.avatar.lexicon import Sign, lexicon
from slt_cache.corpora.avatar.plan import PlannedClip

STROKE_FRAMES = 6.4
"""Source frames of a sign at its place, at tempo 1 and 25 frames a second."""
TRANSITION_FRAMES = 4.2
"""Source frames between two signs, at tempo 1."""
REST_FRAMES = 2
"""Source frames of rest at either end."""
MIDLINE = 64.0
PLACE_JITTER = 1.5
"""Standard deviation of the place, per sign and clip."""
HALF_PAIR = 13.0
"""Distance of two hands side by side from their middle."""


@dataclass(frozen=True)
class HandPose:
    x: float
    y: float
    angle: float
    """Degrees; direction of the fingers: 0 to the right of the picture, 90 up."""
    shape: str
    palm: str


@dataclass(frozen=True)
class Pose:
    first: HandPose
    """The signing hand, left in the picture at rest."""
    second: HandPose
    mouth: str


REST = Pose(
    first=HandPose(44.0, 125.0, 50.0, "flat", "back"),
    second=HandPose(84.0, 125.0, 130.0, "flat", "back"),
    mouth="closed",
)


def clip_poses(clip: PlannedClip) -> list[Pose]:
    """Returns one pose for each source frame."""
    random = Random(f"{clip.seed}/motion")
    tempo = clip.signer.tempo * random.uniform(0.96, 1.04)
    poses = [REST] * REST_FRAMES
    for name in clip.signs:
        length = max(5, round(STROKE_FRAMES / tempo + random.uniform(-0.5, 0.5)))
        jitter = (random.gauss(0.0, PLACE_JITTER), random.gauss(0.0, PLACE_JITTER))
        stroke = _stroke(lexicon().signs[name], length, jitter)
        between = max(3, round(TRANSITION_FRAMES / tempo + random.uniform(-0.5, 0.5)))
        poses += _transition(poses[-1], stroke[0], between) + stroke
    return poses + _transition(poses[-1], REST, 3) + [REST] * (REST_FRAMES - 1)


def _stroke(sign: Sign, length: int, jitter: tuple[float, float]) -> list[Pose]:
    return [_pose(sign, index / (length - 1), jitter) for index in range(length)]


def _pose(sign: Sign, phase: float, jitter: tuple[float, float]) -> Pose:
    """Returns the pose at a phase of the stroke, 0 to 1."""
    x, y = lexicon().places[sign.place]
    x, y = x + jitter[0], y + jitter[1]
    dx, dy = _offset(sign.movement, phase, side=-1.0 if x < MIDLINE else 1.0)
    palm = sign.palm
    if sign.second in ("mirror", "alternate") and abs(x - MIDLINE) < HALF_PAIR:
        x = MIDLINE - HALF_PAIR
    if sign.second == "parallel":
        x -= max(0.0, min(2 * HALF_PAIR, x - MIDLINE + HALF_PAIR))  # room for the other hand
    first = HandPose(x + dx, y + dy, sign.point, sign.shape, palm)
    if sign.second == "none":
        second = REST.second
    elif sign.second == "base":
        second = HandPose(x + 8.0, min(y + 18.0, 118.0), 165.0, "flat", "palm")
    elif sign.second == "parallel":
        second = HandPose(x + 2 * HALF_PAIR + dx, y + dy, 180.0 - sign.point, sign.shape, palm)
    else:
        opposite = -1.0 if sign.second == "alternate" else 1.0
        mirrored = 2 * MIDLINE - x - dx
        second = HandPose(mirrored, y + opposite * dy, 180.0 - sign.point, sign.shape, palm)
    return Pose(first, second, sign.mouth)


def _offset(movement: str, phase: float, side: float) -> tuple[float, float]:
    """Returns the shift from the place at a phase of 0 to 1; `side` is -1 left of the middle of the picture, else 1."""
    turn = 2 * math.pi * phase
    zigzag = 9.0 * math.sin(1.5 * turn)
    return {
        "hold": (0.0, 0.0),
        "tap": (0.0, -5.0 + 9.0 * math.sin(turn) ** 2),
        "up": (0.0, 10.0 - 20.0 * phase),
        "down": (0.0, 22.0 * phase - 9.0),
        "up_down": (0.0, -12.0 * math.sin(turn)),
        "left_right": (11.0 * math.sin(turn), 0.0),
        "circle": (10.0 * math.cos(turn), -10.0 * math.sin(turn)),
        "arc": (-13.0 * math.cos(turn / 2), 6.0 - 15.0 * math.sin(turn / 2)),
        "away": (side * (18.0 * phase - 14.0), 0.0),
        "apart": (-24.0 * phase, 5.0 * phase),
        "zigzag": (zigzag, 22.0 * phase - 11.0),
    }[movement]


def _transition(start: Pose, end: Pose, length: int) -> list[Pose]:
    """Returns `length` poses strictly between two, with minimum jerk (Flash and Hogan 1985)."""
    poses = []
    for index in range(1, length + 1):
        share = index / (length + 1)
        part = 10 * share**3 - 15 * share**4 + 6 * share**5
        first, second = _blend(start.first, end.first, part), _blend(start.second, end.second, part)
        poses.append(Pose(first, second, (start if part < 0.5 else end).mouth))
    return poses


def _blend(start: HandPose, end: HandPose, part: float) -> HandPose:
    turn = (end.angle - start.angle + 180.0) % 360.0 - 180.0  # the short way round
    near = start if part < 0.5 else end
    x, y = start.x + (end.x - start.x) * part, start.y + (end.y - start.y) * part
    return HandPose(x, y, start.angle + turn * part, near.shape, near.palm)

"""Draws a planned clip: signs and signer in, RGB frames out. Writes no file; same clip, same bytes."""

import math
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from slt_cache.corpora.avatar.figure import (
    OVERSAMPLING,
    SHOULDERS,
    SIDE,
    SLEEVE_SHADE,
    Canvas,
    Point,
    draw_figure,
    draw_limb,
    draw_mouth,
)
from slt_cache.corpora.avatar.hands import WRIST_Y, hand_picture
from slt_cache.corpora.avatar.motion import HandPose, Pose, clip_poses
from slt_cache.corpora.avatar.plan import PlannedClip
from slt_cache.corpora.avatar.signers import Signer, shade

UPPER_ARM, FOREARM = 33.0, 32.0
"""Figure units."""
UPPER_ARM_WIDTH, FOREARM_WIDTH = 14.0, 11.0
"""Figure units."""
ANGLE_STEP = 5
"""Degrees; hand pictures are turned in steps of this size, so that turned ones can be reused."""


def draw_clip(clip: PlannedClip) -> np.ndarray:
    """Draws the frames of a clip, uint8 [T, 128, 128, 3]."""
    painter = _Painter(clip)
    poses = clip_poses(clip)
    frames = np.empty((len(poses), SIDE, SIDE, 3), dtype=np.uint8)  # [T, H, W, 3]
    for index, pose in enumerate(poses):
        frames[index] = painter.frame(pose)
    return frames


class _Painter:
    """Draws the frames of a clip and keeps the parts that do not change within it: the figure with each mouth, and the
    turned hands."""

    def __init__(self, clip: PlannedClip) -> None:
        random = Random(f"{clip.seed}/painter")
        self.signer: Signer = clip.signer
        x, y = clip.signer.shift
        self.canvas = Canvas(
            size=clip.signer.size * random.uniform(0.98, 1.02),
            shift=(x + random.uniform(-1.5, 1.5), y + random.uniform(-1.5, 1.5)),
        )
        self.sleeve = shade(clip.signer.shirt, SLEEVE_SHADE)
        self.body = draw_figure(clip.signer, self.canvas)
        self.figures: dict[str, Image.Image] = {}
        self.hands: dict[tuple[str, str, int, bool], Image.Image] = {}

    def frame(self, pose: Pose) -> np.ndarray:
        """Draws one frame, uint8 [128, 128, 3]."""
        image = self._figure(pose.mouth).copy()
        draw = ImageDraw.Draw(image)
        self._arm(image, draw, pose.second, right=True)
        self._arm(image, draw, pose.first, right=False)
        return np.asarray(image.reduce(OVERSAMPLING))

    def _figure(self, mouth: str) -> Image.Image:
        if mouth not in self.figures:
            self.figures[mouth] = self.body.copy()
            draw_mouth(self.figures[mouth], self.canvas, self.signer, mouth)
        return self.figures[mouth]

    def _arm(self, image: Image.Image, draw: ImageDraw.ImageDraw, hand: HandPose, right: bool) -> None:
        angle = math.radians(hand.angle)
        wrist = (hand.x - WRIST_Y * math.cos(angle), hand.y + WRIST_Y * math.sin(angle))
        shoulder = SHOULDERS[1 if right else 0]
        elbow = _elbow(shoulder, wrist, outwards=1.0 if right else -1.0)
        draw_limb(draw, self.canvas, (shoulder, elbow), UPPER_ARM_WIDTH, self.sleeve)
        draw_limb(draw, self.canvas, (elbow, wrist), FOREARM_WIDTH, self.sleeve)
        picture = self._hand(hand, thumb_right=not right)
        x, y = self.canvas.at((hand.x, hand.y))
        image.paste(picture, (round(x - picture.width / 2), round(y - picture.height / 2)), picture)

    def _hand(self, hand: HandPose, thumb_right: bool) -> Image.Image:
        turn = round((hand.angle - 90.0) / ANGLE_STEP) * ANGLE_STEP % 360
        key = (hand.shape, hand.palm, turn, thumb_right)
        upright = (hand.shape, hand.palm, 0, thumb_right)
        if upright not in self.hands:
            self.hands[upright] = hand_picture(hand.shape, hand.palm, self.signer.skin, self.canvas.scale, thumb_right)
        if key not in self.hands:
            self.hands[key] = self.hands[upright].rotate(turn, Image.Resampling.BILINEAR)
        return self.hands[key]


def _elbow(shoulder: Point, wrist: Point, outwards: float) -> Point:
    """Returns the elbow by two-link inverse kinematics: outwards and below the line from shoulder to wrist. If that
    side of the line is neither, the arm bends towards the viewer and looks shorter."""
    dx, dy = wrist[0] - shoulder[0], wrist[1] - shoulder[1]
    distance = max(math.hypot(dx, dy), 1e-6)
    along = (UPPER_ARM**2 - FOREARM**2 + distance**2) / (2 * distance)
    reach = UPPER_ARM + FOREARM
    # Out of reach, the arm is stretched straight rather than torn off.
    along = min(along, UPPER_ARM) if distance < reach else distance * UPPER_ARM / reach
    height = math.sqrt(max(0.0, UPPER_ARM**2 - along**2))
    normal = (-dy / distance, dx / distance)
    towards = normal[0] * outwards * 0.55 + normal[1] * 0.85
    bend = max(-1.0, min(1.0, 2.0 * towards))
    return (
        shoulder[0] + dx / distance * along + normal[0] * height * bend,
        shoulder[1] + dy / distance * along + normal[1] * height * bend,
    )

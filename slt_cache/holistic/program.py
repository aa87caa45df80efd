"""Program that runs MediaPipe Holistic over frames, as a child process of child.py. It needs Python 3.9, MediaPipe
and NumPy, and nothing of slt_cache, so that any interpreter can run it.

It writes a line of JSON first: `{"mediapipe": VERSION, "models_sha256": HASH}`, or `{"error": WHY}`. Each request has
height and width, two native uint32, and the pixels of an RGB frame, uint8 [H, W, 3]. The answer is float32 [543, 4]:
the x, y, z and visibility of MediaPipe's landmarks of the body (33), the left hand (21), the right hand (21) and the
face (468), NaN for those that were not found. The request 0, 0 begins a new clip, and has no answer."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

GROUPS = (
    ("pose_landmarks", 33),
    ("left_hand_landmarks", 21),
    ("right_hand_landmarks", 21),
    ("face_landmarks", 468),
)
DRAWING = ("cv2", "matplotlib", "matplotlib.pyplot")
"""Modules that MediaPipe imports to draw landmarks, which nothing here does."""


def main() -> None:
    sys.path.pop(0)  # this folder, whose modules would hide those of other packages
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print
    try:
        _replace_drawing()
        import mediapipe

        new_clip = mediapipe.solutions.holistic.Holistic
        said = {"mediapipe": mediapipe.__version__, "models_sha256": _models_sha256(Path(mediapipe.__file__).parent)}
    except Exception as error:  # whatever a broken installation raises
        said = {"error": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(said).encode() + b"\n")
    answers.flush()
    holistic: Any = None
    while len(size := requests.read(8)) == 8:
        height, width = struct.unpack("=II", size)
        if not height * width:
            if holistic is not None:
                holistic.close()
            holistic = new_clip()  # it tracks a person from frame to frame, so another clip must not go on from here
        elif not _answer(holistic, requests, answers, (height, width, 3)):
            return


def _replace_drawing() -> None:
    """Puts an empty module in the place of each one for drawing that is not installed."""
    for name in DRAWING:
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = ModuleType(name)


def _answer(holistic: Any, requests: Any, answers: Any, shape: tuple[int, int, int]) -> bool:
    """Reads a frame and writes its landmarks; returns whether there was a whole one."""
    import numpy as np

    frame = np.empty(shape, np.uint8)
    if requests.readinto(frame.reshape(-1).data) < frame.size:
        return False
    found = holistic.process(frame)
    landmarks = np.full((sum(count for _, count in GROUPS), 4), np.nan, np.float32)
    first = 0
    for name, count in GROUPS:
        group = getattr(found, name)
        if group is not None:
            landmarks[first : first + count] = [(one.x, one.y, one.z, one.visibility) for one in group.landmark]
        first += count
    answers.write(landmarks.tobytes())
    answers.flush()
    return True


def _models_sha256(package: Path) -> str:
    """Returns the SHA-256 over names and bytes of all models in the package."""
    digest = hashlib.sha256()
    for model in sorted(package.rglob("*.tflite")):
        digest.update(model.relative_to(package).as_posix().encode() + b"\n" + model.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()

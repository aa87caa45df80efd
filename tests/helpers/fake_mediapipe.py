"""A package named mediapipe that finds no people: the red channel of a frame's first pixel tells it what to do. It
tracks, like the real one: its landmarks depend on how many frames it has seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FINE, NO_BODY, NO_LEFT_HAND, CLOSE_SHOULDERS, CRASH, RAISE, HANG, KILLED_ONCE = range(8)
CODE = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace

__version__ = "0.10.21"
Path(os.environ.get("FAKE_PIDS", os.devnull)).open("a").write(f"{os.getpid()}\\n")
print("libraries print")


def _group(count, x, y, visibility):
    points = [SimpleNamespace(x=x + 0.01 * i, y=y, z=0.001 * i, visibility=visibility) for i in range(count)]
    return SimpleNamespace(landmark=points)


class Holistic:
    def __init__(self):
        self.seen = 0

    def close(self):
        pass

    def process(self, frame):
        self.seen += 1
        what = int(frame[0, 0, 0])
        if what == 4:
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == 5:
            print("first line", file=sys.stderr)
            raise RuntimeError("the graph failed")
        if what == 6:
            time.sleep(1000)
        if what == 7 and not Path(os.environ["FAKE_ONCE"]).exists():
            Path(os.environ["FAKE_ONCE"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        body = _group(33, 0.1, 0.5, 0.9)
        left, right = body.landmark[11], body.landmark[12]
        left.x, right.x = (0.5, 0.5) if what == 3 else (0.6 + 0.001 * self.seen, 0.4)
        left.y, right.y, left.z, right.z = 0.4, 0.4, 0.2, 0.0
        return SimpleNamespace(
            pose_landmarks=None if what == 1 else body,
            left_hand_landmarks=None if what in (1, 2) else _group(21, 0.7, 0.6, 0.0),
            right_hand_landmarks=None if what == 1 else _group(21, 0.2, 0.7, 0.0),
            face_landmarks=None if what == 1 else _group(468, 0.3, 0.2, 0.0),
        )


solutions = SimpleNamespace(holistic=SimpleNamespace(Holistic=Holistic))
"""


def write_fake_mediapipe(folder: Path, version: str = "0.10.21") -> Path:
    """Writes the package into a folder for PYTHONPATH; returns the folder."""
    package = folder / "mediapipe"
    (package / "modules").mkdir(parents=True)
    (package / "__init__.py").write_text(CODE.replace("0.10.21", version))
    (package / "modules" / "pose.tflite").write_bytes(b"a model")
    return folder


def write_frames(folder: Path, orders: Sequence[int], width: int = 24, height: int = 12) -> Path:
    """Writes a folder of frames that tell the package what to do."""
    folder.mkdir(parents=True)
    for number, order in enumerate(orders):
        frame = np.full((height, width, 3), 50, np.uint8)
        frame[0, 0, 0] = order
        Image.fromarray(frame).save(folder / f"{number:04d}.png")
    return folder

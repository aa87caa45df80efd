"""The child process with MediaPipe: what an interpreter must have, and what is said where it has not."""

from pathlib import Path

import pytest

from slt_cache.holistic.child import Installed, NoMediaPipe, installed
from tests.helpers.fake_mediapipe import write_fake_mediapipe


def test_an_interpreter_is_known_by_its_version_and_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path)))
    installed.cache_clear()
    first = installed(None)
    (tmp_path / "mediapipe" / "modules" / "pose.tflite").write_bytes(b"another model")
    assert installed(None) is first
    installed.cache_clear()
    other = installed(None)
    installed.cache_clear()
    assert first == Installed("0.10.21", first.models_sha256)
    assert other.models_sha256 != first.models_sha256


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('numpy is too new')", "ImportError: numpy is too new"),
        ("import os; os.abort()", "was killed by SIGABRT"),
        ("__version__ = '2'", "AttributeError: module 'mediapipe' has no attribute 'solutions'"),
    ],
)
def test_an_interpreter_that_cannot_run_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    (tmp_path / "mediapipe.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(NoMediaPipe, match=said):
        installed.__wrapped__(None)


def test_modules_for_drawing_need_not_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_fake_mediapipe(tmp_path) / "mediapipe" / "__init__.py"
    package.write_text("import cv2\nimport matplotlib.pyplot as plt\n" + package.read_text())
    for name in ("cv2", "matplotlib"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name}')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert installed.__wrapped__(None).mediapipe == "0.10.21"


def test_a_path_that_is_no_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoMediaPipe, match="No such file or directory"):
        installed(str(tmp_path / "python"))

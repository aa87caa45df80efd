"""`bench extract`: which videos and encoders it takes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.commands import TINY, slt_cache
from tests.helpers.small_vision_models import make_vision_model
from tests.helpers.tiny_run import succeed


@pytest.mark.parametrize(("folder", "message"), [("none", "no such folder"), ("", "no video")])
def test_a_folder_without_videos_is_refused(folder: str, message: str, tmp_path: Path) -> None:
    ran = slt_cache("bench", "extract", "--videos", tmp_path / folder, "--config", TINY)
    assert ran.code == 2
    assert message in ran.err and str(tmp_path) in ran.err


def test_a_named_encoder_is_timed_against_its_own_network(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    make_vision_model("videomae", tmp_path / "model")
    (tmp_path / "videos").mkdir()
    for number, frames in enumerate((30, 17)):
        make_video(tmp_path / "videos" / f"{number}.mp4", frames)
    words = ("--videos", tmp_path / "videos", "--encoder", f"hf:{tmp_path / 'model'}", "--config", TINY, "--json")
    measured = json.loads(succeed("bench", "extract", *words, "--set", "video.keep_rate=1").out)
    assert (measured["clips"], measured["kept_frames"], measured["size"]) == (2, 47, 32)
    assert measured["encoder"] == f"hf:{tmp_path / 'model'}"
    assert measured["ratio"] > 0 and measured["forward_batch"] <= 32
    assert slt_cache("bench", "extract", "--encoder", "resnet19", "--config", TINY).code == 2

"""The frame cache of a training: how much room it needs, and whether there is so much."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.config import AugmentationConfig, Config, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError
from slt_cache.pipeline import open_frame_cache as pipeline
from slt_cache.runs.run import Run

VIDEO = VideoConfig(resize=36, size=32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    """Clips of 9, 12, 15, 18 and 21 frames."""
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(f"clip/{n}", "train", make_video(folder / f"{n}.mp4", 9 + 3 * n), None, None, "heute") for n in range(5)
    ]


def test_the_estimate_of_the_bytes_is_said_and_the_room_required(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(video=VIDEO.model_copy(update={"frame_cache": True}))
    run = Run(tmp_path / "run", config)
    assert pipeline.cache_bytes(clips[:4], config) == (9 + 12 + 15 + 18) * 3 * 36 * 36
    steady = config.model_copy(update={"augmentation": AugmentationConfig(phase=False)})
    assert pipeline.cache_bytes(clips[:4], steady) == (9 + 12 + 15 + 18) // 4 * 3 * 36 * 36 + 3 * 36 * 36 // 2
    cache = pipeline.open_frame_cache(run, clips)
    assert cache is not None
    assert cache.folder == tmp_path / "run" / "frames"
    assert "0.0 GB of frames of 5 clips" in capsys.readouterr().err
    for clip in clips:
        cache.read(clip, 0)
    assert pipeline.open_frame_cache(run, clips) is not None
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    named = config.model_copy(update={"video": VIDEO.model_copy(update={"frame_cache": str(tmp_path / "disk")})})
    with pytest.raises(InputError, match=r"disk.*are free\. Make room"):
        pipeline.open_frame_cache(Run(tmp_path / "run", named), clips)


def test_off_means_no_cache(clips: list[Clip], tmp_path: Path) -> None:
    assert pipeline.open_frame_cache(Run(tmp_path, Config()), clips) is None


def test_an_unreadable_video_has_no_length_and_a_folder_that_cannot_be_made_is_named(
    clips: list[Clip], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    broken = Clip("broken", "train", tmp_path / "file", None, None, "morgen")
    assert pipeline.lengths_of([broken, *clips], VIDEO) == [9, 12, 15, 18, 21]
    with pytest.raises(InputError, match=r"video\.frame_cache .*file/frames: cannot make this folder"):
        pipeline.make_folder(tmp_path / "file" / "frames")

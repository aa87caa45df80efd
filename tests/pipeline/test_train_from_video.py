"""Trainings that read videos: what their weights depend on, and that a finished one opens no video."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.pipeline.train_from_video import epoch_folder, train_from_video
from slt_cache.pipeline.train_visual import VisualStage
from slt_cache.runs.run import Run
from slt_cache.runs.variants import VISUAL
from slt_cache.text.tokenizer import Tokenizer

TEXTS = {"train": "ein satz", "dev": "zwei sätze", "test": "drei"}


@pytest.fixture
def stage(tmp_path: Path, make_video: Callable[..., Path], tokenizer: Tokenizer) -> VisualStage:
    clips = [Clip(split, split, make_video(tmp_path / f"{split}.mp4", 20), None, None, TEXTS[split]) for split in TEXTS]
    run = Run(tmp_path / "run", load_config("avatar", ["visual_training.epochs=1"]))
    return VisualStage(run, VISUAL, None, clips, tokenizer)


def with_text(stage: VisualStage, split: str, text: str) -> VisualStage:
    return replace(stage, clips=[replace(clip, text=text) if clip.split == split else clip for clip in stage.clips])


def finish(stage: VisualStage) -> None:
    record = Record("stage 1", stage.settings, finished=True, dev_sha256=stage.dev_sha256)
    write_record(stage.folder / "best", record)


def test_a_stage_is_finished_until_its_clips_or_settings_change(stage: VisualStage) -> None:
    assert not stage.is_finished()
    finish(stage)
    assert replace(stage).is_finished()
    assert with_text(stage, "test", "vier").is_finished()
    assert not with_text(stage, "train", "vier").is_finished()
    assert not with_text(stage, "dev", "vier").is_finished()  # it is to be scored again
    other = Run(stage.run.folder, load_config("avatar", ["visual_training.epochs=2"]))
    assert not replace(stage, run=other).is_finished()


def test_another_video_under_the_same_name_is_another_training_and_a_missing_one_is_not(
    stage: VisualStage, make_video: Callable[..., Path]
) -> None:
    finish(stage)
    video = stage.train_clips[0].video
    video.rename(video.with_name("moved.mp4"))
    assert replace(stage).is_finished()
    make_video(video, 30)
    assert not replace(stage).is_finished()


def test_a_finished_stage_opens_no_video(
    stage: VisualStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(stage)
    monkeypatch.setattr(
        "slt_cache.pipeline.train_from_video.readable_clips", lambda *_: pytest.fail("videos are opened")
    )
    record = train_from_video(replace(stage), restart=False, allow_missing=False)
    assert record.finished and "trained already" in capsys.readouterr().err


def test_the_weights_of_an_epoch_lie_in_a_folder_of_its_number(tmp_path: Path) -> None:
    assert epoch_folder(tmp_path, 12) == tmp_path / "epochs" / "12"

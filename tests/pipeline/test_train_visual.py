"""Stage 1 as a command."""

from pathlib import Path

import pytest

from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.pipeline.train_visual import train_visual
from slt_cache.runs.run import Run
from tests.helpers.commands import TINY
from tests.helpers.tiny_run import succeed


def test_kept_epochs_are_encoders_of_their_own_and_the_last_is_the_end_of_training(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep = ("--set", "visual_training.keep_epochs=[1, 2]")
    succeed("train-visual", "--run", run, "--config", TINY, *keep)
    first, last = (load_visual(run / "visual" / "epochs" / epoch) for epoch in ("1", "2"))
    assert first.sha256("sign") != last.sha256("sign")
    assert [one.record.best_epoch for one in (first, last)] == [1, 2]
    best = load_visual(run / "visual" / "best")
    assert best.sha256("sign") in {first.sha256("sign"), last.sha256("sign")}
    other = tmp_path / "other"
    succeed("train-visual", "--run", other, "--config", TINY)
    assert load_visual(other / "visual" / "best").sha256("sign") == best.sha256("sign")
    again = succeed("train-visual", "--run", run, "--set", "visual_training.keep_epochs=[1]")
    assert "trained already" in again.err  # what is kept decides nothing


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("compute.device=abacus", "abacus"),
        ("encoder.backbone=resnet99", "resnet99.*resnet18"),
        ("corpus.name=tsv", "preset: not set"),
    ],
)
def test_a_mistyped_setting_is_refused_before_the_corpus_is_drawn(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        train_visual(Run(tmp_path / "run", load_config("avatar", [setting])))
    assert list(tmp_path.iterdir()) == []

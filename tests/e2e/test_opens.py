"""A command opens the feature cache that it reads once, and hands the open file on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from slt_cache.features.file import CacheFile
from tests.helpers.commands import TINY, slt_cache


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 and a cache of all splits."""
    folder = tmp_path_factory.mktemp("opens") / "tiny"
    brief = ("visual_training.epochs=1", "llm_training.epochs=1", "generation.num_beams=1")
    settings = [word for setting in brief for word in ("--set", setting)]
    assert slt_cache("train-visual", "--config", TINY, *settings, "--run", folder).code == 0
    assert slt_cache("extract-features", "--run", folder).code == 0
    return folder


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often a file of each name was opened."""
    counts: Counter[str] = Counter()
    open_file = CacheFile.__init__

    def count(self: CacheFile, path: Path | str) -> None:
        counts[Path(path).name] += 1
        open_file(self, path)

    monkeypatch.setattr(CacheFile, "__init__", count)
    yield counts


def test_every_command_opens_the_cache_once(run: Path, opens: Counter[str], tmp_path: Path) -> None:
    cache = run / "feats.h5"
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("train-llm", "--features", "feats.h5", "--run", run),
        ("eval", "--run", run),
        ("eval", "--model", "visual", "--split", "dev", "--run", run),
        ("report", "--run", run),
        ("compare", run, run / "eval" / "test.json", "--resamples", "40"),
        ("extract-features", "--run", run),
        ("verify", run),
        ("cache", "verify", cache),
        ("cache", "verify", cache, "--run", run),
        ("cache", "verify", cache, "--run", run, "--encoder", "--clips", "1"),
        ("cache", "info", cache, "--plot", tmp_path / "lengths.png"),
        ("cache", "show", "train-00000", "--features", cache),
        ("cache", "export", cache, tmp_path / "exported"),
    )
    for command in commands:
        opens.clear()
        ran = slt_cache(*command)
        assert ran.code == 0, (command, ran.err)
        assert opens == {"feats.h5": 1}, command


def test_an_extraction_opens_the_cache_for_planning_for_copying_and_when_it_is_written(
    run: Path, opens: Counter[str]
) -> None:
    ran = slt_cache("extract-features", "--run", run, "--restart")
    assert ran.code == 0, ran.err
    assert opens["feats.h5"] == 3  # whatever the number of its splits

"""A run after stage 2, to be measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import TINY, slt_cache


@pytest.fixture(autouse=True)
def brief_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass a round."""
    monkeypatch.setattr("slt_cache.bench.llm.ROUND_SECONDS", 1e-9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder after stage 2; batches of 4."""
    run = tmp_path_factory.mktemp("trained") / "tiny"
    brief = ("visual_training.epochs=1", "llm_training.epochs=1", "llm_training.batch_size=4")
    settings = [word for setting in brief for word in ("--set", setting)]
    for command in (("train-visual", "--config", TINY, *settings), ("extract-features",), ("train-llm",)):
        ran = slt_cache(*command, "--run", run, *(("--features", "feats.h5") if command == ("train-llm",) else ()))
        assert ran.code == 0, ran.err
    yield run

"""What a sweep says on a machine without Optuna."""

from pathlib import Path

import pytest

from tests.helpers.commands import slt_cache


def test_without_optuna_it_says_what_to_install_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slt_cache.sweep.needs.find_spec", lambda _: None)
    ran = slt_cache("sweep", "stage2", "--run", tmp_path / "run")
    assert ran.code == 2 and "pip install 'optuna>=4'" in ran.err and len(ran.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()

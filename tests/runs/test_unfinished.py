"""Folder of an unfinished training."""

from pathlib import Path

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.runs.unfinished import Unfinished


def test_what_a_restart_replaced_comes_back_until_the_new_training_has_a_state(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "state.pt").write_bytes(b"old")
    write_record(tmp_path / "last", Record("stage 1", {"lr": 1}))
    unfinished = Unfinished(tmp_path)
    unfinished.begin(Record("stage 1", {"lr": 2}))
    assert unfinished.record is None
    again = Unfinished(tmp_path)  # as after a kill
    again.settle()
    assert again.record == Record("stage 1", {"lr": 1})
    again.begin(Record("stage 1", {"lr": 3}))
    (tmp_path / "last" / "state.pt").write_bytes(b"new")
    Unfinished(tmp_path).settle()
    found = Unfinished(tmp_path).record
    assert found is not None and found.settings == {"lr": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["last"]

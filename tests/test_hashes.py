"""Records with their own hash: what was written is read, a damaged or edited file is refused, and a file of the first
runs, which had no hash, is accepted with a line."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from slt_cache import hashes
from slt_cache.checkpoints.record import Record, read_record, save_record
from slt_cache.errors import InputError
from slt_cache.hashes import OWN_HASH, RECORD_FILE, UNVERIFIABLE

LATER = ("dev_sha256", "threads", "named", "files", "log_sha256", OWN_HASH)
"""Keys that the records of the first runs lack."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"weights")
    save_record(tmp_path, Record("stage 2", {"seed": 0}).finish(1, 1.0))
    hashes._report_unverifiable.cache_clear()
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((folder / RECORD_FILE).read_text())
    change(record)
    (folder / RECORD_FILE).write_text(json.dumps(record))


def without(*names: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: [record.pop(name) for name in names]


DAMAGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "without its hash": without(OWN_HASH),
    "with its hash renamed": lambda record: record.update(sha257=record.pop(OWN_HASH)),
    "with a flip in its hash": lambda record: record.update({OWN_HASH: "0" + record[OWN_HASH][1:][::-1]}),
    "without hashes of files": without("files", OWN_HASH),
    "with the hashes of files alone": without(*(name for name in LATER if name != "files")),
    "with its own hash alone": without(*(name for name in LATER if name != OWN_HASH)),
    "of the first runs, a key renamed": lambda record: (without(*LATER)(record), record.update(Seconds=1)),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_record_of_today_cannot_pass_for_one_that_never_had_a_hash(folder: Path, how: str) -> None:
    edit(folder, DAMAGED[how])
    with pytest.raises(InputError, match="damaged or edited"):
        read_record(folder)


def test_a_record_without_any_later_key_is_accepted_with_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = read_record(folder)
    edit(folder, without(*LATER))
    for _ in range(2):
        read = read_record(folder)
        assert made is not None and read is not None
        assert asdict(read) == {**asdict(made), "files": {}}
    assert capsys.readouterr().err == f"{folder / RECORD_FILE}: {UNVERIFIABLE}\n"
    assert not hashes.is_verifiable(folder / RECORD_FILE)


def test_the_line_names_the_run_once_for_all_of_its_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "run"
    (run).mkdir()
    (run / "config.yaml").touch()
    for stage in ("visual", "llm"):
        (run / stage).mkdir()
        save_record(run / stage, Record(stage, {}))
        edit(run / stage, without(*LATER))
        read_record(run / stage)
    assert capsys.readouterr().err == f"{run}: {UNVERIFIABLE}\n"

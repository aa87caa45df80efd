"""The table of clips without features."""

from pathlib import Path

from slt_cache.features.layout import Failure
from slt_cache.pipeline.failures import failures_file, write_failures


def test_each_missing_clip_is_one_line_whatever_its_reason_holds(tmp_path: Path) -> None:
    write_failures(tmp_path / "feats.h5", "dev", [Failure("a", "no such\n file\tat all"), Failure("ä", "empty")])
    assert failures_file(tmp_path / "feats.h5", "dev") == tmp_path / "feats.dev.failed.tsv"
    written = (tmp_path / "feats.dev.failed.tsv").read_text(encoding="utf-8")
    assert written == "id\treason\na\tno such file at all\nä\tempty\n"


def test_a_split_without_missing_clips_loses_its_table_and_no_other_does(tmp_path: Path) -> None:
    cache = tmp_path / "feats.h5"
    for split in ("train", "dev"):
        write_failures(cache, split, [Failure("a", "empty")])
    write_failures(cache, "dev", [])
    write_failures(cache, "test", [])
    assert list(tmp_path.iterdir()) == [failures_file(cache, "train")]

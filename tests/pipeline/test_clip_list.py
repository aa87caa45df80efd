"""A list of clips outside the run."""

from pathlib import Path

import pytest

from slt_cache.errors import InputError
from slt_cache.pipeline.clip_list import read_list, require_split_name

HEADER = "id\tsplit\tvideo\tstart\tend\ttext\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "stories" / "manifest.tsv"
    path.parent.mkdir()
    path.write_text(f"{HEADER}a\ttrain\ta.mp4\t\t\tein satz\nb\tdev\tb.mp4\t\t\tzwei\n", encoding="utf-8")
    return path


def test_a_folder_and_its_manifest_are_the_same_list(table: Path) -> None:
    assert read_list(table, None) == read_list(table.parent, None)
    assert [clip.id for clip in read_list(table, None).clips] == ["a", "b"]
    assert read_list(table, None).label.startswith("lists/stories-")


def test_the_label_changes_with_what_is_scored(table: Path) -> None:
    labels = {read_list(table, None).label, read_list(table, "dev").label}
    table.write_text(table.read_text(encoding="utf-8").replace("zwei", "drei"), encoding="utf-8")
    assert len(labels | {read_list(table, "dev").label}) == 3


def test_a_split_without_clips_is_refused_with_those_that_have_some(table: Path) -> None:
    with pytest.raises(InputError, match="no clips of split 'test', only of train, dev"):
        read_list(table, "test")


def test_an_unknown_split_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(InputError, match="write dev"):
        require_split_name("valid")

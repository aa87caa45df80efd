"""What the loop is given: a task and its options."""

from pathlib import Path

from slt_cache.training.task import LAST
from tests.helpers.toy_training import options_of


def test_what_an_unfinished_training_writes_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    assert options_of(tmp_path).last == tmp_path / LAST

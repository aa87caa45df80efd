"""`bench extract`: which videos it takes."""

from pathlib import Path

import pytest

from tests.helpers.commands import TINY, slt_cache


@pytest.mark.parametrize(("folder", "message"), [("none", "no such folder"), ("", "no video")])
def test_a_folder_without_videos_is_refused(folder: str, message: str, tmp_path: Path) -> None:
    ran = slt_cache("bench", "extract", "--videos", tmp_path / folder, "--config", TINY)
    assert ran.code == 2
    assert message in ran.err and str(tmp_path) in ran.err

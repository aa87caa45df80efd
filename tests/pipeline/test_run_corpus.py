"""Where the corpus of a run has gone, and what to do about it."""

from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError
from slt_cache.pipeline.run_corpus import moved_corpus, read_corpus, require_corpus
from slt_cache.runs.run import Run


def run_of(folder: Path, config: str, *settings: str) -> Run:
    run = Run(folder, load_config(config, settings))
    run.preparation.touch()
    return run


def clips(folder: Path, there: int, absent: int) -> list[Clip]:
    for number in range(there):
        (folder / f"{number}.mp4").touch()
    return [Clip(str(n), "train", folder / f"{n}.mp4", None, None, "t") for n in range(there + absent)]


def test_single_clips_without_a_video_are_no_moved_corpus(tmp_path: Path) -> None:
    require_corpus(run_of(tmp_path, "tsv", f"corpus.root={tmp_path}"), clips(tmp_path, there=2, absent=1))


def test_a_moved_corpus_is_named_with_the_command_that_finds_it(tmp_path: Path) -> None:
    run = run_of(tmp_path, "phoenix14t", f"corpus.root={tmp_path / 'gone'}")
    with pytest.raises(InputError, match=r"1 of 3 clips have no video.*prepare phoenix14t --root DIR"):
        require_corpus(run, clips(tmp_path, there=2, absent=1))


def test_a_drawn_corpus_that_is_gone_is_drawn_again(tmp_path: Path) -> None:
    error = moved_corpus(run_of(tmp_path, "avatar"), clips(tmp_path, there=0, absent=3))
    assert "Draw them again: slt-cache prepare avatar" in str(error)


@pytest.mark.parametrize(("root", "found"), [("nowhere", "no such folder"), ("file", "a file")])
def test_a_root_that_is_no_folder_is_refused_with_what_it_should_hold(root: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"{found}\. Name the folder of How2Sign\."):
        read_corpus(run_of(tmp_path, "how2sign", f"corpus.root={tmp_path / root}"))

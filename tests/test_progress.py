"""Progress on a terminal and elsewhere, of everything that may take longer than a few seconds."""

import io
import logging
import re
import time
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from slt_cache import progress as terminal
from slt_cache.cache_tools.inspect import verify_cache
from slt_cache.cache_tools.merge import merge_caches
from slt_cache.features.layout import ProgressCallback
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import write_cache
from slt_cache.progress import progress_bar, progress_counter
from tests.helpers.caches import IDS, add_split, facts_of, rows_of, spec_with_views


class Terminal(io.StringIO):
    """Has a bar drawn."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bar is shown at once."""
    monkeypatch.setattr(terminal, "SHORT_SECONDS", 0)


def test_a_bar_shows_rate_and_time_left_and_is_gone_in_the_end(at_once: None) -> None:
    with redirect_stderr(Terminal()) as screen, progress_counter("drawing", 4, 0) as show:
        show(1)
        time.sleep(0.15)  # tqdm draws ten times a second
        show(2)
    shown = screen.getvalue()
    assert re.search(r"drawing:  50%\|.*\| 2/4 \[00:00<00:00, +[0-9.]+clip/s\]", shown)
    assert shown.rpartition("]")[2].strip() == ""


def test_what_takes_a_moment_needs_no_bar() -> None:
    with redirect_stderr(Terminal()) as screen, progress_counter("drawing", 4, 0) as show:
        show(4)
    assert screen.getvalue() == ""


def test_elsewhere_plain_lines_come_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "QUIET_SECONDS", -1)
    with progress_bar("checking videos") as progress:
        progress(1, 1200)
    with progress_counter("importing train", 1200, 400) as show:
        show(300)
        show(5000)
    with progress_counter("extracting train", 40, 0, note=lambda: "8 by this process") as show:
        show(24)
    assert capsys.readouterr().err.splitlines() == [
        "checking videos: 1 of 1,200 clips",
        "importing train: 700 of 1,200 clips",
        "importing train: 1,200 of 1,200 clips",
        "extracting train: 24 of 40 clips, 8 by this process",
    ]
    monkeypatch.setattr(terminal, "QUIET_SECONDS", 30)
    with progress_bar("checking videos") as progress:
        progress(1, 1200)
    assert capsys.readouterr().err == ""


def seen_by(calls: list[tuple[int, int]]) -> ProgressCallback:
    return lambda done, total: calls.append((done, total))


def test_every_row_that_is_checked_or_written_counts(tmp_path: Path) -> None:
    held = add_split(tmp_path / "a.h5", rows_of(views=2), facts_of(spec=spec_with_views(2)))
    rows = 2 * len(IDS)
    for work in (
        lambda progress: cache_problems(tmp_path / "a.h5", progress),
        lambda progress: write_cache(tmp_path / "b.h5", [held.content()], progress),
    ):
        calls: list[tuple[int, int]] = []
        work(seen_by(calls))
        assert calls == [(done, rows) for done in range(1, rows + 1)]


def test_checking_and_merging_caches_have_bars(tmp_path: Path, at_once: None) -> None:
    add_split(tmp_path / "a.h5", rows_of())
    add_split(tmp_path / "b.h5", rows_of(), facts_of("dev"))
    with redirect_stderr(Terminal()) as screen:
        assert verify_cache(tmp_path / "a.h5")[1] == []
        merge_caches([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    assert "checking a.h5" in screen.getvalue() and "writing c.h5" in screen.getvalue()


def test_a_library_user_redirects_messages_with_logging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    own = logging.Handler()
    monkeypatch.setattr(own, "emit", lambda record: heard.append(record.getMessage()))
    monkeypatch.setattr(terminal.logger, "handlers", [own])
    terminal.log("100 % of it is read")
    assert (heard, capsys.readouterr().err) == (["100 % of it is read"], "")


def test_a_library_user_silences_messages_and_bars_by_level(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    monkeypatch.setattr(terminal, "QUIET_SECONDS", -1)
    terminal.logger.setLevel(logging.WARNING)
    try:
        with redirect_stderr(Terminal()) as screen, progress_counter("drawing", 4, 0) as show:
            show(1)
            terminal.log("one is drawn")
    finally:
        terminal.logger.setLevel(logging.INFO)
    assert screen.getvalue() == ""


def test_the_command_line_installs_one_handler_however_often_it_runs() -> None:
    for _ in range(2):
        terminal.log_to_stderr()
    assert sum(isinstance(one, terminal.StderrHandler) for one in terminal.logger.handlers) == 1

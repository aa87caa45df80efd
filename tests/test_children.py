"""Processes that a command starts: they end with it, leave Ctrl-C to it, and one that is killed is named."""

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.children import ChildEnded, belong_to, ending, in_a_process, likely_cause, spread, starting
from slt_cache.config import CorpusConfig
from slt_cache.corpora.avatar.write import write_avatar
from slt_cache.errors import InputError, SltCacheError
from tests.helpers.commands import TINY
from tests.helpers.small_disks import fill, read_only, small_disk

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
CLIPS = 24


def drawing(run: Path, clips: int = 400) -> subprocess.Popen[str]:
    """`prepare avatar` as a user starts it, in a process group of its own."""
    arguments = ["--run", str(run), "--config", str(TINY), "--set", f"corpus.clips={clips}"]
    return subprocess.Popen(
        [sys.executable, "-m", "slt_cache", "prepare", "avatar", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(happened: Callable[[], object], limit: float = 60) -> None:
    end = time.monotonic() + limit
    while not happened():
        assert time.monotonic() < end, f"did not happen within {limit} s"
        time.sleep(0.01)


def group(leader: int) -> list[int]:
    """The living processes of a process group but its leader."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            try:
                state, _, group_of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group_of) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def videos(run: Path) -> list[Path]:
    return sorted(run.rglob("videos/*.mp4"))


def square(number: int) -> int:
    return number * number


def draw_lots(number: int) -> None:
    """Work whose first item is fatal."""
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)


def refuse(number: int) -> int:
    raise InputError(f"item {number}: bad")


def use_up_memory(number: int) -> int:
    raise MemoryError


def test_every_item_is_worked_on_once_whatever_the_number_of_processes() -> None:
    assert sorted(spread(square, range(7), 3, "a worker")) == [number * number for number in range(7)]


def test_a_killed_process_is_named_with_its_signal_and_the_usual_cause() -> None:
    with pytest.raises(
        ChildEnded,
        match=r"^a worker \(process \d+\) was killed by SIGKILL\. Usually the machine ran out of memory\.$",
    ):
        list(spread(draw_lots, range(9), 2, "a worker"))


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    with pytest.raises(InputError, match=r"^item 0: bad$"):
        list(spread(refuse, range(1), 2, "a worker"))


def test_a_process_without_memory_says_so_in_a_line() -> None:
    with pytest.raises(SltCacheError, match=r"^process \d+ ran out of memory\."):
        list(spread(use_up_memory, range(1), 2, "a worker"))


def test_how_a_process_ended_is_said_in_words() -> None:
    assert ending(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert ending(3) == "ended with exit code 3"
    assert ending(-250) == "was killed by signal 250"
    assert "/dev/shm" in likely_cause(-signal.SIGBUS)
    assert likely_cause(1) == likely_cause(-signal.SIGTERM) == ""


@LINUX
def test_a_killed_drawing_leaves_no_process_and_the_same_command_completes_it(tmp_path: Path) -> None:
    with drawing(tmp_path, CLIPS) as process:
        until(lambda: videos(tmp_path))
        process.kill()
    began = {video: video.stat().st_mtime_ns for video in videos(tmp_path)}
    again = drawing(tmp_path, CLIPS)  # at once
    _, err = again.communicate(timeout=120)
    assert (again.returncode, "Traceback" in err) == (0, False), err
    until(lambda: not group(process.pid), 5)
    assert len(videos(tmp_path)) == CLIPS
    assert {video: video.stat().st_mtime_ns for video in began} == began
    left = [path.name for path in tmp_path.rglob("*") if ".tmp" in path.name or path.name == "lock"]
    assert left == []
    other = tmp_path / "other"
    write_avatar(CorpusConfig(clips=CLIPS), other, workers=1)
    assert [video.read_bytes() for video in videos(tmp_path / "corpus")] == [
        video.read_bytes() for video in videos(other)
    ]


@LINUX
def test_a_second_drawing_into_the_same_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with drawing(tmp_path) as first:
        until(lambda: videos(tmp_path))
        second = drawing(tmp_path)
        out, err = second.communicate(timeout=60)
        first.kill()
    assert (second.returncode, out) == (2, "")
    assert f"is being written by process {first.pid} on" in err
    assert err.count("\n") == 1


@LINUX
def test_a_killed_drawing_process_is_one_line_and_keeps_the_finished_videos(tmp_path: Path) -> None:
    with drawing(tmp_path) as process:
        until(lambda: videos(tmp_path))
        drawers = [child for child in group(process.pid) if is_drawing(child)]
        os.kill(drawers[0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"a process that draws clips (process {drawers[0]}) was killed by SIGKILL. Usually the machine" in err
    assert "Traceback" not in err and err.count("\n") == 1
    assert videos(tmp_path)


def is_drawing(process: int) -> bool:
    """Not multiprocessing's own resource tracker."""
    with contextlib.suppress(FileNotFoundError):  # it has ended
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def interrupt_itself() -> None:
    """In the thread that it runs in."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a thread inherits that it is blocked
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_ctrl_c_that_another_thread_gets_waits_until_a_process_has_started() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), starting():
        listener = threading.Thread(target=interrupt_itself)
        listener.start()
        listener.join()
        time.sleep(0.05)
        steps.append("started")
    assert steps == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_sigterm_waits_until_a_process_has_started() -> None:
    steps: list[str] = []
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), starting():
            signal.raise_signal(signal.SIGTERM)
            steps.append("started")
        assert steps == ["started"]
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@LINUX
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("as the first process begins", signal.SIGINT),
        ("with a video", signal.SIGINT),
        ("with a video", signal.SIGTERM),
    ],
)
def test_ctrl_c_and_sigterm_while_drawing_print_no_traceback_whenever_they_come(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    with drawing(tmp_path) as process:
        if moment == "with a video":
            until(lambda: videos(tmp_path))
        else:
            until(lambda: any(is_drawing(child) for child in group(process.pid)))
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err and err.count("\n") == 1, err
    until(lambda: not group(process.pid), 5)


@pytest.mark.parametrize(("left", "workers"), [(0, 1), (8192, 1), (20_000, 1), (60_000, 2)])
def test_a_disk_that_fills_up_while_drawing_keeps_the_finished_videos(tmp_path: Path, left: int, workers: int) -> None:
    corpus = CorpusConfig(clips=CLIPS)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        filler = fill(disk, left)
        with pytest.raises(SltCacheError, match=r"could not be written \(No space left on device\); \S+ \S+ are free"):
            write_avatar(corpus, disk, workers=workers)
        kept = {video: video.read_bytes() for video in videos(disk)}
        assert not [path.name for path in disk.rglob("*") if ".tmp" in path.name or path.name == "lock"]
        filler.unlink()
        clips = write_avatar(corpus, disk, workers=workers)
        assert {video: video.read_bytes() for video in kept} == kept
        assert len(clips) == len(videos(disk)) == CLIPS


def test_a_corpus_that_is_drawn_may_be_read_only(tmp_path: Path) -> None:
    clips = write_avatar(CorpusConfig(clips=CLIPS), tmp_path / "corpus", workers=1)
    with read_only(tmp_path / "corpus") as folder:
        assert write_avatar(CorpusConfig(clips=CLIPS), folder) == clips


@LINUX
def test_a_fork_does_not_clean_up_what_its_parent_left_behind() -> None:
    """Such as a reader of decord in a cycle of an exception and its frames: in a fork, its end waits for threads that
    are not there."""
    ours, theirs = os.pipe()

    class Left:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            os.write(theirs, str(os.getpid()).encode())

    gc.disable()
    try:
        Left()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            belong_to(parent)
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        gc.collect()
    finally:
        gc.enable()
    assert int(os.read(ours, 100)) == parent
    os.close(ours)
    os.close(theirs)


def test_an_interruption_does_not_wait_for_work_in_a_process_of_its_own() -> None:
    def interrupt() -> None:
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_a_process("sleep", time.sleep, 60)
    assert time.monotonic() - begun < 30


def interrupted_with_a_semaphore() -> None:
    held = multiprocessing.get_context("spawn").Semaphore()
    with held:
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)


def test_interrupted_work_in_a_process_of_its_own_leaves_no_semaphore_behind() -> None:
    program = """
from contextlib import suppress
from slt_cache.children import in_a_process
from tests.test_children import interrupted_with_a_semaphore

with suppress(KeyboardInterrupt):
    in_a_process("work", interrupted_with_a_semaphore)
    raise SystemExit("not interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")

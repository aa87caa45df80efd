"""One writer at a time: the lock that extraction holds on a cache, and a training on its folder."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.errors import InputError
from slt_cache.locks import exclusive
from slt_cache.pipeline import run_stage
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.stages import idle_stage

HOLDER = """
    import sys
    from pathlib import Path
    from slt_cache.locks import exclusive

    with exclusive(Path(sys.argv[1]), "feats.h5"):
        print("held", flush=True)
        sys.stdin.readline()
    print("released", flush=True)
"""

Holding = subprocess.Popen[str]


@contextmanager
def held(lock: Path) -> Iterator[Holding]:
    """By a process that holds the lock until it is told a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holding]:
    with held(tmp_path / "feats.lock") as process:
        yield process


@contextmanager
def seconds(limit: int) -> Iterator[None]:
    """Fails what waits for longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"still waiting after {limit} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_second_process_is_refused_with_the_holder_named(tmp_path: Path, holder: Holding) -> None:
    with seconds(10), pytest.raises(InputError) as refused, exclusive(tmp_path / "feats.lock", "feats.h5"):
        pytest.fail("both hold the lock")
    message = str(refused.value)
    assert message.startswith(f"feats.h5 is being written by process {holder.pid} on {socket.gethostname()}, since ")
    assert "\n" not in message
    assert "Wait until it is done" in message


def test_a_refusal_leaves_the_lock_with_its_holder(tmp_path: Path, holder: Holding) -> None:
    for _ in range(2):
        with seconds(10), pytest.raises(InputError), exclusive(tmp_path / "feats.lock", "feats.h5"):
            pytest.fail("both hold the lock")


def test_a_lock_that_was_released_is_free_and_its_file_is_gone(tmp_path: Path, holder: Holding) -> None:
    holder.communicate("go on\n", timeout=20)
    assert holder.returncode == 0
    assert list(tmp_path.iterdir()) == []
    with seconds(10), exclusive(tmp_path / "feats.lock", "feats.h5"):
        assert f"process {os.getpid()} on" in (tmp_path / "feats.lock").read_text()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path, holder: Holding) -> None:
    holder.kill()
    holder.wait(20)
    assert (tmp_path / "feats.lock").exists()
    with seconds(10), exclusive(tmp_path / "feats.lock", "feats.h5"):
        # what the killed one wrote into it is not there any more
        assert (tmp_path / "feats.lock").read_text().count("process") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_gives_the_lock_back(tmp_path: Path, error: type[BaseException]) -> None:
    for _ in range(2):
        with seconds(10), pytest.raises(error), exclusive(tmp_path / "feats.lock", "feats.h5"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_children_do_not_keep_the_lock(tmp_path: Path) -> None:
    """A reader process that outlives a killed extraction must not stop the next one."""
    script = textwrap.dedent(HOLDER).replace(
        'print("held", flush=True)',
        'import os, time\n    if os.fork() == 0: os.close(1); time.sleep(60)\n    print("held", flush=True)',
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "feats.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        group = os.getpgid(process.pid)
        try:
            process.kill()
            process.wait(20)
            with seconds(10), exclusive(tmp_path / "feats.lock", "feats.h5"):
                assert f"process {os.getpid()} on" in (tmp_path / "feats.lock").read_text()
        finally:
            os.killpg(group, signal.SIGKILL)


CONTENDER = """
    import os, sys, time
    from pathlib import Path
    from slt_cache.errors import InputError
    from slt_cache.locks import exclusive

    lock, inside = Path(sys.argv[1]), Path(sys.argv[1] + ".inside")
    held = 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        try:
            with exclusive(lock, "feats.h5"):
                inside.touch(exist_ok=False)
                inside.unlink()
                held += 1
        except InputError:
            pass
    print(held)
"""


def test_of_many_processes_only_one_is_inside_at_a_time_and_none_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(CONTENDER), str(tmp_path / "feats.lock")]
    contenders = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for contender in contenders:
        out, err = contender.communicate(timeout=30)
        assert (contender.returncode, err) == (0, "")
        assert int(out) > 10
    assert list(tmp_path.iterdir()) == []


def test_who_waits_gets_the_lock_once_it_is_free(tmp_path: Path) -> None:
    waiter = HOLDER.replace('"feats.h5")', '"feats.h5", waits=True)')
    command = [sys.executable, "-c", textwrap.dedent(waiter), str(tmp_path / "feats.lock")]
    with seconds(20), exclusive(tmp_path / "feats.lock", "feats.h5"):
        waiting = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
    out, _ = waiting.communicate("go on\n", timeout=20)
    assert out == "held\nreleased\n"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_below_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"), exclusive(tmp_path / "file" / "feats.lock", "feats.h5"):
        pytest.fail("there is no place for the lock")


def test_two_trainings_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    folder = tmp_path / "visual"
    folder.mkdir()
    with held(folder / "lock") as process:
        refused = slt_cache("train-visual", "--run", tmp_path, "--config", TINY)
    assert refused.code == 2
    assert f"{folder} is being written by process {process.pid} on" in refused.err
    assert not (folder / "best").exists()


def test_a_training_that_another_run_ends_meanwhile_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"visual_training": {"epochs": 3}}

    @contextmanager
    def released_by_another(lock: Path, name: str) -> Iterator[None]:
        write_record(tmp_path / "visual" / "best", Record("stage 1", settings).finish(3, 1.0))
        yield

    monkeypatch.setattr(run_stage, "exclusive", released_by_another)
    done = run_stage.run_stage(idle_stage(tmp_path, settings), restart=False)
    assert done.finished
    assert done.epochs == 3

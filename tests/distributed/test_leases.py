"""Signs of life: who is gone is judged by one clock alone, that of the process that looks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slt_cache.distributed.leases import Leases

LEASE = 60.0


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("slt_cache.distributed.leases.time.monotonic", clock)
    return clock


def looks(own: Leases, other: Leases, clock: Clock, seconds: float) -> list[bool]:
    """What looks at another process find, one every five seconds."""
    found = []
    for _ in range(int(seconds / 5)):
        clock.now += 5
        found.append(own.is_gone(other.member))
    return found


def test_a_process_without_signs_of_life_is_gone_after_its_lease_and_not_before(tmp_path: Path, clock: Clock) -> None:
    own, other = Leases(tmp_path, LEASE), Leases(tmp_path, LEASE)
    other._give("0", os.O_CREAT)
    assert looks(own, other, clock, LEASE) == [False] * 12  # the first look only starts the time
    assert looks(own, other, clock, 5) == [True]
    other._give("1")
    assert looks(own, other, clock, LEASE) == [False] * 12  # it was stopped, and is back


def test_each_sign_of_life_renews_the_lease(tmp_path: Path, clock: Clock) -> None:
    own, other = Leases(tmp_path, LEASE), Leases(tmp_path, LEASE)
    other._give("0", os.O_CREAT)
    for number in range(10):
        assert not any(looks(own, other, clock, LEASE - 5))
        other._give(str(number + 1))


@pytest.mark.parametrize("days", [-400, 400])
def test_the_clocks_of_machines_and_file_systems_do_not_matter(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    away = days * 86400.0
    own, other = Leases(tmp_path, LEASE), Leases(tmp_path, LEASE)
    other._give("0", os.O_CREAT)
    monkeypatch.setattr(time, "time", lambda: 1e9 + away)
    for number in range(6):
        os.utime(tmp_path / other.member, (1e9 - away * number,) * 2)
        assert looks(own, other, clock, 10) == [False, False]
    os.utime(tmp_path / other.member, (1e9 + away,) * 2)  # a time that changes is no sign of life
    assert looks(own, other, clock, 5) == [True]


def test_a_process_that_was_stopped_itself_does_not_find_the_others_gone(tmp_path: Path, clock: Clock) -> None:
    own, other = Leases(tmp_path, LEASE), Leases(tmp_path, LEASE)
    other._give("0", os.O_CREAT)
    own.is_gone(other.member)
    clock.now += 100 * LEASE
    assert not own.is_gone(other.member)


def test_a_process_that_leaves_is_gone_at_once_and_no_longer_named(tmp_path: Path) -> None:
    own, other = Leases(tmp_path, LEASE), Leases(tmp_path, LEASE)
    with own.kept_alive():
        with other.kept_alive():
            assert not own.is_gone(other.member)
            assert len(own.names()) == 2 and all(f"process {os.getpid()} on " in name for name in own.names())
        assert own.is_gone(other.member)
        assert len(own.names()) == 1


def test_who_left_no_file_is_given_time_for_it(tmp_path: Path, clock: Clock) -> None:
    own = Leases(tmp_path, LEASE)
    other = Leases(tmp_path, LEASE)
    assert looks(own, other, clock, LEASE + 5) == [False] * 12 + [True]


def test_a_process_gives_signs_while_it_lives_and_none_while_it_is_stopped(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from slt_cache.distributed.leases import Leases\n"
        "with Leases(Path(sys.argv[1]), 0.06).kept_alive(): time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as other:
        while not (files := list(tmp_path.iterdir())):
            time.sleep(0.01)
        first = files[0].read_text()
        while files[0].read_text() == first:
            time.sleep(0.01)
        other.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
        last = files[0].read_text()
        time.sleep(0.1)
        assert files[0].read_text() == last
        other.kill()

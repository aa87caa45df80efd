"""Work queue of processes that join and leave at any time, on one or several machines with a shared folder.

They share nothing but files. A claim is a file that only one process can create, `NAME/NUMBER.1`; if its owner has left
or gives no sign of life (leases.py), it passes to whoever creates `NAME/NUMBER.2`, and so on. `NAME/NUMBER.done` marks
finished work. Nothing is deleted while a process takes part, so that one which wakes up late sees that its claim has
passed. At worst, work is done twice, with the same result."""

import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from slt_cache.distributed.leases import MOST, SIGNS, Leases
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import write_json
from slt_cache.folders import remove
from slt_cache.locks import TURN, GroupLock, exclusive, shared
from slt_cache.write_errors import write_errors

DONE = sys.maxsize
"""Stands for the generation of a claim whose work is done."""
LOOK = 0.5
"""Seconds between two looks at one claim of others at most."""
ONCE = "once"
"""Name of the claims of what one process does in the end."""


@dataclass(frozen=True, kw_only=True)
class JoinedQueue(WorkQueue):
    """View of the shared work queue from one process that joined."""

    folder: Path
    begins: bool
    """Whether this process plans, while those that join wait."""
    lock: GroupLock
    leases: Leases
    _held: dict[tuple[str, int], int] = field(default_factory=dict)
    """Generation of each claim of this process."""
    _others: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Time of the last look at what others have done of each name, and how much it was."""
    _sizes: dict[str, int] = field(default_factory=dict)
    """Number of claims of each name."""

    def planned(self, make: Callable[[], Mapping[str, Any]]) -> Any:
        """Returns the plan, which the process that begins makes: the names of its claims are the keys of `todo`."""
        if self.begins:
            plan = make()
            with write_errors(self.folder):
                for name in (*plan["todo"], ONCE):
                    (self.folder / name).mkdir()
            self.publish("plan", plan)
            self.lock.share()
        return self.await_published("plan")

    def publish(self, name: str, value: Any) -> None:
        write_json(self.folder / f"{name}.json", value)

    def is_published(self, name: str) -> bool:
        return (self.folder / f"{name}.json").is_file()

    def await_published(self, name: str) -> Any:
        """Returns a published value; does not wait."""
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise self._lost() from error

    def claim_next(self, name: str, count: int) -> Iterator[int]:
        """Yields numbers below `count`, each claimed by this process; does not wait for those that others may leave."""
        latest = self._latest(name)
        self._sizes[name] = count
        for number in range(count):
            generation = latest.get(number, 0)
            if self._is_free(name, number, generation) and self._create(name, number, generation + 1):
                self._held[name, number] = generation + 1
                if self.holds(name, number):  # its owner may have finished it meanwhile
                    yield number

    def holds(self, name: str, number: int) -> bool:
        generation = self._held[name, number]
        names = [f"{number}.{one}" for one in (generation, generation + 1, "done")]
        return [(self.folder / name / one).exists() for one in names] == [True, False, False]

    def finish(self, name: str, number: int) -> None:
        path = self.folder / name / f"{number}.done"
        with write_errors(path):
            path.touch()

    def done_by_others(self, name: str, sizes: Sequence[int]) -> int:
        looked, done = self._others.get(name, (-math.inf, 0))
        if time.monotonic() - looked > MOST:
            latest = self._latest(name)
            done = sum(sizes[one] for one in latest if latest[one] == DONE and (name, one) not in self._held)
            self._others[name] = time.monotonic(), done
        return done

    def share(self, name: str) -> str:
        return f"{self.count(name, 0):,} by this process"

    def await_all(self, name: str) -> Iterator[bool]:
        """Waits until all numbers that `claim_next` went through are done; yields at every look whether one is free."""
        while unfinished := self._unfinished(name):
            free = [self._is_free(name, *one) for one in unfinished.items()]  # of all: each look at an owner counts
            yield any(free)
            self._pause(len(unfinished))

    def _unfinished(self, name: str) -> dict[int, int]:
        """Returns the latest generation of each number that is not done."""
        latest = self._latest(name)  # on NFS it may lack what others have just claimed
        generations = {number: latest.get(number, 0) for number in range(self._sizes[name])}
        return {number: generation for number, generation in generations.items() if generation != DONE}

    def once(self, work: Callable[[Callable[[], None]], Any], log_waiting: Callable[[], None]) -> Any:
        """Returns the result of `work`, which one process does while the others wait, and the next one if it is gone.
        `work` takes a function that raises SltCacheError if the work has passed to another process."""
        waits = False
        while not (self.is_published("result") or self._did(work)):
            if not waits:
                log_waiting()
            waits = True
            self._pause(1)
        return self.await_published("result")

    def _did(self, work: Callable[[Callable[[], None]], Any]) -> bool:
        """Does the work and publishes its result if this process may; returns whether it did."""
        for number in self.claim_next(ONCE, 1):
            try:
                self.publish("result", work(partial(self._require_held, number)))
                self.finish(ONCE, number)
            except Exception:
                if self.holds(ONCE, number):
                    raise
                return False  # another process does it by now
            return True
        return False

    def _pause(self, claims: int) -> None:
        """Sleeps until the next look at what others do, the longer the more there is to look at."""
        time.sleep(min(LOOK * (1 + claims / 100), self.leases.seconds / SIGNS))

    def _require_held(self, number: int) -> None:
        if not self.holds(ONCE, number):
            raise self._lost()

    def _latest(self, name: str) -> dict[int, int]:
        """Returns the latest generation of each number that was ever claimed."""
        try:
            found = [path.name for path in (self.folder / name).iterdir()]
        except FileNotFoundError as error:
            raise self._lost() from error
        latest: dict[int, int] = {}
        for number, _, generation in (one.partition(".") for one in found):
            if number.isdecimal():  # NFS keeps deleted files under other names
                latest[int(number)] = max(latest.get(int(number), 0), DONE if generation == "done" else int(generation))
        return latest

    def _is_free(self, name: str, number: int, generation: int) -> bool:
        """Returns whether this process may claim a number. Its own claim of an earlier call is free."""
        if generation in (0, DONE):
            return generation == 0
        with suppress(OSError):
            owner = (self.folder / name / f"{number}.{generation}").read_text(encoding="utf-8")
            return owner == self.leases.member or self.leases.is_gone(owner or "unknown")
        return False

    def _create(self, name: str, number: int, generation: int) -> bool:
        """Creates the file of a claim; returns False if another process did so."""
        path = self.folder / name / f"{number}.{generation}"
        with write_errors(path), suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(self.leases.member)
            return True
        return False

    def _lost(self) -> SltCacheError:
        return SltCacheError(
            f"{self.folder}: the others went on without this process, which gave no sign of life for "
            f"{self.leases.seconds:g} s. Run the same command again."
        )


@contextmanager
def joined(
    folder: Path, what: str, asked: Mapping[str, Any], lease: float, log: Callable[[str], None]
) -> Iterator[JoinedQueue]:
    """Joins the processes that write `what` together by way of a folder, or begins. The last to leave deletes the
    folder.

    Raises InputError if they were asked for something else, naming it, or if a process writes it alone."""
    lock, leases = GroupLock(_lock_of(folder)), Leases(folder / "members", lease)
    begins = _begins(lock, leases, what, asked, log)
    try:
        with shared(folder.with_name("lock"), what), leases.kept_alive():
            queue = JoinedQueue(folder=folder, begins=begins, lock=lock, leases=leases)
            if begins:
                queue.publish("asked", asked)
            yield queue
    finally:
        lock.release()
        if lock.acquire(alone=True):
            remove(folder)
            with suppress(SltCacheError), exclusive(folder.with_name("lock"), what):
                pass  # it is deleted
            lock.remove()


def remove_joined(folder: Path) -> None:
    """Deletes what killed processes left in the folder of a queue; the caller holds the lock of what they wrote."""
    remove(folder)
    remove(_lock_of(folder))


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _begins(lock: GroupLock, leases: Leases, what: str, asked: Mapping[str, Any], log: Callable[[str], None]) -> bool:
    """Acquires the lock; returns whether this process begins, since there is no other. Waits while another one plans,
    and until those who have just finished have left, but not for longer than a lease."""
    folder, begun, waits = leases.folder.parent, time.monotonic(), False
    while not lock.acquire(alone=True):
        if lock.acquire(alone=False):
            is_finished, waited = (folder / "result.json").is_file(), time.monotonic() - begun
            if (folder / "plan.json").is_file() and (not is_finished or waited > leases.seconds):
                with _released(lock):
                    _require_same(json.loads((folder / "asked.json").read_text(encoding="utf-8")), asked, what)
                if is_finished:
                    log(f"{what}: {', '.join(leases.names()) or 'a process'} has not ended; its result is taken")
                return False
            lock.release()
        if not waits and time.monotonic() - begun > 10 * TURN:
            waits = True
            log(f"{what}: waiting for another process, which plans the work or is about to leave")
        time.sleep(random.SystemRandom().uniform(0.5, 1.0) * min(TURN + (time.monotonic() - begun) / 10, MOST))
    remove(folder)
    with _released(lock), write_errors(folder):
        leases.folder.mkdir(parents=True)
    return True


@contextmanager
def _released(lock: GroupLock) -> Iterator[None]:
    """Releases a lock if the block fails."""
    try:
        yield
    except BaseException:
        lock.release()
        raise


def _require_same(theirs: Mapping[str, Any], own: Mapping[str, Any], what: str) -> None:
    different = [
        f"{name}: the others {_short(theirs.get(name))}, this process {_short(own.get(name))}"
        for name in dict.fromkeys([*theirs, *own])
        if theirs.get(name) != own.get(name)
    ]
    if different:
        raise InputError(
            f"{what} is being written by processes that were asked for something else ({'; '.join(different)}). Use "
            "their options and settings, wait until they are done, or write elsewhere (--features)."
        )


def _short(value: Any) -> str:
    """Abbreviates a hash; anything else is returned in full."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text

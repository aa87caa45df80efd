"""Clips read ahead by processes of their own, in order.

A file that kills or hangs the decoder costs itself and nothing else: its reader is replaced, and the clip comes back as
UnreadableVideo. A clip whose reader died is tried once more, for memory may have run out. Pieces come through shared
memory of a fixed size, so readers wait for a slow encoder."""

import ctypes
import mmap
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from slt_cache.children import belong_to, starting
from slt_cache.video.chunks import ClipEnd, ClipView, Event, PieceReader
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.subprocess import METHOD, PATIENCE, Died

SLOTS = 4
"""Pieces that a reader may be ahead."""
SLOT_BYTES = 4_000_000
"""At most, unless a single frame is larger."""
NICENESS = 10
"""So that readers do not take the cores from an encoder on the CPU, which would wait for each of its threads."""
STOPS = sys.platform == "linux"
"""Whether a reader may stop itself: the system must kill it when its parent dies, for it could not see that."""

_said: set[tuple[Path, str]] = set()
"""Videos and what was said of them."""


def read_ahead(jobs: Iterable[ClipView], reader: PieceReader, workers: int) -> Iterator[Event]:
    """The events of all jobs, one job after another, whichever reader has read them. With 0 workers they are read
    here. A piece is valid until the next event is asked for. What a user should know of a video is said on stderr, once
    in this process."""
    with closing(_read_ahead(jobs, reader, workers)) as events:
        for event in events:
            if isinstance(event, ClipEnd):
                _say(event)
            yield event


def _read_ahead(jobs: Iterable[ClipView], reader: PieceReader, workers: int) -> Generator[Event, None, None]:
    if workers == 0:
        for job in jobs:
            yield from reader.events(job)
        return
    with closing(_Readers(reader, workers)) as readers:
        yield from readers.events(iter(jobs))


def _say(end: ClipEnd) -> None:
    for add_issue in end.notes:
        if (end.clip.video, add_issue) not in _said:
            _said.add((end.clip.video, add_issue))
            tqdm.write(f"{end.clip.video}: {add_issue}.", file=sys.stderr)


class _Readers:
    """A team of reader processes."""

    def __init__(self, reader: PieceReader, workers: int):
        self.members = [_Member(reader) for _ in range(workers)]

    def events(self, jobs: Iterator[ClipView]) -> Iterator[Event]:
        waiting: deque[tuple[ClipView, _Member]] = deque()
        while True:
            while min(len(member.jobs) for member in self.members) <= SLOTS:
                job = next(jobs, None)
                if job is None:
                    break
                member = min(self.members, key=lambda member: len(member.jobs))
                member.give(job)
                waiting.append((job, member))
            if not waiting:
                return
            _, member = waiting.popleft()
            yield from member.take()

    def close(self) -> None:
        for member in self.members:
            member.stop()


class _Member:
    """One process, its jobs and its ring of pieces."""

    def __init__(self, reader: PieceReader):
        self.reader = reader
        self.jobs: deque[ClipView] = deque()
        self._start()

    def _start(self) -> None:
        context: Any = multiprocessing.get_context(METHOD)
        size = self.reader.video.size
        shape = (SLOTS, max(1, SLOT_BYTES // (3 * size * size)), size, size, 3)
        with starting():
            memory = _shared(context, int(np.prod(shape)))
            self.ring = torch.frombuffer(memory, dtype=torch.uint8).view(shape)
            self.free = context.Semaphore(SLOTS)
            self.slot = 0
            self.connection, theirs = context.Pipe()
            self.process = context.Process(
                target=_read, args=(theirs, memory, shape, self.free, self.reader, os.getpid()), daemon=True
            )
            self.process.start()
        theirs.close()

    def give(self, job: ClipView) -> None:
        self.jobs.append(job)
        self._send(job)

    def _send(self, job: ClipView) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # noticed, and sent again, when its events are taken
            self.connection.send(job)

    def take(self) -> Iterator[Event]:
        """The events of its oldest job."""
        clip, tried, given, known = self.jobs[0].clip, False, 0, 0
        while True:
            message = self._receive()
            if isinstance(message, int):
                new = min(message, max(0, known + message - given))  # a second try begins with what was given already
                if new:
                    yield self.ring[self.slot, message - new : message].permute(0, 3, 1, 2)
                known, given = known + message, given + new
                self.slot = (self.slot + 1) % SLOTS
                self.free.release()
                self._wake()
                continue
            if isinstance(message, Died):
                if not tried:
                    tried, known = True, 0
                    self._restart()
                    continue
                message = UnreadableVideo(clip.id, clip.video, str(message), message.advice)
            self.jobs.popleft()
            if isinstance(message, UnreadableVideo) and not self.process.is_alive():
                self._restart()
            yield message
            return

    def _receive(self) -> int | ClipEnd | UnreadableVideo | Died:
        clip = self.jobs[0].clip
        try:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                self._wake()
                if self.connection.poll(0.2):
                    message: int | ClipEnd | UnreadableVideo | Died = self.connection.recv()
                    return message
            self.process.kill()
            reason = f"the decoder gave no frame in {PATIENCE} seconds"
        except (EOFError, ConnectionResetError):
            self.process.join()
            return Died(self.process.exitcode)
        self.process.join()
        return UnreadableVideo(clip.id, clip.video, reason)

    def _wake(self) -> None:
        """It may have stopped itself for want of a free slot."""
        if STOPS and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGCONT)

    def _restart(self) -> None:
        """Starts a new process for the jobs that the old one did not finish."""
        self.connection.close()
        self._start()
        for job in self.jobs:
            self._send(job)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _shared(context: Any, size: int) -> Any:
    """Bytes that this process and the one it starts both see. A fork needs no file for them, so they do not depend on
    /dev/shm, which is small in containers and whose end would be that of the process."""
    return mmap.mmap(-1, size) if METHOD == "fork" else context.RawArray(ctypes.c_uint8, size)


def _read(
    connection: Connection, memory: Any, shape: tuple[int, ...], free: Any, reader: PieceReader, parent: int
) -> None:
    """The process: jobs in; lengths of pieces, ends and errors out. Ends when its parent does."""
    belong_to(parent)
    if hasattr(os, "nice"):  # Windows has it not
        os.nice(NICENESS)
    torch.set_num_threads(1)
    ring = torch.frombuffer(memory, dtype=torch.uint8).view(shape)
    slot = 0
    _end_without(parent)  # killed before it could be asked to take this process with it
    while True:
        while not connection.poll(1.0):
            _end_without(parent)
        try:
            job = connection.recv()
        except EOFError:
            return
        for event in reader.events(job):
            if not isinstance(event, torch.Tensor):
                connection.send(event)
                continue
            for piece in event.split(shape[1]):
                _acquire(free, parent)
                ring[slot, : len(piece)] = piece.permute(0, 2, 3, 1)
                slot = (slot + 1) % shape[0]
                connection.send(len(piece))


def _acquire(free: Any, parent: int) -> None:
    """Waits for a free slot. While a process waits, decord's threads go on decoding, without bound; so where it can be
    woken again, it stops all of itself."""
    while not free.acquire(block=not STOPS, timeout=1.0):
        if STOPS:
            os.kill(os.getpid(), signal.SIGSTOP)
        _end_without(parent)


def _end_without(parent: int) -> None:
    """A process that was killed leaves its children behind; they must not stay."""
    if os.getppid() != parent:
        os._exit(1)

"""Reads clips ahead in separate processes, in order.

A file that crashes or hangs the decoder affects only itself: its reader is replaced, and the clip becomes an
UnreadableVideo. A clip whose reader died is tried once more, as memory may have run out. Chunks pass through shared
memory of a fixed size, so readers wait for a slow encoder."""

import ctypes
import math
import mmap
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from slt_cache.children import belong_to, end_without, starting
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, Event
from slt_cache.video.program import ProgramReader
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.subprocess import METHOD, PATIENCE, Died

SLOTS = 4
"""Chunks that a reader may be ahead."""
SLOT_BYTES = 4_000_000
"""Largest size of a slot, unless a single frame is larger."""
NICENESS = 2
"""Niceness of readers: an encoder on the CPU, which waits for all its threads, comes first, and next to other programs
readers still get nearly their share of the cores. With 10 an extraction took twice as long there."""
STOPS = sys.platform == "linux"
"""Whether a reader may stop itself: only if the system kills it when its parent dies, which it could not notice."""

_printed: set[tuple[Path, str]] = set()
"""Videos and notes that have been printed."""


def read_ahead(jobs: Iterable[ClipView], reader: ChunkReader, workers: int) -> Iterator[Event]:
    """Yields the events of all jobs in order. With 0 workers they are read in this process. A chunk is valid until the
    next event is requested. Notes on a video are printed to stderr, once per process."""
    with closing(_read_ahead(jobs, reader, workers)) as events:
        for event in events:
            if isinstance(event, ClipEnd):
                _print_notes(event)
            yield event


def _read_ahead(jobs: Iterable[ClipView], reader: ChunkReader, workers: int) -> Generator[Event, None, None]:
    if isinstance(reader, ProgramReader):
        yield from reader.events_of_all(jobs, workers)
    elif workers == 0:
        for job in jobs:
            yield from reader.events(job)
    else:
        with closing(_Pool(reader, workers)) as readers:
            yield from readers.events(iter(jobs))


def _print_notes(end: ClipEnd) -> None:
    for note in end.notes:
        if (end.clip.video, note) not in _printed:
            _printed.add((end.clip.video, note))
            tqdm.write(f"{end.clip.video}: {note}.", file=sys.stderr)


@dataclass(frozen=True)
class _Chunk:
    """Chunk in the next slot of a reader's ring buffer: images, uint8, or rows of numbers in their place, float32."""

    shape: tuple[int, ...]
    is_images: bool


class _Pool:
    """A pool of reader processes."""

    def __init__(self, reader: ChunkReader, workers: int):
        self.readers = [_Reader(reader) for _ in range(workers)]

    def events(self, jobs: Iterator[ClipView]) -> Iterator[Event]:
        waiting: deque[tuple[ClipView, _Reader]] = deque()
        while True:
            while min(len(reader_process.jobs) for reader_process in self.readers) <= SLOTS:
                job = next(jobs, None)
                if job is None:
                    break
                reader_process = min(self.readers, key=lambda reader_process: len(reader_process.jobs))
                reader_process.give(job)
                waiting.append((job, reader_process))
            if not waiting:
                return
            _, reader_process = waiting.popleft()
            yield from reader_process.take()

    def close(self) -> None:
        for reader_process in self.readers:
            reader_process.stop()


class _Reader:
    """One reader process, its jobs and its ring buffer of chunks."""

    def __init__(self, reader: ChunkReader):
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
        with suppress(BrokenPipeError, ConnectionResetError):  # noticed and sent again when its events are received
            self.connection.send(job)

    def take(self) -> Iterator[Event]:
        """Yields the events of its oldest job."""
        clip, tried, yielded, seen = self.jobs[0].clip, False, 0, 0
        while True:
            message = self._receive()
            if isinstance(message, _Chunk):
                count = message.shape[0]
                new = min(count, max(0, seen + count - yielded))  # a second try repeats what has been yielded
                if new:
                    yield self._chunk(message)[count - new :]
                seen, yielded = seen + count, yielded + new
                self.slot = (self.slot + 1) % SLOTS
                self.free.release()
                self._wake()
                continue
            if isinstance(message, Died):
                if not tried:
                    tried, seen = True, 0
                    self._restart()
                    continue
                message = UnreadableVideo(clip.id, clip.video, str(message), message.advice)
            self.jobs.popleft()
            if isinstance(message, UnreadableVideo) and not self.process.is_alive():
                self._restart()
            yield message
            return

    def _chunk(self, message: "_Chunk") -> torch.Tensor:
        slot = self.ring[self.slot]
        if message.is_images:
            return slot[: message.shape[0]].permute(0, 3, 1, 2)
        values = slot.flatten()[: 4 * math.prod(message.shape)].numpy()
        return torch.from_numpy(values.copy().view(np.float32)).view(message.shape)

    def _receive(self) -> "_Chunk | ClipEnd | UnreadableVideo | Died":
        clip = self.jobs[0].clip
        try:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                self._wake()
                if self.connection.poll(0.2):
                    message: _Chunk | ClipEnd | UnreadableVideo | Died = self.connection.recv()
                    return message
            self.process.kill()
            reason = f"the decoder gave no frame in {PATIENCE} seconds"
        except (EOFError, ConnectionResetError):
            self.process.join()
            return Died(self.process.exitcode)
        self.process.join()
        return UnreadableVideo(clip.id, clip.video, reason)

    def _wake(self) -> None:
        """Resumes the process, which may have stopped itself for lack of a free slot."""
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
    """Returns memory shared with a child process. A fork needs no file for it, so it does not depend on /dev/shm, which
    is small in containers and kills the process when full."""
    return mmap.mmap(-1, size) if METHOD == "fork" else context.RawArray(ctypes.c_uint8, size)


def _read(
    connection: Connection, memory: Any, shape: tuple[int, ...], free: Any, reader: ChunkReader, parent: int
) -> None:
    """Runs in a reader process: jobs in; lengths of chunks, ends and errors out. Ends with its parent."""
    belong_to(parent)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICENESS)
    torch.set_num_threads(1)
    ring = torch.frombuffer(memory, dtype=torch.uint8).view(shape)
    slot = 0
    while True:
        while not connection.poll(1.0):
            end_without(parent)
        try:
            job = connection.recv()
        except EOFError:
            return
        for event in reader.events(job):
            if not isinstance(event, torch.Tensor):
                connection.send(event)
                continue
            for chunk in event.split(_most(event, shape)):
                _acquire(free, parent)
                _put(chunk, ring[slot])
                slot = (slot + 1) % shape[0]
                connection.send(_Chunk(tuple(chunk.shape), chunk.dtype == torch.uint8))


def _most(event: torch.Tensor, shape: tuple[int, ...]) -> int:
    """Returns how many of a chunk's frames, or of the rows of numbers in their place, fit into a slot."""
    return shape[1] if event.dtype == torch.uint8 else math.prod(shape[1:]) // (4 * math.prod(event.shape[1:]))


def _put(chunk: torch.Tensor, slot: torch.Tensor) -> None:
    if chunk.dtype == torch.uint8:
        slot[: len(chunk)] = chunk.permute(0, 2, 3, 1)
    else:
        values = chunk.contiguous().flatten().view(torch.uint8)
        slot.flatten()[: len(values)] = values


def _acquire(free: Any, parent: int) -> None:
    """Waits for a free slot. Meanwhile decord's threads would decode without bound, so the process stops as a whole if
    it can be resumed."""
    while not free.acquire(block=not STOPS, timeout=1.0):
        if STOPS:
            os.kill(os.getpid(), signal.SIGSTOP)
        end_without(parent)

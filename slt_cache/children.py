"""Child processes: they end with this process, leave Ctrl-C to it, and their endings are explained in words."""

import ctypes
import errno
import gc
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

from slt_cache.errors import SltCacheError
from slt_cache.forks import left_to_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

PR_SET_PDEATHSIG = 1
"""Option of prctl(2)."""
LOOK = 1.0
"""Seconds between two checks that the parent still exists, on systems that do not report its end."""
ORDERLY = 3.0
"""Seconds that interrupted work has to end before it is killed."""
SHARED_MEMORY = Path("/dev/shm")
"""Shared memory through which processes pass what they read; containers often have 64 MB."""
REFUSED = frozenset({errno.ENOSPC, errno.ENOMEM, errno.EAGAIN})
FEWER = "Run the same command with fewer of them (--set compute.workers=1, or 0 for none)."
MEMORY = "Usually the machine ran out of memory"


class ChildEnded(SltCacheError):
    """Error of a process that ended before its work was done."""

    def __init__(self, task: str, process: int | None, exit_code: int | None) -> None:
        cause = likely_cause(exit_code)
        super().__init__(f"{task} (process {process}) {ending(exit_code)}.{' ' if cause else ''}{cause}")


@contextmanager
def starting(tracked: bool = True) -> Iterator[None]:
    """Context for starting processes: they inherit a blocked Ctrl-C, so that not even one that is still importing
    prints a traceback. Raises SltCacheError if the system has no room for them.

    `tracked` says whether they are spawned or share semaphores, for which multiprocessing starts one more process."""
    if tracked and sys.platform != "win32":
        resource_tracker.ensure_running()  # it unblocks Ctrl-C when it starts, so not in the block
    with _uninterrupted():
        try:
            yield
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            raise SltCacheError(
                f"no process could be started to read or draw clips ({error.strerror}). {shared_memory()} {FEWER}"
            ) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Blocks Ctrl-C for new processes to inherit, and defers it and SIGTERM to the end of the block: another thread may
    receive Ctrl-C, and an interrupt would leave a process waiting."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    heard: list[int] = []
    process = os.getpid()

    def hear(number: int, frame: FrameType | None) -> None:
        if not left_to_parent(number, process):
            heard.append(number)

    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, hear)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if heard:
            signal.raise_signal(heard[0])


def shared_memory() -> str:
    """Returns the size of shared memory, as a sentence."""
    if not SHARED_MEMORY.is_dir():
        return ""
    usage = shutil.disk_usage(SHARED_MEMORY)
    return (
        f"{SHARED_MEMORY} has {usage.total / 1e6:,.1f} MB, {usage.free / 1e6:,.1f} MB of it free now; "
        "give it more (docker run --shm-size=8g)."
    )


def belong_to(parent: int) -> None:
    """Ties a new process to its parent; it calls this first. Ctrl-C is left to the parent, with which it ends, even a
    killed one. `parent` is the parent's process id."""
    # A fork must not clean up what it inherited: decord's readers would wait for threads that only the parent has.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        _end_with(parent)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    end_without(parent)  # it may have been killed before


def _as_a_program(parent: int) -> None:
    """Ties a program to its parent, whose own limit of memory, as of the page's readers, is not the program's."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    _end_with(parent)


def start_program(arguments: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Starts another program in a session of its own, so that Ctrl-C is left to this process. On Linux it ends with
    this process, even a killed one. `options` are those of Popen. Raises OSError."""
    prepare = partial(_as_a_program, os.getpid()) if sys.platform == "linux" else None
    return subprocess.Popen(arguments, preexec_fn=prepare, start_new_session=True, **options)


def end_program(process: "subprocess.Popen[bytes]") -> int:
    """Ends a program of `start_program`, with all that it has started and left; returns its exit code, as of
    `multiprocessing`."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # nothing if it has ended
    return process.wait()


def last_line(output: IO[bytes]) -> str:
    """Returns the last line that a program printed to a file, stripped; empty if there is none."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - 10_000))
    return output.read().decode(errors="replace").strip().rpartition("\n")[2].strip()


def _watch(parent: int) -> None:
    while True:
        end_without(parent)
        time.sleep(LOOK)


def end_without(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(1)


def ending(exit_code: int | None) -> str:
    """Returns how a process ended, in words, from the exit code of `multiprocessing`."""
    if exit_code is None:
        return "does not answer"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"was killed by {name}"


def likely_cause(exit_code: int | None) -> str:
    """Returns the usual cause of that ending as a sentence; empty if there is none."""
    if exit_code == -signal.SIGKILL:
        return f"{MEMORY}."
    if exit_code == -signal.SIGBUS:
        return "Usually /dev/shm or another file system in memory is full."
    return ""


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, task: str
) -> Generator[Result, None, None]:
    """Yields what `work` returns for each item, in order of completion; new processes take items one by one. Closing it
    ends them after their current item.

    Raises what `work` raises, and ChildEnded, naming the process `task`, if one dies."""
    waiting, busy = list(reversed(items)), {}
    processes = []
    try:
        for _ in range(min(workers, len(items))):
            ours, process = _started(work, daemon=True)
            processes.append((ours, process))
            busy[ours] = process
            _give(ours, waiting.pop())
        while busy:
            for ready in wait(list(busy)):
                yield _answer(ready, busy[ready], task)
                if waiting:
                    _give(ready, waiting.pop())
                else:
                    del busy[ready]
    finally:
        for ours, _ in processes:
            ours.close()
        for _, process in processes:
            process.join()


def in_a_process(task: str, work: Callable[..., Result], *arguments: Any) -> Result:
    """Returns what `work` returns in a fresh process, whose memory holds nothing else, which may start others, and
    which an interruption kills. Raises errors like `spread`."""
    ours, process = _started(partial(_call, work), daemon=False)
    try:
        _give(ours, arguments)
        result: Result = _answer(ours, process, task)
        return result
    except BaseException:
        process.terminate()
        try:
            process.join(ORDERLY)
        finally:
            process.kill()
        raise
    finally:
        ours.close()
        process.join()


def _started(work: Callable[[Any], Any], daemon: bool) -> tuple[Any, Any]:
    """Starts a process that serves items; returns the connection to it, and the process."""
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, os.getpid()), daemon=daemon)
    with starting():
        process.start()
    theirs.close()
    return ours, process


def _call(work: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    signal.signal(signal.SIGTERM, _end)
    return work(*arguments)


def _end(number: int, frame: FrameType | None) -> None:
    """Ends this process in order: semaphores of one that is killed are reported as leaked."""
    raise SystemExit(128 + number)


def _give(connection: Any, item: Any) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: noticed when its answer is read
        connection.send(item)


def _answer(connection: Any, process: Any, task: str) -> Any:
    try:
        good, answer = connection.recv()
    except (EOFError, OSError):  # the latter if it died while answering
        process.join()
        raise ChildEnded(task, process.pid, process.exitcode) from None
    if not good:
        raise answer
    return answer


def _serve(connection: Connection, work: Callable[[Any], Any], parent: int) -> None:
    """Runs the worker loop: receives items, sends (True, result) or (False, error), until the parent closes the
    pipe."""
    belong_to(parent)
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        answer: tuple[bool, Any]
        try:
            answer = (True, work(item))
        except MemoryError:
            answer = (
                False,
                SltCacheError(f"process {os.getpid()} ran out of memory. End other programs, or start fewer."),
            )
        except Exception as error:
            answer = (False, error)
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return

"""Cooperation of processes that train or score together: a thin layer over torch.distributed.

`torchrun` starts them, and `join` connects them. A single process, or one that has not joined, is its own main process:
then nothing here waits, sends or changes anything. Messages are small and go over gloo, in memory;
DistributedDataParallel exchanges gradients."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from slt_cache.distributed.interface import choose_interface
from slt_cache.distributed.work_queue import WorkQueue, requiring_others
from slt_cache.errors import InputError, SltCacheError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""Longest wait for another process, which may draw a corpus or trim an LLM; a dead process is noticed at once."""
GRACE = timedelta(seconds=10)
"""Longest wait of an error for the main process's message."""
READING = timedelta(seconds=2)
"""Longest wait of the main process for the others to read its message."""

LOOK = 0.02
"""Seconds between two checks for a stop request while waiting for others."""

_ALONE = WorkQueue()
_queue = _ALONE
_asked: Callable[[], bool] | None = None
"""Function that returns whether this process is asked to stop, inside `stopping_together`."""


class Stopped(KeyboardInterrupt):
    """Interruption of all processes because one was asked to stop."""


def join() -> None:
    """Connects the processes that torchrun started; called by all of them."""
    global _queue
    queue = WorkQueue.from_environment() if _queue is _ALONE else _ALONE
    if queue.store is None:
        return
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = PrefixStore("processes", queue.store)
    with requiring_others():
        choose_interface(queue)
        distributed.init_process_group(backend, store=store, rank=queue.rank, world_size=queue.size, timeout=PATIENCE)
    _queue = queue


def leave() -> None:
    """Disconnects after a finished command, as NCCL requires."""
    global _queue
    if _queue is not _ALONE:
        from torch import distributed

        distributed.destroy_process_group()
        _queue = _ALONE


def rank() -> int:
    return _queue.rank


def size() -> int:
    return _queue.size


def is_main_process() -> bool:
    """Returns whether this is the process that writes and logs."""
    return _queue.is_main_process


def all_reduce_sum(values: Sequence[float], error: Exception | None = None) -> list[float]:
    """Returns each value summed over all processes. An error of any process is raised by all, since one that stopped
    alone would leave the others waiting."""
    if size() == 1:
        if error is not None:
            raise error
        return list(values)
    import torch
    from torch import distributed

    tensor = torch.tensor([*values, float(error is not None)], dtype=torch.float64)
    with requiring_others():
        _look_while(distributed.all_reduce(tensor, async_op=_asked is not None))
    *sums, failed = tensor.tolist()
    if failed:
        _raise_first(error)
    return sums


def barrier() -> None:
    all_reduce_sum([])


def gather_object(make: Callable[[], list[T]]) -> list[T]:
    """Returns the concatenated lists of all processes, on each of them. Raises what one of them raised, or Stopped if
    one was stopped."""
    if size() == 1:
        return make()
    mine: list[T] = []
    error: Exception | None = None
    stopped = False
    try:
        mine = make()
    except SltCacheError as caught:
        error = caught
    except Stopped:
        stopped = True
    if all_reduce_sum([stopped], error)[0]:
        raise Stopped
    return [one for part in _all_of(mine) for one in part]


def main_process_first(make: Callable[[], T]) -> T:
    """Calls `make` on the main process first, then on the others, which find its result."""
    if size() == 1:
        return make()
    made: list[T] = []
    error: Exception | None = None
    if is_main_process():
        try:
            made.append(make())
        except SltCacheError as caught:
            error = caught
    all_reduce_sum([], error)
    return made[0] if is_main_process() else make()


@contextmanager
def stopping_together(asked: Callable[[], bool]) -> Iterator[None]:
    """Stops all processes together: in the block, `until_stopped` raises Stopped in all of them, inside
    `gather_object`, as soon as `asked` returns True in one."""
    global _asked
    _asked = asked
    try:
        yield
    finally:
        _asked = None


def until_stopped(items: Iterable[T]) -> Iterator[T]:
    """Yields the items. Raises Stopped between two of them, see `stopping_together`."""
    for item in items:
        if _stop_is_asked():
            raise Stopped
        yield item


def _stop_is_asked() -> bool:
    """Returns whether this process is asked to stop, telling the others, or another was. Does not wait, since each
    process is elsewhere in its shard."""
    if size() == 1 or _asked is None:
        return False
    if _asked():
        _queue.publish("stop", True)
    return _queue.is_published("stop")


def _look_while(meeting: Any) -> None:
    """Waits for all processes but keeps checking for stop requests, since a process blocked in torch handles no
    signals."""
    if meeting is None:
        return
    while not meeting.is_completed():
        _stop_is_asked()
        time.sleep(LOOK)
    meeting.wait()


def shard(items: Sequence[T], block: int) -> list[T]:
    """Returns this rank's shard of `items`, assigned round-robin in blocks of `block`, so that blocks are the same for
    any number of processes."""
    firsts = range(rank() * block, len(items), size() * block)
    return [item for first in firsts for item in items[first : first + block]]


def log_once(message: str, log: Callable[[str], None], interrupted: bool = False) -> None:
    """Logs why a command ends, unless the main process logs the same, or anything if this one was `interrupted`:
    launchers end the others when one has failed."""
    queue = _queue
    if queue is _ALONE and interrupted:  # the others may be gone: nobody is waited for
        if os.environ.get("RANK", "0") == "0":
            log(message)
        return
    if queue is _ALONE:
        try:
            queue = WorkQueue.from_environment()
        except (RuntimeError, OSError):
            queue = _ALONE
    if not queue.is_main_process:
        said = _logged_by_main_process(queue)
        if said == message or (interrupted and said is not None):
            return
    log(message)
    if queue.is_main_process:
        queue.publish("said", message)
        _let_others_read(queue)


def _logged_by_main_process(queue: WorkQueue) -> str | None:
    try:
        queue.store.wait(["said"], GRACE)
        said = str(queue.await_published("said"))
        queue.count("heard", 1)
        return said
    except (RuntimeError, SltCacheError):
        return None


def _let_others_read(queue: WorkQueue) -> None:
    """Gives the others time to read what was published, if the store ends with this process: without torchrun the main
    process holds it. Those that wait for nothing are not waited for long."""
    if queue.store is None or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return
    until = time.monotonic() + READING.total_seconds()
    while queue.count("heard", 0) < queue.size - 1 and time.monotonic() < until:
        time.sleep(LOOK)


def _raise_first(error: Exception | None) -> None:
    """Raises the error of the first process that has one, with its message."""
    mine = None
    if isinstance(error, SltCacheError):
        mine = (error.exit_code, str(error))
    elif error is not None:
        mine = (SltCacheError.exit_code, f"{type(error).__name__}: {error}")
    code, message = next(one for one in _all_of(mine) if one is not None)
    raise (InputError if code == InputError.exit_code else SltCacheError)(message) from error


def _all_of(mine: T) -> list[T]:
    from torch import distributed

    parts: list[T] = [mine] * size()
    with requiring_others():
        distributed.all_gather_object(parts, mine)
    return parts

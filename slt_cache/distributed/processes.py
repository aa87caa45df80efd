"""Processes that train or score one thing together: torch.distributed in a few words.

`torchrun` starts them, and `join` has them meet. A process that is alone, or has not joined, is the leader of itself:
then nothing here waits, sends or changes anything. What is said between them is small and goes over gloo, from memory
to memory; gradients are DistributedDataParallel's."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.errors import InputError, SltCacheError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""That one waits for another, which may draw a corpus or trim an LLM; that one has died is noticed at once."""
GRACE = timedelta(seconds=10)
"""That an error waits for the leader's word."""

LOOK = 0.02
"""Seconds between two looks at whether this process is asked to stop, while it waits for others."""

_ALONE = WorkQueue()
_team = _ALONE
_asked: Callable[[], bool] | None = None
"""Whether this process is asked to stop, where all are to stop then."""


class Stopped(KeyboardInterrupt):
    """One of several processes has been asked to stop, and all of them do."""


def join() -> None:
    """Has the processes that torchrun has started meet; to be called by all of them."""
    global _team
    team = WorkQueue.from_environment() if _team is _ALONE else _ALONE
    if team.store is None:
        return
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = PrefixStore("processes", team.store)
    with _others():
        distributed.init_process_group(backend, store=store, rank=team.rank, world_size=team.size, timeout=PATIENCE)
    _team = team


def leave() -> None:
    """Behind a command that has done its work, for NCCL wants to be told."""
    global _team
    if _team is not _ALONE:
        from torch import distributed

        distributed.destroy_process_group()
        _team = _ALONE


def rank() -> int:
    return _team.rank


def size() -> int:
    return _team.size


def is_main_process() -> bool:
    """Whether this is the one process that writes and speaks."""
    return _team.is_main_process


def all_reduce_sum(figures: Sequence[float], error: Exception | None = None) -> list[float]:
    """Each figure summed over all processes. An error that any of them brings is raised by all: one that stopped alone
    would leave the others waiting."""
    if size() == 1:
        if error is not None:
            raise error
        return list(figures)
    import torch
    from torch import distributed

    values = torch.tensor([*figures, float(error is not None)], dtype=torch.float64)
    with _others():
        _look_while(distributed.all_reduce(values, async_op=_asked is not None))
    *sums, failed = values.tolist()
    if failed:
        _raise_first(error)
    return sums


def barrier() -> None:
    all_reduce_sum([])


def gather_object(make: Callable[[], list[T]]) -> list[T]:
    """What all processes make, one list after another; all of them get all of it. Raises what one of them raised, and
    Stopped where one of them was stopped."""
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
    """For what is made once, and only read where it is there: the leader makes it, and then the others read it."""
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
    """Stops all processes together: what they make by `gather_object` out of items `until_stopped` is given up by all
    of them as soon as `asked` says in any of them that it is to stop."""
    global _asked
    _asked = asked
    try:
        yield
    finally:
        _asked = None


def until_stopped(items: Iterable[T]) -> Iterator[T]:
    """The items, one by one. Raises Stopped between two of them, as `stopping_together` says."""
    for item in items:
        if _stop_is_asked():
            raise Stopped
        yield item


def _stop_is_asked() -> bool:
    """Of this process, which tells the others, or of one that has told so. Nobody waits for anybody here: each is
    somewhere else in its share."""
    if size() == 1 or _asked is None:
        return False
    if _asked():
        _team.publish("stop", True)
    return _team.is_published("stop")


def _look_while(meeting: Any) -> None:
    """Waits until all have come. A signal is not heard by a process that waits within torch."""
    if meeting is None:
        return
    while not meeting.is_completed():
        _stop_is_asked()
        time.sleep(LOOK)
    meeting.wait()


def shard(items: Sequence[T], at_once: int) -> list[T]:
    """This process's share of items that are worked on so many at once, dealt out like cards: what is worked on
    together is the same, however many processes there are."""
    firsts = range(rank() * at_once, len(items), size() * at_once)
    return [item for first in firsts for item in items[first : first + at_once]]


def log_once(message: str, log: Callable[[str], None]) -> None:
    """Says why a command ends; not what the leader says already."""
    team = _team
    if team is _ALONE:
        try:
            team = WorkQueue.from_environment()
        except (RuntimeError, OSError):
            team = _ALONE
    if not team.is_main_process and _said_by_leader(team) == message:
        return
    log(message)
    if team.is_main_process:
        team.publish("said", message)


def _said_by_leader(team: WorkQueue) -> str | None:
    try:
        team.store.wait(["said"], GRACE)
    except RuntimeError:
        return None
    return str(team.await_published("said"))


def _raise_first(error: Exception | None) -> None:
    """The error of the first process that has one, in its words."""
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
    with _others():
        distributed.all_gather_object(parts, mine)
    return parts


@contextmanager
def _others() -> Iterator[None]:
    """What fails here fails because another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise SltCacheError(f"another process of this run has ended; its message says why. ({error})") from error

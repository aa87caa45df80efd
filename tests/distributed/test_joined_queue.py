"""The queue of processes that come and go: each number is one process's at a time, and passes on when it is gone."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slt_cache.distributed.joined_queue import ONCE, JoinedQueue, joined, remove_joined
from slt_cache.distributed.leases import Leases
from slt_cache.errors import InputError, SltCacheError
from slt_cache.locks import GroupLock, exclusive

SHORT = 0.06
"""Seconds of a lease."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the process that begins makes it."""
    folder = tmp_path / "join"
    for name in ("members", "train", ONCE):
        (folder / name).mkdir(parents=True)
    return folder


def member(folder: Path, lease: float = SHORT) -> JoinedQueue:
    """A process that joined, as the others see it; it gives no signs of life."""
    lock, leases = GroupLock(folder.with_name("join.lock")), Leases(folder / "members", lease)
    leases._give("0", 0o100)  # O_CREAT
    return JoinedQueue(folder=folder, begins=False, lock=lock, leases=leases)


def taken(queue: JoinedQueue, count: int) -> list[int]:
    """What the queue gives within a lease and a bit."""
    found = list(queue.claim_next("train", count))
    for is_free in queue.await_all("train"):
        if is_free:
            return found + list(queue.claim_next("train", count))
    return found


def test_numbers_are_claimed_by_one_process_each(folder: Path) -> None:
    queues = [member(folder, 60) for _ in range(4)]
    with ThreadPoolExecutor(4) as team:
        shares = list(team.map(lambda queue: list(queue.claim_next("train", 200)), queues))
    assert sorted(number for share in shares for number in share) == list(range(200))


def test_the_claims_of_a_dead_process_pass_to_one_other(folder: Path) -> None:
    dead, first, second = (member(folder) for _ in range(3))
    assert list(dead.claim_next("train", 3)) == [0, 1, 2]
    dead.finish("train", 0)
    assert taken(first, 3) == [1, 2]
    assert first.holds("train", 1) and not dead.holds("train", 1)
    second.leases.is_gone(dead.leases.member)
    assert list(second.claim_next("train", 3)) == []  # the first was seen a moment ago


def test_a_process_that_wakes_up_late_finds_that_its_claim_has_passed_and_may_claim_it_again(folder: Path) -> None:
    slow, quick = member(folder), member(folder)
    assert list(slow.claim_next("train", 1)) == [0]
    assert taken(quick, 1) == [0]
    assert not slow.holds("train", 0)
    assert taken(slow, 1) == [0]  # the other one has died since
    assert slow.holds("train", 0) and not quick.holds("train", 0)
    slow.finish("train", 0)
    assert list(slow.await_all("train")) == [] and taken(quick, 1) == []


def test_what_a_process_left_is_free_at_once(folder: Path) -> None:
    other, own = member(folder, 60), member(folder, 60)
    with other.leases.kept_alive():
        assert list(other.claim_next("train", 2)) == [0, 1]
        assert list(own.claim_next("train", 2)) == []
    assert list(own.claim_next("train", 2)) == [0, 1]


def test_a_claim_whose_owner_died_before_it_wrote_its_name_passes_on_too(folder: Path) -> None:
    (folder / "train" / "0.1").touch()
    assert taken(member(folder), 1) == [0]


def test_progress_counts_what_others_have_done_and_names_the_own_share(folder: Path) -> None:
    other, own = member(folder, 60), member(folder, 60)
    claims = other.claim_next("train", 5)
    other.finish("train", next(claims))
    assert list(own.claim_next("train", 5)) == [1, 2, 3, 4]
    own.finish("train", 1)
    assert own.count("train", 8) == 8 and own.share("train") == "8 by this process"
    assert own.done_by_others("train", [2, 3, 3, 3, 1]) == 2


def test_of_two_that_come_to_assemble_one_does_and_both_have_the_result(folder: Path) -> None:
    queues, done, waited = [member(folder, 60), member(folder, 60)], [], []

    def assemble(check: Any) -> str:
        check()
        done.append(1)
        return "whole"

    with ThreadPoolExecutor(2) as team:
        results = list(team.map(lambda queue: queue.once(assemble, lambda: waited.append(1)), queues))
    assert (results, done) == (["whole"] * 2, [1])


def test_what_one_has_assembled_before_it_left_is_not_assembled_again(folder: Path) -> None:
    first, second = member(folder, 60), member(folder, 60)
    with first.leases.kept_alive():
        assert first.once(lambda check: "whole", lambda: None) == "whole"
    assert second.once(lambda check: "again", lambda: None) == "whole"
    (folder / "result.json").unlink()  # as an NFS client may see it for a while
    assert list(second.claim_next(ONCE, 1)) == []


def test_what_its_owner_finishes_while_it_is_taken_over_is_not_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, own = member(folder), member(folder)
    assert list(slow.claim_next("train", 1)) == [0]
    latest = own._latest("train")
    slow.finish("train", 0)
    with slow.leases.kept_alive():
        pass
    monkeypatch.setattr(JoinedQueue, "_latest", lambda self, name: latest)
    assert list(own.claim_next("train", 1)) == []


def test_the_work_of_one_that_dies_while_it_assembles_is_done_by_the_next(folder: Path) -> None:
    dead, own = member(folder), member(folder)
    assert list(dead.claim_next(ONCE, 1)) == [0]
    assert own.once(lambda check: "whole", lambda: None) == "whole"

    def late(check: Any) -> str:
        check()
        raise AssertionError("it has passed to the other")

    with pytest.raises(SltCacheError, match="went on without this process"):
        late(lambda: dead._require_held(0))
    assert dead.once(late, lambda: None) == "whole"


def test_an_error_while_assembling_is_raised_and_the_next_one_tries(folder: Path) -> None:
    first, second = member(folder, 60), member(folder, 60)

    def full(check: Any) -> str:
        raise SltCacheError("the disk is full")

    with pytest.raises(SltCacheError, match="full"), first.leases.kept_alive():
        first.once(full, lambda: None)
    assert second.once(lambda check: "whole", lambda: None) == "whole"


def test_a_queue_whose_folder_is_gone_says_so(folder: Path) -> None:
    queue = member(folder)
    assert list(queue.claim_next("train", 1)) == [0]
    remove_joined(folder)
    assert not queue.holds("train", 0)
    with pytest.raises(SltCacheError, match="Run the same command again"):
        list(queue.await_all("train"))


# --- joining

HOLDER = """
import json, sys
from pathlib import Path
from slt_cache.distributed.joined_queue import joined

with joined(Path(sys.argv[1]), "feats.h5", json.loads(sys.argv[2]), 60.0, print) as queue:
    queue.planned(lambda: {"todo": {"train": []}})
    print("joined", flush=True)
    sys.stdin.readline()
    queue.publish("result", [])
    sys.stdin.readline()
"""


class Holder:
    """Another process that has joined, with these settings."""

    def __init__(self, folder: Path, asked: dict[str, Any]):
        self.folder, self.asked = folder, asked

    def __enter__(self) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", HOLDER, str(self.folder), json.dumps(self.asked)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "joined\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def tell(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


def join(folder: Path, asked: dict[str, Any], lease: float = SHORT) -> Any:
    return joined(folder, "feats.h5", asked, lease, print)


def test_who_asks_for_the_same_joins_and_who_asks_for_something_else_is_told_what_differs(tmp_path: Path) -> None:
    folder = tmp_path / "parts" / "join"
    with Holder(folder, {"level": "sign", "views": 1}):
        with join(folder, {"level": "sign", "views": 1}) as queue:
            assert not queue.begins and queue.planned(dict) == {"todo": {"train": []}}
        with pytest.raises(InputError, match=r"else \(views: the others 1, this process 4\)"):
            join(folder, {"level": "sign", "views": 4}).__enter__()
        with pytest.raises(
            InputError, match=r"written by processes that joined \(--join\), the latest of them process"
        ):
            exclusive(folder.with_name("lock"), "feats.h5").__enter__()
    with join(folder, {"level": "sign", "views": 4}) as queue:  # the other was killed: its claims do not count
        assert queue.begins and not queue.is_published("plan")
    assert list(folder.parent.iterdir()) == []


def test_who_joins_once_the_work_is_done_waits_for_the_others_to_leave_and_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "parts" / "join"
    with Holder(folder, {"views": 1}) as other:
        tell(other)
        while not (folder / "result.json").exists():
            pass
        with join(folder, {"views": 1}) as queue:  # one that has not left within a lease is stopped, or its machine is
            assert not queue.begins and queue.once(lambda check: "again", lambda: None) == []
        assert f"process {other.pid} on " in capsys.readouterr().out
        with pytest.raises(InputError, match="views: the others 1, this process 2"):
            join(folder, {"views": 2}).__enter__()
        tell(other)
        with join(folder, {"views": 2}, lease=60) as queue:
            assert queue.begins


def test_a_process_that_writes_alone_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "parts" / "join"
    holder = (
        "import sys; from pathlib import Path; from slt_cache.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'x'): print('held', flush=True); sys.stdin.readline()"
    )
    words = [sys.executable, "-c", holder, str(folder.with_name("lock"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"feats.h5 is being written by process {other.pid} on"):
            join(folder, {}).__enter__()
        assert [path.name for path in folder.parent.iterdir()] == ["lock"]
        other.communicate("go on\n")

"""Pickles: plain values out, and nothing else."""

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from slt_cache.corpora.pickles import load_plain
from slt_cache.errors import InputError


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_out_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    shared = ["a"]
    value: dict[str, Any] = {"s": "ä\n", "n": [1, -(2**70), 2.5, None, True, False]}
    value |= {"t": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "e": {}, "set": {1, "b"}, "frozen": frozenset([2])}
    value |= {"twice": [shared, shared]}
    path = tmp_path / "x"
    for packed in (pickle.dumps(value, protocol), gzip.compress(pickle.dumps(value, protocol))):
        path.write_bytes(packed)
        assert load_plain(path) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_asks_for_more_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x"
    path.write_bytes(pickle.dumps({"info": Hostile()}, protocol))
    with pytest.raises(InputError, match=rf"{os.mkdir.__module__}\.mkdir"):
        load_plain(path)
    assert not (tmp_path / "pwned").exists()


HOSTILE_BYTES = {
    "says it is longer than it is": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x0f.",
    "old class": b"(ios\nsystem\n(S'true'\ntR.",
    "persistent id": b"Pthing\n.",
    "extension": b"\x80\x02\x82\x01.",
    "built by state": b"}}b.",
    "new object": b"cbuiltins\nset\n)\x81.",
    "calls a string": b"S'builtins set'\n)R.",
    "pops an empty stack": b"0.",
    "mark alone": b"(.",
    "no end": b"]",
    "nothing": b"",
    "tuples within tuples as a key": b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.",
    "list in a set": b"\x80\x04\x8f(]\x90.",
    "gzip of nothing": b"\x1f\x8b",
    "gzip cut off": gzip.compress(pickle.dumps({"a": 1}))[:-9],
}


@pytest.mark.parametrize("data", HOSTILE_BYTES.values(), ids=HOSTILE_BYTES)
def test_a_broken_or_hostile_pickle_is_bad_input(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(InputError, match="x: "):
        load_plain(tmp_path / "x")


def test_a_huge_number_in_the_memo_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x80\x02]r\xff\xff\xff\xff.")  # Python's own unpickler takes 64 GB
    assert load_plain(tmp_path / "x") == []


def test_a_pickle_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slt_cache.corpora.pickles.MAX_BYTES", 1000)
    (tmp_path / "x").write_bytes(gzip.compress(b"\0" * 100_000))
    with pytest.raises(InputError, match="bytes unpacked"):
        load_plain(tmp_path / "x")

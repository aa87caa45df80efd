"""gloo listens where the other machines are; on one machine nothing is chosen. `tests/cluster` has two machines."""

import os
from typing import Any

import pytest
import torch

from slt_cache.distributed.interface import CHOSEN_BY_USER, choose_interface
from slt_cache.distributed.work_queue import WorkQueue


def chosen(monkeypatch: pytest.MonkeyPatch, mine: dict[str, str], other: str) -> str | None:
    """What the first of two processes chooses, where hosts are contacted from these addresses of this machine, and the
    other process contacts the first from its address."""
    monkeypatch.setattr("slt_cache.distributed.interface._address_towards", mine.__getitem__)
    monkeypatch.setattr("slt_cache.distributed.interface._interface_of", {"127.0.1.1": "lo", "10.0.0.1": "eth0"}.get)
    monkeypatch.setenv("MASTER_ADDR", "node-a")
    distributed: Any = torch.distributed
    store = distributed.HashStore()
    WorkQueue(1, 2, store).publish("address/1", other)
    before = os.environ.get(CHOSEN_BY_USER)
    try:
        choose_interface(WorkQueue(0, 2, store))
        return os.environ.get(CHOSEN_BY_USER)
    finally:
        os.environ.pop(CHOSEN_BY_USER, None)
        if before is not None:
            os.environ[CHOSEN_BY_USER] = before


def test_a_machine_of_several_listens_towards_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, {"node-a": "10.0.0.1"}, other="10.0.0.2") == "eth0"


def test_a_machine_whose_name_means_itself_listens_towards_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, {"node-a": "127.0.1.1", "10.0.0.2": "10.0.0.1"}, other="10.0.0.2") == "eth0"


def test_on_one_machine_and_where_the_user_has_chosen_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, {"node-a": "127.0.1.1"}, other="127.0.1.1") is None
    monkeypatch.setenv(CHOSEN_BY_USER, "ib0")
    assert chosen(monkeypatch, {"node-a": "10.0.0.1"}, other="10.0.0.2") == "ib0"

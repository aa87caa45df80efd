"""Pickles with arrays: what they hold is read, and damage is an error for the user, never a crash."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt_cache.cache_tools.arrays import BadFile
from slt_cache.cache_tools.layouts.pickled_arrays import PickledArray, load_arrays
from slt_cache.errors import InputError

VALUES: list[Any] = [
    {"a": np.asfortranarray(np.arange(6, dtype=">f2").reshape(2, 3)), "b": np.float32(1.5), "c": (1, "x", None)},
    {"a": torch.arange(12.0).reshape(4, 3).T, "b": 1.5, "c": (1, "x", None)},
]


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=["numpy", "torch"])
def test_arrays_and_plain_values_are_read(value: Any, protocol: int, spooled: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found = load_arrays(path, spooled)
    assert np.array_equal(found["a"].array(), np.asarray(value["a"]))
    assert (found["b"], found["c"]) == (1.5, (1, "x", None))


@pytest.mark.parametrize("value", VALUES, ids=["numpy", "torch"])
def test_damage_is_an_error_for_the_user(value: Any, tmp_path: Path) -> None:
    path, chance = tmp_path / "x.pkl", random.Random(0)
    refused = 0
    for number in range(300):
        data = bytearray(pickle.dumps(value, protocol=2 + number % 4))
        data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            found = load_arrays(path)
            if isinstance(found, dict) and isinstance(found.get("a"), PickledArray):
                found["a"].array()
        except (InputError, BadFile):
            refused += 1
    assert refused > 50


def test_a_value_longer_than_any_clip_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x")
    with pytest.raises(InputError, match="not a whole pickle"):
        load_arrays(path)

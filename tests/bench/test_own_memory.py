import mmap
import sys
import time
from pathlib import Path

import pytest

from slt_cache.bench import own_memory as module
from slt_cache.bench.own_memory import own_memory
from slt_cache.children import in_a_process

MANY = 60_000_000


def measured(path: Path) -> list[int]:
    """Own bytes at first, once a file is mapped and read, and once as many bytes were held and freed again."""
    found = []
    with own_memory() as own, path.open("rb") as file:
        found.append(own())
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert sum(mapped[place] for place in range(0, MANY, 4096)) > 0
        found.append(own())
        held = bytearray(b"y") * MANY
        time.sleep(4 * module.LOOK)
        del held
        found.append(own())
        mapped.close()
    return [one for one in found if one is not None]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells them apart")
def test_the_peak_counts_what_was_freed_again_but_no_pages_of_a_mapped_file(tmp_path: Path) -> None:
    (path := tmp_path / "large").write_bytes(b"x" * MANY)
    begun, mapped, peak = in_a_process("own memory", measured, path)  # this one may reuse what it has freed
    assert mapped - begun < MANY / 2 < peak - mapped


def test_where_the_system_does_not_tell_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("slt_cache.device.STATUS", tmp_path / "nowhere")
    with own_memory() as own:
        assert own() is None

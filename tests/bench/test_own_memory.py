import mmap
import sys
import time
from pathlib import Path

import pytest

from slt_cache.bench import own_memory as module
from slt_cache.bench.own_memory import own_memory

MANY = 60_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells them apart")
def test_the_peak_counts_what_was_freed_again_but_no_pages_of_a_mapped_file(tmp_path: Path) -> None:
    (path := tmp_path / "large").write_bytes(b"x" * MANY)
    with own_memory() as before:
        begun = before()
    assert begun is not None
    with own_memory() as own, path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert sum(mapped[place] for place in range(0, MANY, 4096)) > 0
        after_mapping = own()
        held = bytearray(b"y") * MANY
        time.sleep(4 * module.LOOK)
        del held
        found = own()
        mapped.close()
    assert after_mapping is not None and after_mapping - begun < MANY / 2
    assert found is not None and found - after_mapping > MANY / 2


def test_where_the_system_does_not_tell_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "STATUS", tmp_path / "nowhere")
    with own_memory() as own:
        assert own() is None

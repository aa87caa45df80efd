"""Runs `slt-cache` in two processes, of which the first takes a minute for its shard of dev, and the second no time."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

from slt_cache.cli import main

from slt_cache.distributed.processes import until_stopped


def slowly(batches: Iterable[Any]) -> Iterator[Any]:
    if os.environ["RANK"] != "0":
        return
    for batch in batches:
        for _ in range(120):
            print("decoding", file=sys.stderr, flush=True)
            time.sleep(0.5)
            yield batch


if __name__ == "__main__":
    with mock.patch("slt_cache.decoding.search.until_stopped", lambda batches: until_stopped(slowly(batches))):
        main()

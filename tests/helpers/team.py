"""Processes as torchrun would start them, forked from one server that has loaded the library once."""

import multiprocessing
import os
import socket
import sys
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tests.helpers.preloaded import LATE


def start_team(logs: Path, words: list[str], processes: int) -> list[int]:
    """Runs `slt-cache` with these words in several processes; returns their exit codes.

    stdout and stderr go to the files that torchrun would write below `logs`. As by torchrun, the first process that
    fails ends the others."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LATE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    team = [context.Process(target=_member, args=(rank, processes, port, logs, words)) for rank in range(processes)]
    for process in team:
        process.start()
    try:
        while alive := [process for process in team if process.is_alive()]:
            if not wait([process.sentinel for process in alive], timeout=120):
                raise TimeoutError("no process has ended for two minutes")
            if any(process.exitcode for process in team):
                break
    finally:
        for process in team:
            process.terminate()
            process.join()
    return [process.exitcode for process in team]


def _member(rank: int, size: int, port: int, logs: Path, words: list[str]) -> None:
    import torch
    from slt_cache.cli import main

    torch.set_num_threads(1)
    folder = logs / "forked" / "attempt_0" / str(rank)
    folder.mkdir(parents=True)
    for stream in (1, 2):
        name = folder / f"{('stdout', 'stderr')[stream - 1]}.log"
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
    ranks = {name: str(rank) for name in ("RANK", "LOCAL_RANK", "GROUP_RANK")}
    sizes = {name: str(size) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    os.environ |= {**ranks, **sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    sys.argv = ["slt-cache", *words]
    main()

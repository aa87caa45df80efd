import multiprocessing
import os
import socket
import time
from multiprocessing.queues import SimpleQueue
from typing import Any

from slt_cache.distributed import processes
from slt_cache.distributed.work_queue import WorkQueue


def _end(rank: int, port: int, heard: "SimpleQueue[str]") -> None:
    """Ends as a process does that has failed; the second reads what was said half a second late."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    await_published = WorkQueue.await_published

    def late(self: WorkQueue, name: str) -> Any:
        time.sleep(0.5)
        return await_published(self, name)

    if rank == 1:
        WorkQueue.await_published = late  # type: ignore[method-assign]
    processes.log_once("error: the video cannot be read", heard.put)
    os._exit(2)  # and with it the store, which the first process holds


def test_a_message_is_read_before_the_process_that_holds_the_store_is_gone() -> None:
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    heard: SimpleQueue[str] = context.SimpleQueue()
    team = [context.Process(target=_end, args=(rank, port, heard)) for rank in range(2)]
    for process in team:
        process.start()
    for process in team:
        process.join()
    said = []
    while not heard.empty():
        said.append(heard.get())
    assert said == ["error: the video cannot be read"] and {process.exitcode for process in team} == {2}

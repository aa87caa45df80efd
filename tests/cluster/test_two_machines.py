"""torchrun on two machines with a network between them trains what one process does."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slt_cache.children import end_program, start_program
from tests.cluster.conftest import HERE, require_machines, until
from tests.e2e.test_distributed import losses

pytestmark = pytest.mark.cluster


def documented(run: Path) -> str:
    """The line of the documents for two nodes, with one process each, about this run; NODE is the node's number."""
    text = (HERE.parents[1] / "cli" / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    line: str = re.findall(r"^torchrun --nnodes=2 .*$", text, flags=re.MULTILINE)[0]
    own = {"--nproc-per-node=4": "--nproc-per-node=1", "--node-rank=0": "--node-rank=$NODE"}
    own |= {"torchrun": f"{shlex.quote(sys.executable)} -m torch.distributed.run", "/shared/runs/phoenix14t": str(run)}
    for before, now in own.items():
        assert before in line, (before, line)
        line = line.replace(before, now)
    return line


@pytest.mark.parametrize("command", ["train-visual", "extract-features --split all", "train-llm --features feats.h5"])
def test_two_machines_train_and_extract_what_one_process_does(alone: Path, tmp_path: Path, command: str) -> None:
    require_machines()
    run = shutil.copytree(alone, tmp_path / "run")
    made = {"train-visual": "visual", "extract-features": "feats.h5", "train-llm": "llm"}[command.split()[0]]
    shutil.rmtree(run / made) if (run / made).is_dir() else (run / made).unlink()
    line = documented(run).replace("train-visual", command)
    said = tmp_path / "said"
    with said.open("wb") as file:
        process = start_program([str(HERE / "two_nodes.sh"), "bash", "-c", line], stdout=file, stderr=file)
    try:
        until(lambda: process.poll() is not None, said.read_text)
    finally:
        end_program(process)
    assert process.returncode == 0, said.read_text()
    if made == "feats.h5":
        assert (run / made).read_bytes() == (alone / made).read_bytes()
    else:
        expected, found = losses(alone / made), losses(run / made)
        assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-4), (expected, found)


def test_machines_and_all_that_runs_on_them_end_with_their_script(tmp_path: Path) -> None:
    """Even where it is killed."""
    require_machines()
    seconds = f"271828.{os.getpid()}"
    process = start_program([str(HERE / "two_nodes.sh"), "sleep", seconds])

    def alive() -> list[str]:
        return subprocess.run(["pgrep", "--full", f"sleep {seconds}"], capture_output=True, text=True).stdout.split()

    until(lambda: len(alive()) > 3, lambda: f"only {alive()} run")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not alive(), lambda: f"{alive()} are left")

"""A small SLURM cluster, made up of namespaces, for the tests of this tier."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slt_cache.children import end_program, start_program
from tests.e2e.test_distributed import alone  # noqa: F401 - the run of one process, which the tests compare with

HERE = Path(__file__).parent
PATIENCE = 600
"""Seconds for anything that is waited for."""
SCHEDULED = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED"}
"""States of jobs that have not ended."""


def require_machines(*programs: str) -> None:
    """Skips a test, with a reason, where machines cannot be made up of namespaces."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root, for namespaces")
    if missing := [name for name in ("unshare", "nsenter", "ip", *programs) if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install slurm-wlm munge iproute2")
    tried = ["unshare", "--net", "--pid", "--uts", "--mount", "--fork", "--mount-proc", "true"]
    if (done := subprocess.run(tried, capture_output=True, text=True)).returncode != 0:
        pytest.skip(f"namespaces are not allowed here: {done.stderr.strip()}")


def until(is_so: Callable[[], bool], what: Callable[[], str]) -> None:
    """Waits; fails with `what` after a while."""
    ends = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < ends, what()
        time.sleep(0.2)


@dataclass(frozen=True)
class Cluster:
    folder: Path
    inside: int
    """Process in the cluster's namespaces."""

    def run(self, *words: object, folder: Path | None = None) -> str:
        """Runs a command on the cluster, which must succeed; returns what it prints."""
        enter = ["nsenter", f"--target={self.inside}", "--net", "--pid", "--uts", "--mount", "--", "env"]
        where = [f"--chdir={folder or self.folder}", f"SLURM_CONF={self.folder / 'slurm.conf'}"]
        done = subprocess.run([*enter, *where, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, (words, done)
        return done.stdout

    def slt_cache(self, *words: object, folder: Path) -> str:
        return self.run(sys.executable, "-m", "slt_cache", *words, folder=folder)

    def submit(self, *words: object, run: Path, partition: str = "low", nodes: int = 2) -> "Submitted":
        """Submits a command of slt-cache about a run, one process per node, with its own submit."""
        options = ["--submit", "--json", "--gpus=0", "--cpus=1", f"--nodes={nodes}", f"--sbatch=partition={partition}"]
        said = self.slt_cache("slurm", *options, *words, "--run", run, folder=run.parent)
        number = re.findall(r'"job": "(\d+)"', said)[0]
        return Submitted(self, number, run.parent / f"slurm-{number}.out")


@dataclass(frozen=True)
class Submitted:
    """A job."""

    cluster: Cluster
    number: str
    output: Path

    def value(self, key: str) -> str:
        found = re.search(rf"\b{key}=(\S+)", self.cluster.run("scontrol", "show", "job", "--oneliner", self.number))
        return "" if found is None else found[1]

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def wait_for(self, words: str) -> None:
        until(lambda: words in self.said(), lambda: f"{self.value('JobState')}: {self.said()}")

    def end(self) -> tuple[str, str]:
        """Waits until the job has ended; returns its state, and its exit code and signal."""
        until(lambda: self.value("JobState") not in SCHEDULED, self.said)
        return self.value("JobState"), self.value("ExitCode")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_machines("munged", "slurmctld", "slurmd", "sbatch")
    folder = tmp_path_factory.mktemp("slurm")
    with (folder / "said").open("wb") as said:
        process = start_program([str(HERE / "slurm.sh"), str(folder)], stdout=said, stderr=said)

    def logs() -> str:
        return "\n".join(f"{path}:\n{path.read_text()}" for path in (folder / "said", *folder.glob("*.log")))

    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: bool(children.read_text().split()) and (folder / "slurmctld.log").exists(), logs)
        found = Cluster(folder, int(children.read_text().split()[0]))
        idle = ["bash", "-c", "sinfo --noheader --partition=low --states=idle --format=%D || true"]
        until(lambda: found.run(*idle).strip() == "2", logs)
        yield found
    finally:
        end_program(process)

"""Threads wait for each other no longer than a busy machine can bear, and there are no more of them than cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slt_cache import threads
from slt_cache.bench.contention import busy_programs
from slt_cache.threads import CHOSEN_BY_USER, NONE, SPINS, available_cores, set_up_threads
from tests.helpers.commands import slt_cache


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in which the user has chosen nothing, restored after the test."""
    for name in (*CHOSEN_BY_USER, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def groups(folder: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, **files: str) -> None:
    """Control groups as /sys/fs/cgroup and /proc/self/cgroup show them; `__` stands for a folder."""
    monkeypatch.setattr(threads, "GROUPS", folder)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self, *more: cgroup if str(self) == "/proc/self/cgroup" else read(self, *more)
    )


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu_max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu_max": "250000 100000\n"}, 3),
        ("0::/job/step\n", {"job__cpu_max": "150000 100000\n", "job__step__cpu_max": "max 100000\n"}, 2),
        ("0::/job\n", {"job__cpu_max": "20000 100000\n"}, 1),
        ("4:cpu,cpuacct:/job\n", {"cpu__job__cpu_cfs_quota_us": "400000", "cpu__job__cpu_cfs_period_us": "100000"}, 4),
        ("4:cpu:/\n", {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}, 8),
        ("4:memory:/job\n", {"memory__job__cpu_max": "100000 100000"}, 8),
    ],
)
def test_cores_are_those_of_the_affinity_and_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    groups(tmp_path, monkeypatch, cgroup, **files)
    assert available_cores() == cores
    set_up_threads()
    assert os.environ.get("OMP_NUM_THREADS") == (None if cores == 8 else str(cores))


@pytest.mark.parametrize("name", CHOSEN_BY_USER)
def test_what_the_user_s_environment_says_of_waiting_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "7")
    set_up_threads(NONE)
    assert {one: os.environ[one] for one in CHOSEN_BY_USER if one in os.environ} == {name: "7"}


def test_what_an_earlier_call_has_set_is_not_the_user_s_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for spins, milliseconds in ((SPINS, "1"), (NONE, "0"), (SPINS, "1")):
        set_up_threads(spins)
        assert (os.environ["GOMP_SPINCOUNT"], os.environ["KMP_BLOCKTIME"]) == (str(spins), milliseconds)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    set_up_threads(NONE)
    assert (os.environ["GOMP_SPINCOUNT"], os.environ["KMP_BLOCKTIME"]) == ("7", "1")


def test_commands_choose_how_long_threads_spin_before_torch_is_imported() -> None:
    for words, spins in ((("train-llm",), SPINS), (("extract-features",), NONE), (("translate", "none.mp4"), NONE)):
        assert slt_cache(*words, "--run", "nowhere").code == 2
        assert os.environ["GOMP_SPINCOUNT"] == str(spins)
    looked = "import sys; import cli.options; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.slow
def test_beside_busy_programs_a_small_step_costs_about_the_processor_time_that_it_costs_alone() -> None:
    """With GCC's default, each step spins for the time slices of its neighbours."""
    script = (
        "from slt_cache.threads import set_up_threads; set_up_threads()\n"
        "import torch, time; x = torch.randn(400, 400)\n"
        "for threads in (1, 2):\n"
        "    torch.set_num_threads(threads); [x.exp() for _ in range(20)]; begun = time.process_time()\n"
        "    [x.exp() for _ in range(200)]; print(time.process_time() - begun)"
    )
    with busy_programs(2 * available_cores()):
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    alone, shared = map(float, ran.stdout.split())
    assert shared < 3 * alone

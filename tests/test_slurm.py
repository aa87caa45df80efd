"""Scripts for SLURM ask for what was asked for, start one process per GPU, and queue again after an interruption only.

SLURM's programs are small scripts here; `tests/cluster` has the real ones."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.slurm import Job, submit

TRAINING = Job("train-visual", ("train-visual", "--run", "runs/a b"), nodes=2, gpus=2, time="24:00:00")
ALONE = replace(TRAINING, nodes=1, gpus=1)


def directives(job: Job) -> list[str]:
    return re.findall(r"^#SBATCH (.+)$", job.script(), flags=re.MULTILINE)


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with SLURM's programs, and a Python that writes what it is given; it exits with CODE."""
    ranks = "$RANK/$WORLD_SIZE $LOCAL_RANK $MASTER_ADDR:$MASTER_PORT $OMP_NUM_THREADS"
    python = program(tmp_path, "python", f'echo "{ranks}" "${{@@Q}}" >> "$HOME/ran"; exit $CODE')
    monkeypatch.setattr(sys, "executable", str(python))
    one = 'SLURM_PROCID=$rank SLURM_LOCALID=$((rank % 2)) SLURM_NTASKS=$TASKS SLURM_LAUNCH_NODE_IPADDR=10.0.0.1 "$@"'
    srun = f"while [[ $1 = --* ]]; do shift; done\nfor ((rank = 0; rank < TASKS; rank++)); do {one} || code=$?; done"
    program(tmp_path, "srun", f"{srun}\nexit $code")
    program(tmp_path, "squeue", 'echo "$STATE"')
    program(tmp_path, "scontrol", 'echo "$*" >> "$HOME/requeued"')
    return tmp_path


def ran(cluster: Path, job: Job, code: int = 0, state: str = "RUNNING", **environment: str) -> int:
    """Exit code of the job's script."""
    known = {"PATH": f"{cluster}:/usr/bin:/bin", "HOME": str(cluster), "CODE": str(code), "STATE": state}
    slurm = {"SLURM_JOB_ID": "20007", "SLURM_CPUS_PER_TASK": str(job.cpus), "TASKS": str(job.processes)}
    known |= {**slurm, **environment}
    return subprocess.run(["bash"], input=job.script(), text=True, env=known, cwd=cluster).returncode


def test_a_script_asks_for_what_was_asked_for() -> None:
    assert directives(replace(TRAINING, options=("partition=gpu", "comment=two words", "exclusive"))) == [
        "--job-name=train-visual",
        "--nodes=2",
        "--ntasks-per-node=2",
        "--cpus-per-task=8",
        "--gpus-per-node=2",
        "--time=24:00:00",
        "--requeue",
        "--open-mode=append",
        "--signal=TERM@300",
        "--partition=gpu",
        "--comment='two words'",
        "--exclusive",
    ]
    bare = directives(replace(TRAINING, name="llm pretrain", nodes=1, gpus=0, time=None, requeue=False, array=4))
    assert {"--job-name=llm-pretrain", "--ntasks-per-node=1", "--no-requeue", "--array=0-3"} <= {*bare}
    assert not [one for one in bare if one.startswith(("--gpus", "--time", "--requeue"))]


def test_every_process_gets_its_rank_and_the_words_as_they_were_typed(cluster: Path) -> None:
    words = ("train-visual", "--run", "it's $HOME", "--set", 'corpus.root="a b"')
    assert ran(cluster, replace(TRAINING, words=words)) == 0
    typed = " ".join(("'-m'", "'slt_cache'", "'train-visual'", "'--run'", r"'it'\''s $HOME'", "'--set'"))
    expected = [f"{rank}/4 {rank % 2} 10.0.0.1:10007 8 {typed} 'corpus.root=\"a b\"'" for rank in range(4)]
    assert (cluster / "ran").read_text().splitlines() == expected


def test_a_single_process_is_started_without_ranks(cluster: Path) -> None:
    assert ran(cluster, ALONE) == 0
    assert (cluster / "ran").read_text() == "/  : 8 '-m' 'slt_cache' 'train-visual' '--run' 'runs/a b'\n"


@pytest.mark.parametrize("job", [TRAINING, ALONE], ids=["several processes", "one process"])
@pytest.mark.parametrize(
    ("code", "state", "again"),
    [
        (130, "RUNNING", True),
        (143, "RUNNING", True),
        (130, "COMPLETING", False),  # cancelled, or preempted: SLURM decides what becomes of it
        (130, "", False),
        (0, "RUNNING", False),
        (1, "RUNNING", False),
        (2, "RUNNING", False),
    ],
)
def test_a_job_queues_again_after_an_interruption_only(
    cluster: Path, job: Job, code: int, state: str, again: bool
) -> None:
    assert ran(cluster, job, code, state) in (code, 130 if code == 143 else code)
    requeued = (cluster / "requeued").read_text() if (cluster / "requeued").exists() else ""
    assert requeued == ("requeue 20007\n" if again else "")
    assert not [*cluster.glob("*.interrupted")]


def test_a_job_of_an_array_requeues_itself_alone(cluster: Path) -> None:
    """The last job of an array has the array's own number."""
    array = replace(ALONE, array=4)
    assert ran(cluster, array, 130, SLURM_ARRAY_JOB_ID="20007", SLURM_ARRAY_TASK_ID="3") == 130
    assert (cluster / "requeued").read_text() == "requeue 20007_3\n"


def test_a_process_that_fails_keeps_the_others_from_queueing_again(cluster: Path) -> None:
    """SLURM interrupts the others."""
    python = program(cluster, "python", "exit $((RANK == 1 ? 2 : 130))")
    assert ran(cluster, TRAINING) == 2
    assert python.exists() and not (cluster / "requeued").exists()


def test_a_job_that_must_not_queue_again_does_not(cluster: Path) -> None:
    assert ran(cluster, replace(TRAINING, requeue=False), 130) == 130
    assert not (cluster / "requeued").exists()


@pytest.mark.parametrize("time", ["10", "10:00", "00:10:00", "0-1", "2-12:30", "1-00:00:30", "90"])
def test_times_in_all_notations_of_slurm_are_accepted(time: str) -> None:
    replace(TRAINING, time=time).require_sound()


@pytest.mark.parametrize("time", ["9", "09:59", "00:05:00", "0-0:9", "a day", "24h", "", "-1", "1-", "1:2:3:4"])
def test_a_time_that_is_none_or_leaves_no_time_to_work_is_refused(time: str) -> None:
    with pytest.raises(InputError, match=f"--time {time}: "):
        replace(TRAINING, time=time).require_sound()


@pytest.mark.parametrize(
    "option", ["nodes=3", "requeue", "no-requeue", "signal=INT@60", "--mem=4G", "", "a\nb", "mem 4"]
)
def test_an_option_of_sbatch_that_is_none_or_set_already_is_refused(option: str) -> None:
    with pytest.raises(InputError, match="NAME=VALUE"):
        replace(TRAINING, options=(option,)).require_sound()


def test_a_command_of_one_process_is_refused_on_several_nodes_or_gpus() -> None:
    for job in (replace(TRAINING, name="prepare"), replace(ALONE, name="reproduce", gpus=2)):
        with pytest.raises(InputError, match=f"^{job.name} runs in one process"):
            job.require_sound()
    replace(ALONE, name="prepare").require_sound()


def test_a_script_is_submitted_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="there is no sbatch here"):
        submit("")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "sbatch", f'cat > "{tmp_path}/script"; echo "17;cluster"')
    assert submit(TRAINING.script()) == "17"
    assert (tmp_path / "script").read_text() == TRAINING.script()
    program(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    with pytest.raises(SltCacheError, match="invalid partition specified: x"):
        submit(TRAINING.script())

"""Jobs on a SLURM cluster do what one undisturbed process does: on two nodes, preempted, out of time."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.features.parts import parts_folder
from slt_cache.training.logs import read_metrics
from slt_cache.training.state import read_state
from tests.cluster.conftest import Cluster, Submitted, until
from tests.e2e.test_distributed import losses
from tests.helpers.commands import slt_cache

pytestmark = pytest.mark.cluster

TRAINING = ["train-llm", "--set", "llm_training.patience=null", "--set"]
LONG = [*TRAINING, "llm_training.epochs=8"]
"""A training that another job has time to preempt."""
ENDLESS = [*TRAINING, "llm_training.epochs=100000"]


def begun(alone: Path, folder: Path, *results: str) -> Path:
    """A copy of the run in which these results are still to be made."""
    run = shutil.copytree(alone, folder / "run")
    for name in results:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    return run


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long training, by two nodes."""
    run = begun(alone, tmp_path_factory.mktemp("undisturbed"), "llm/best", "llm/metrics.jsonl")
    assert cluster.submit(*LONG, run=run).end() == ("COMPLETED", "0:0")
    return run


def test_two_nodes_make_of_a_corpus_what_one_process_does(cluster: Cluster, alone: Path, tmp_path: Path) -> None:
    run = begun(alone, tmp_path, "visual", "feats.h5", "llm", "eval", "tokenizer")
    for words in ("train-visual", "extract-features --split all", "train-llm --features feats.h5", "eval"):
        job = cluster.submit(*words.split(), run=run)
        assert job.end() == ("COMPLETED", "0:0"), job.said()
        assert ("(2 processes x " in job.said()) == words.startswith("train"), job.said()
    for stage in ("visual", "llm/pretrained", "llm"):
        expected, found = losses(alone / stage), losses(run / stage)
        assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-4), (stage, expected, found)
    scores = [json.loads((one / "eval" / "test.json").read_text())["scores"] for one in (alone, run)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("partition", ["low", "grace"])
def test_a_preempted_training_ends_with_the_weights_of_an_undisturbed_one(
    cluster: Cluster, alone: Path, undisturbed: Path, tmp_path: Path, partition: str
) -> None:
    """SLURM requeues the jobs of `low` itself. Those of `grace` are still running when they are told to end."""
    run = begun(alone, tmp_path, "llm/best", "llm/metrics.jsonl")
    job = cluster.submit(*LONG, run=run, partition=partition)
    job.wait_for("epoch 2")
    urgent = ["--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    cluster.run("sbatch", *urgent)
    assert job.end() == ("COMPLETED", "0:0"), job.said()
    assert job.value("Restarts") == "1"
    assert "stage 2: interrupted" in job.said() and "stage 2: resumes" in job.said(), job.said()
    weights, expected = (read_state(one / "llm/state.pt")["model"] for one in (run, undisturbed))
    assert weights.keys() == expected.keys() and all(torch.equal(weights[name], expected[name]) for name in expected)
    lines = [[{**line, "seconds": 0} for line in read_metrics(one / "llm/metrics.jsonl")] for one in (run, undisturbed)]
    assert lines[0] == lines[1]


def test_a_job_out_of_time_queues_again_and_a_cancelled_one_does_not(
    cluster: Cluster, alone: Path, tmp_path: Path
) -> None:
    run = begun(alone, tmp_path, "llm/best", "llm/metrics.jsonl")
    script = cluster.slt_cache("slurm", "--gpus=0", "--cpus=1", *ENDLESS, "--run", run, folder=tmp_path)
    (tmp_path / "script").write_text(script)
    # Most of two minutes before its end, which SLURM looks for twice a minute.
    briefly = ["--time=2", "--signal=TERM@70", "--begin=now", "--parsable"]
    number = cluster.run("sbatch", *briefly, "script", folder=tmp_path).strip()
    job = Submitted(cluster, number, tmp_path / f"slurm-{number}.out")
    job.wait_for("stage 2: resumes")
    assert "stage 2: interrupted" in job.said() and job.value("Restarts") == "1"
    cluster.run("scancel", number)
    assert job.end()[0] == "CANCELLED"
    assert job.said().count("stage 2: interrupted") == 2  # saved, too
    time.sleep(3)
    assert (job.value("JobState"), job.value("Restarts")) == ("CANCELLED", "1")


def test_a_job_that_fails_does_not_queue_again(cluster: Cluster, alone: Path, tmp_path: Path) -> None:
    run = begun(alone, tmp_path)
    manifest = run / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace(".mp4", ".mp5"))
    shutil.rmtree(run / "visual")
    job = cluster.submit("train-visual", run=run)
    assert job.end()[0] == "FAILED", job.said()
    assert job.value("Restarts") == "0" and job.said().count("\nerror: ") == 1, job.said()


def test_a_process_that_is_killed_ends_the_job(cluster: Cluster, alone: Path, tmp_path: Path) -> None:
    run = begun(alone, tmp_path, "llm/best", "llm/metrics.jsonl")
    job = cluster.submit(*ENDLESS, run=run)
    job.wait_for("epoch 1")
    cluster.run("bash", "-c", f"kill -KILL $(pgrep -f '[s]lt_cache train-llm.*--run {run}' | tail -n 1)")
    state, code = job.end()
    assert state == "FAILED" and code != "0:0" and job.value("Restarts") == "0", job.said()


def test_slurm_accepts_a_script_for_gpus(cluster: Cluster, alone: Path, tmp_path: Path) -> None:
    words = ["--nodes=2", "--gpus=2", "--cpus=2", "--time=24:00:00", "train-visual", "--run", alone]
    (tmp_path / "script").write_text(cluster.slt_cache("slurm", *words, folder=tmp_path))
    cluster.run("sbatch", "--test-only", "script", folder=tmp_path)


def test_an_array_of_which_two_jobs_are_killed_leaves_the_bytes_of_one_process(
    cluster: Cluster, alone: Path, tmp_path: Path
) -> None:
    words = ["extract-features", "--set", "features.clips_per_part=1", "--set", "compute.lease_seconds=5"]
    run, whole = (begun(alone, tmp_path / name, "feats.h5") for name in ("array", "one"))
    assert slt_cache(*words, "--run", whole).code == 0
    job = cluster.submit("--array=4", *words, "--join", run=run, nodes=1)
    until(lambda: any(parts_folder(run / "feats.h5").rglob("*.h5")), lambda: cluster.run("squeue"))
    tasks = [replace(job, number=f"{job.number}_{task}") for task in range(4)]
    for killed in tasks[1:3]:
        cluster.run("scancel", "--signal=KILL", killed.number)
    said = [run.parent / f"slurm-{task.number}.out" for task in tasks]
    ends = [task.end()[0] for task in tasks]
    assert ends[0] == ends[3] == "COMPLETED" and "COMPLETED" not in ends[1:3], (ends, [one.read_text() for one in said])
    assert (run / "feats.h5").read_bytes() == (whole / "feats.h5").read_bytes()

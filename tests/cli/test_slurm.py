"""`slurm` refuses at once what would fail after a day in the queue."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import TINY, slt_cache


def write_tiny(run: Path) -> Path:
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(TINY.read_text(encoding="utf-8"), encoding="utf-8")
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "run")


@pytest.mark.parametrize("before", [True, False])
def test_options_of_the_script_stand_before_or_after_the_command(run: Path, before: bool) -> None:
    own, words = ["--nodes", "2", "--gpus=4", "--json"], ["train-llm", "--run", run, "--set", "llm_training.epochs=3"]
    ran = slt_cache("slurm", *(own + words if before else words + own))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["job"] is None
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4\n" in found["script"]
    assert f"-m slt_cache train-llm --run {run} --set llm_training.epochs=3\n" in found["script"]


def test_the_script_in_the_documents_is_the_one_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "cli" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```sh\nslt-cache (slurm .*)\n```\n\n```shell\n(.*?)```", text, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "runs" / "avatar")
    assert slt_cache(*found[1].split()).out.replace(sys.executable, "python") == found[2]


def test_what_follows_two_dashes_belongs_to_the_command(run: Path) -> None:
    ran = slt_cache("slurm", "--", "eval", "--run", run, "--json")
    assert ran.code == 0 and f"eval --run {run} --json\n" in ran.out, ran


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train-visual --nods 2", "no such option: --nods"),
        ("train-visul", "no such command 'train-visul'"),
        ("llm", "which command of llm? pretrain, trim, merge"),
        ("train-visual --set video.sise=3", "video.sise"),
        ("train-visual --set visual_training.epochs=many", "visual_training.epochs"),
        ("eval --run nowhere", "nowhere: no such run folder"),
        ("train-visual --restart", "--restart: a job that queues again would"),
        ("prepare avatar --nodes 2", "prepare runs in one process"),
        ("train-visual --array 4", "--array: its jobs share the work of extract-features --join only"),
        ("train-visual --time 5", "--time 5: shorter than 10 minutes"),
        ("train-visual --sbatch nodes=3", "--sbatch nodes=3: "),
        ("train-visual --nodes 0", "--nodes"),
        ("slurm train-visual", "slurm: not a command for a batch job"),
        ("app", "app: not a command for a batch job"),
        ("train-visual --submit", "--submit: there is no sbatch here"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = slt_cache("slurm", *line.split())
    assert (ran.code, ran.out) == (2, ""), ran
    assert says in ran.err and "Traceback" not in ran.err and not [*tmp_path.iterdir()], ran.err


def test_the_jobs_of_an_array_join_an_extraction(run: Path) -> None:
    ran = slt_cache("slurm", "extract-features", "--join", "--array", "4", "--run", run)
    assert ran.code == 0 and "#SBATCH --array=0-3\n" in ran.out and f"extract-features --join --run {run}\n" in ran.out


def test_a_restart_that_is_not_repeated_is_accepted(run: Path) -> None:
    assert slt_cache("slurm", "train-visual", "--restart", "--run", run, "--no-requeue").code == 0


def test_the_number_of_a_submitted_job_is_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/sh\n/bin/cat > "{tmp_path}/script"\necho 17\n', encoding="utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = slt_cache("slurm", "train-visual", "--run", run, "--submit")
    assert ran.code == 0 and "submitted as job 17. Its output: slurm-17.out" in ran.err, ran
    assert ran.out.rstrip() == (tmp_path / "script").read_text().rstrip()
    found = json.loads(slt_cache("slurm", "train-visual", "--run", run, "--submit", "--json").out)
    assert found["job"] == "17"

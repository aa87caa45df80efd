"""Every command that writes, killed at seeded moments and on disks that fill up: what was finished before is kept, and
the same command then ends as if nothing had happened."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_help import commands
from tests.helpers.breaking import COMMANDS
from tests.helpers.caches import add_split, facts_of, rows_of
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.official import phoenix
from tests.helpers.small_disks import read_only, small_disk

ROOM = (0, 0.05, 0.5, 0.95)
"""Shares of what a command writes for which there is room."""
KILLS = 200
PRINTS = {
    "translate": "RUN/corpus/videos/test-00000.mp4 --run RUN --json",
    "score": "RUN/own/said.txt RUN/own/said.txt --preset phoenix14t --bootstrap 10",
    "compare": "RUN RUN/eval/test.json",
    "verify": "RUN",
    "config show": "--run RUN",
    "cache verify": "RUN/feats.h5",
    "slurm": "train-visual --run RUN",
}
"""Commands that write no file, and what they are given."""
ELSEWHERE = {
    "app": "keeps uploads for a minute (test_app_gate.py)",
    "bench cache": "temporary files (test_files.py)",
    "bench contention": "temporary files (test_files.py)",
    "bench extract": "temporary files (test_files.py)",
    "bench llm": "temporary files (test_files.py)",
    "bench scale": "temporary files (test_files.py)",
    "bench visual": "temporary files (test_files.py), the frame cache among them (test_bench_visual.py)",
}
"""Commands that keep nothing, and where their full disks are tried."""


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of the cache take, without a training."""
    folder = tmp_path_factory.mktemp("caches")
    add_split(folder / "feats.h5", rows_of())
    succeed("cache", "export", folder / "feats.h5", folder / "exported")
    add_split(folder / "train.h5", rows_of())
    add_split(folder / "dev.h5", rows_of(), facts_of("dev"))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Path:
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    succeed("train-visual", "--run", run, "--config", TINY, "--set", "generation.num_beams=1")
    succeed("extract-features", "--split", "all", "--run", run)
    succeed("train-llm", "--run", run)
    succeed("eval", "--run", run)
    succeed("cache", "export", run / "feats.h5", run / "exported")
    succeed("cache", "import", run / "exported", "--out", run / "imported.h5")
    succeed("train-llm", "--features", run / "feats.h5", "--run", run / "lora", "--from", run, "--set", "llm.lora.r=4")
    phoenix(run / "phoenix")
    write_own(run)
    for split in ("train", "dev"):
        (run / f"{split}.h5").hardlink_to(caches / f"{split}.h5")
    return run


def write_own(run: Path) -> None:
    """Some of the drawn videos as somebody's own corpus."""
    own = run / "own"
    own.mkdir()
    rows = ["id\tsplit\tvideo\tstart\tend\ttext"]
    for number, split in enumerate(("train", "train", "dev", "test")):
        video = run / "corpus" / "videos" / f"train-{number:05d}.mp4"
        (own / f"clip-{number}.mp4").hardlink_to(video)
        rows.append(f"clip-{number}\t{split}\tclip-{number}.mp4\t\t\tsatz {number}")
    (own / "manifest.tsv").write_text("\n".join(rows) + "\n")
    (own / "said.txt").write_text("es regnet\n")
    (own / "space.yaml").write_text("llm_training.lr: [0.001, 0.002]\n")


def succeed(*arguments: str | Path) -> None:
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err


def complaints(whole: Path, folder: Path, points: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    folder.mkdir(exist_ok=True)
    asked = json.dumps({"whole": str(whole), "folder": str(folder), "points": points})
    done = subprocess.run([sys.executable, "-m", "tests.helpers.breaking"], input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(point, answer) for point, answer in zip(points, answers, strict=True) if answer is not None]


def test_every_command_is_tried_on_a_full_disk_or_keeps_nothing_there() -> None:
    every = {" ".join(path) for path, _ in commands()} - {"precompute"}  # extract-features by another name
    tried = {name for name in every if any(command.words.startswith(f"{name} ") for command in COMMANDS.values())}
    assert sorted([*tried, *PRINTS, *ELSEWHERE]) == sorted(every)


def test_tools_of_the_cache_that_are_killed_lose_nothing(caches: Path, tmp_path: Path) -> None:
    events = [{"command": "cache import", "event": share} for share in (0.3, 0.9)]
    assert complaints(caches, tmp_path / "work", events) == []


def test_tools_of_the_cache_on_a_full_disk_end_in_a_line_and_then_do_their_work(caches: Path, tmp_path: Path) -> None:
    points = [{"command": "cache export", "room": room} for room in (0, 0.5)]
    with small_disk(tmp_path / "disk", 8 << 20) as disk:
        assert complaints(caches, disk, points) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_at_any_moment_loses_nothing(whole: Path, tmp_path: Path, name: str) -> None:
    choose = random.Random(name)
    points = [
        {"command": name, ("event" if number % 3 else "time"): choose.random()}
        for number in range(-(-KILLS // len(COMMANDS)))
    ]
    assert complaints(whole, tmp_path / "work", points) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_ends_every_command_in_a_line_and_the_same_command_then_works(
    whole: Path, tmp_path: Path, name: str
) -> None:
    with small_disk(tmp_path / "disk", 900 << 20) as disk:
        assert complaints(whole, disk, [{"command": name, "room": room} for room in ROOM]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTS)
def test_a_command_that_only_prints_writes_nothing(whole: Path, name: str) -> None:
    with read_only(whole):
        succeed(*name.split(), *PRINTS[name].replace("RUN", str(whole)).split())

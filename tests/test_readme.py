"""Every command and every piece of Python in the README runs, in the order in which it stands there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import TINY, slt_cache

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line.partition("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words and words[0] in ("slt-cache", "torchrun")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose run folders hold a tiny config, so that each command takes a second."""
    folder = tmp_path_factory.mktemp("readme")
    tiny = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    for name in ("avatar", "tsv"):
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump({**tiny, "corpus": {"name": name, "clips": 24}}))
    drawn = folder / "drawn"
    assert slt_cache("prepare", "avatar", "--run", drawn, "--config", TINY).code == 0
    shutil.copytree(drawn / "corpus" / "videos", folder / "my-videos" / "corpus" / "videos")
    shutil.copy(drawn / "manifest.tsv", folder / "my-videos" / "manifest.tsv")
    for name in ("new.mp4", "clip.mp4"):
        shutil.copy(drawn / "corpus" / "videos" / "test-00001.mp4", folder / name)
    for name in ("hypotheses.txt", "references.txt", "baseline.txt"):
        (folder / name).write_text("guten abend liebe zuschauer\n", encoding="utf-8")
    return folder


def test_every_command_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = commands()
    assert {"train-visual", "extract-features", "train-llm", "eval", "translate", "report", "score", "prepare"} <= {
        words[1] for words in found
    }
    for words in found:
        if words[0] == "torchrun":
            team = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:]]
            assert subprocess.run(team, check=False).returncode == 0, words
            continue
        ran = slt_cache(*words[1:])
        assert ran.code == 0, (words, ran.err)


def test_every_piece_of_python_of_the_readme_runs(folder: Path) -> None:
    if not (folder / "runs" / "avatar" / "llm" / "best").is_dir():
        pytest.skip("follows the commands")
    for block in blocks("python"):
        ran = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


def test_every_link_into_the_project_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (PROJECT / target).exists(), target


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)

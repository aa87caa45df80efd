"""Every command and every piece of Python in the README runs, in the order in which it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from slt_cache.cli.app import app

from tests.commands import TINY, slt_cache

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
"""All but the blocks."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def lines(*languages: str) -> list[list[str]]:
    """Every line of the blocks as words, without comments; a line that ends in a backslash goes on."""
    text = "\n".join(block for language in languages for block in blocks(language)).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def commands() -> list[list[str]]:
    """What runs here: all but the server, which test-browser runs, and what makes environments."""
    return [words for words in lines("sh") if words[0] in ("slt-cache", "torchrun") and words[1] != "app"]


def parse(words: list[str]) -> None:
    """Fails where the program has no such command or option."""
    path, command = [], typer.main.get_command(app)
    while hasattr(command, "commands"):
        path.append(words[len(path)])
        command = command.commands[path[-1]]  # type: ignore[attr-defined]
    command.make_context(" ".join(path), words[len(path) :])


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
    for name in ("new.mp4", "clip.mp4", "another.mp4", "long.mp4", "-odd-name.mp4"):
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


def test_what_cannot_run_here_parses() -> None:
    """Real corpora, the hub, GPUs, SLURM and the server: at least there are such commands and options."""
    words_of = lines("sh", "bash", "text")
    found = 0
    for words in words_of:
        if "slt_cache" in words:  # torchrun ... -m slt_cache -- COMMAND
            words = words[words.index("slt_cache") + 1 :]
            words = words[1:] if words[0] == "--" else words
        elif words[0] == "slt-cache":
            words = words[1:]
        else:
            continue
        parse(words)
        found += 1
    assert found > len(commands())
    for block in blocks("bash"):
        assert subprocess.run(["bash", "-n", "-c", block], check=False).returncode == 0, block


def test_every_command_and_option_that_a_sentence_names_exists() -> None:
    for span in re.findall(r"`slt-cache ([^`]+)`", PROSE):
        if span.startswith("seal "):  # the first line of a cache's user block
            continue
        words, command = span.split(), typer.main.get_command(app)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        known = {option for param in command.params for option in (*param.opts, "--help")}
        assert {word for word in words if word.startswith("--")} <= known, span


def test_every_line_of_a_shell_block_is_of_a_kind_that_is_tested() -> None:
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    for words in lines("sh"):
        assert words[0] in ("slt-cache", "torchrun", "make", "pip"), words
        if words[0] == "pip":
            assert f'["{words[-1]}"]' in project, words  # what an extra asks for


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


def test_every_link_within_the_readme_leads_to_a_heading() -> None:
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(#([^)]+)\)", README):
        assert target in anchors, target


def test_every_picture_is_small() -> None:
    for target in re.findall(r'src="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)', README):
        assert (PROJECT / (target[0] or target[1])).stat().st_size < 200_000, target


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)

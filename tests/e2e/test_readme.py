"""The documents hold: every command and every piece of Python runs, in the order in which it stands there; links lead
somewhere; settings and files that sentences name exist.

`sh` blocks run here, `text` and `bash` blocks (other data, the hub, GPUs, SLURM, hours) are parsed."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_origin

import numpy as np
import pytest
import typer
import yaml
from pydantic import BaseModel
from slt_cache.cli.program import program

from slt_cache.config import Config
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.team import start_team

PROJECT = Path(__file__).parents[2]
ORDER = (
    "README.md",
    "cli/README.md",
    "configs/README.md",
    "slt_cache/metrics/README.md",
    "slt_cache/features/FORMAT.md",
)
"""The commands of these documents follow one another, as their readers follow them; any other document comes after."""
README_LINES = 190


@cache
def documents() -> dict[str, str]:
    """Text of every document of the project, by path."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = tracked.stdout.split() or [
        str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*.md") if ".venv" not in path.parts
    ]
    return {name: (PROJECT / name).read_text(encoding="utf-8") for name in dict.fromkeys((*ORDER, *sorted(found)))}


def blocks(document: str, *languages: str) -> list[str]:
    """The code blocks of these languages."""
    pattern = rf"^```(?:{'|'.join(languages)})\n(.*?)^```"
    return re.findall(pattern, documents()[document], flags=re.MULTILINE | re.DOTALL)


def prose(document: str) -> str:
    """A document without its blocks."""
    return re.sub(r"^```.*?^```", "", documents()[document], flags=re.MULTILINE | re.DOTALL)


def lines(document: str, *languages: str) -> Iterator[list[str]]:
    """Every line of the blocks as words, without comments; a line that ends in a backslash is continued."""
    text = "\n".join(blocks(document, *languages)).replace("\\\n", " ")
    yield from filter(None, (shlex.split(line, comments=True) for line in text.splitlines()))


def commands() -> list[list[str]]:
    """What runs here, each once: all but the server, which test-browser runs, and what makes environments."""
    found = [tuple(words) for document in documents() for words in lines(document, "sh")]
    runs = [words for words in found if words[0] in ("slt-cache", "torchrun") and words[1] != "app"]
    return [list(words) for words in dict.fromkeys(runs)]


def spans() -> Iterator[tuple[str, str]]:
    """Every piece of code within a sentence, with its document."""
    for document in documents():
        yield from ((document, span) for span in re.findall(r"`([^`\n]+)`", prose(document)))


def parse(words: list[str]) -> None:
    """Fails where the program has no such command or option."""
    path: list[str] = []
    command: Any = typer.main.get_command(program)
    while hasattr(command, "commands"):
        path.append(words[len(path)])
        command = command.commands[path[-1]]
    if "--help" not in words:
        command.make_context(" ".join(path), words[len(path) :])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose run folders hold a tiny config, so that each command takes a second."""
    folder = tmp_path_factory.mktemp("readme")
    tiny = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    for training in ("visual_training", "llm_training"):
        tiny[training]["epochs"] = 1
    for name, corpus in (("avatar", "avatar"), ("tsv", "tsv"), ("i3d", "avatar")):
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump({**tiny, "corpus": {"name": corpus, "clips": 24}}))
    drawn = folder / "drawn"
    assert slt_cache("prepare", "avatar", "--run", drawn, "--config", TINY).code == 0
    shutil.copytree(drawn / "corpus" / "videos", folder / "my-videos" / "corpus" / "videos")
    shutil.copy(drawn / "manifest.tsv", folder / "my-videos" / "manifest.tsv")
    for name in ("new.mp4", "clip.mp4", "another.mp4", "long.mp4", "-odd-name.mp4"):
        shutil.copy(drawn / "corpus" / "videos" / "test-00001.mp4", folder / name)
    for name in ("hypotheses.txt", "references.txt", "baseline.txt"):
        (folder / name).write_text("guten abend liebe zuschauer\n", encoding="utf-8")
    return folder


@pytest.fixture
def measured_briefly(monkeypatch: pytest.MonkeyPatch, one_second_each: None) -> None:
    """What the benches measure, and how well, other tests ask; here each way is taken once."""
    monkeypatch.setattr("slt_cache.bench.llm.ROUND_SECONDS", 1e-9)
    monkeypatch.setattr("slt_cache.bench.llm.ROUNDS", 1)
    monkeypatch.setattr("slt_cache.bench.visual.ROUNDS", 1)
    monkeypatch.setattr("slt_cache.bench.visual.BATCHES", 1)


def test_every_command_of_the_documents_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, measured_briefly: None
) -> None:
    monkeypatch.chdir(folder)
    found = commands()
    assert {"train-visual", "extract-features", "train-llm", "eval", "translate", "report", "score", "prepare"} <= {
        words[1] for words in found
    }
    for words in found:
        if words[0] == "torchrun":
            size = int(words[1].removeprefix("--nproc-per-node="))
            assert start_team(folder / "logs", words[words.index("--") + 1 :], size) == [0] * size, words
            continue
        ran = slt_cache(*words[1:])
        assert ran.code == 0, (words, ran.err)


def test_what_cannot_run_here_parses() -> None:
    """Real corpora, the hub, GPUs, SLURM and the server: at least there are such commands and options."""
    found = 0
    for document in documents():
        for words in lines(document, "sh", "bash", "text"):
            if "slt_cache" in words:  # torchrun ... -m slt_cache -- COMMAND
                words = words[words.index("slt_cache") + 1 :]
                words = words[1:] if words[0] == "--" else words
            elif words[0] == "slt-cache":
                words = words[1:]
            else:
                continue
            parse(words)
            found += 1
        for block in blocks(document, "bash"):
            assert subprocess.run(["bash", "-n", "-c", block], check=False).returncode == 0, block
    assert found > len(commands())


def test_every_command_and_option_that_a_sentence_names_exists() -> None:
    for document, span in spans():
        if not span.startswith("slt-cache ") or span.startswith(
            ("slt-cache seal ", "slt-cache COMMAND", "slt-cache f")
        ):
            continue  # the first line of a cache's user block, any command, the attribute `format`
        words, command = span.split()[1:], typer.main.get_command(program)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in (*param.opts, "--help", "--version")}
        assert {word for word in words if word.startswith("--")} <= known, (document, span)


def setting_exists(name: str) -> bool:
    """Whether the config has this `section.key`, nested sections included."""
    section: Any = Config
    for key in name.split("."):
        if section is None or key not in section.model_fields:
            return False
        annotation = section.model_fields[key].annotation
        kinds = (annotation, *getattr(annotation, "__args__", ()))
        if get_origin(annotation) is dict:
            return True  # further keys are names
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return True


def test_every_setting_that_the_documents_name_exists() -> None:
    sections = "|".join(name for name in Config.model_fields if name != "seed")
    pattern = re.compile(rf"(?:^|\s)((?:{sections})\.[a-z_.0-9]+[a-z_0-9])")
    found = 0
    for document, text in documents().items():
        code = [*(span for where, span in spans() if where == document), *blocks(document, "sh", "bash", "text")]
        for piece in code:
            for name in pattern.findall(piece):
                assert setting_exists(name) or name.endswith((".tsv", ".yaml", ".py")), (document, name)
                found += 1
        assert text.strip(), document
    assert found > 50


def test_every_file_of_the_project_that_the_documents_name_exists() -> None:
    path = re.compile(r"(?:slt_cache|cli|configs|data|tests)/[\w/.-]+\.(?:py|yaml|md|png)")
    for document in documents():
        code = [span for where, span in spans() if where == document] + blocks(document, "sh", "bash", "text")
        for piece in code:
            for name in path.findall(piece):
                assert (PROJECT / name).exists(), (document, name)


def test_every_line_of_a_shell_block_is_of_a_kind_that_is_tested() -> None:
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    for document in documents():
        for words in lines(document, "sh"):
            assert words[0] in ("slt-cache", "torchrun", "make", "pip"), words
            if words[0] == "pip":  # installs slt-cache as the Dockerfile does, or what an extra asks for
                assert f'["{words[-1]}"]' in project or f"RUN {' '.join(words[:3])}" in dockerfile, words


def test_every_piece_of_python_of_the_documents_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (folder / "runs" / "avatar" / "llm" / "best").is_dir():
        pytest.skip("follows the commands")
    monkeypatch.chdir(folder)
    pieces = [block for document in documents() for block in blocks(document, "python") if "sys.argv" not in block]
    assert len(pieces) >= 3
    for piece in pieces:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(piece, "<a document>", "exec"), {"__name__": "__main__"})
        assert out.getvalue().strip(), piece


def test_the_program_of_the_documents_writes_the_features_of_each_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = [block for block in blocks("slt_cache/encoders/README.md", "python") if "sys.argv" in block]
    (tmp_path / "list").write_text("a\ta.mp4\t\t\nb\tb.mp4\t1.0\t2.5\t0,0,1,1\n")
    monkeypatch.setattr(sys, "argv", ["my_features.py", str(tmp_path / "list"), str(tmp_path)])
    exec(program, {"my_features": lambda video, start, end: np.full((2, 3), len(start), np.float32)})
    assert [np.load(tmp_path / f"{clip}.npy")[0, 0] for clip in "ab"] == [0, 3]


def anchors(text: str) -> set[str]:
    """The names by which a page of GitHub knows the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_link_within_the_project_leads_to_a_file_and_a_heading() -> None:
    found = 0
    for document in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
            if target.startswith(("http:", "https:")):
                continue
            name, _, anchor = target.partition("#")
            path = (PROJECT / document).parent / name if name else PROJECT / document
            assert path.exists(), (document, target)
            assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), (document, target)
            found += 1
    assert found > 20


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, pending = set(), ["README.md"]
    while pending:
        document = pending.pop()
        reached.add(document)
        for target in re.findall(r"\]\(([^)\s#]+\.md)(?:#[^)]*)?\)", documents()[document]):
            path = ((PROJECT / document).parent / target).resolve()
            if path.is_relative_to(PROJECT) and str(path.relative_to(PROJECT)) not in reached:
                pending.append(str(path.relative_to(PROJECT)))
    assert reached == set(documents())


def test_the_readme_is_short() -> None:
    assert len(documents()["README.md"].splitlines()) <= README_LINES


def test_every_picture_is_small() -> None:
    for document, text in documents().items():
        for target in re.findall(r'src="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)', text):
            path = (PROJECT / document).parent / (target[0] or target[1])
            assert path.stat().st_size < 200_000, (document, target)


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for document in documents():
        code = [span for where, span in spans() if where == document] + blocks(document, "sh", "text")
        for piece in code:
            for target in re.findall(r"^make ([a-z-]+)", piece, flags=re.MULTILINE):
                assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), (document, target)
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)

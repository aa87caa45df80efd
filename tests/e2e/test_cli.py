"""The program as a user meets it: help, bad input, interruption, and the wheel in another folder."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.commands import TINY, Ran, interrupt_at, slt_cache

PROJECT = Path(__file__).parents[2]


@pytest.mark.slow
def test_help_answers_within_half_a_second() -> None:
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "slt_cache", "--help"], check=True, capture_output=True)
        seconds.append(time.monotonic() - begun)
    assert min(seconds) < 0.5


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['slt-cache', '--help']\n"
        "from slt_cache.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'h5py', 'numpy', 'pydantic', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (("train-visual", "--config", "nowhere.yaml"), "shipped: avatar"),
        (("train-visual", "--set", "video.szie=32"), "did you mean size?"),
        (("train-visual", "--set", "video.size=huge"), "video.size"),
        (("train-visual", "--set", "nonsense"), "section.key=value"),
        (("train-visual", "--device", "abacus"), "abacus"),
        (("extract-features", "--split", "train", "--config", str(TINY)), "slt-cache train-visual"),
        (("extract-features", "--split", "tset"), "train, dev, test or all"),
        (("train-llm", "--features", "feats.h5"), "slt-cache extract-features --split train"),
        (("eval",), "slt-cache train-llm"),
        (("eval", "--split", "tset"), "train, dev, test"),
        (("eval", "--model", "nonsense"), "visual, llm"),
        (("translate", "clip.mp4"), "slt-cache prepare tsv --root DIR"),
        (("report",), "slt-cache"),
        (("compare", "a", "b"), "no such run folder"),
        (("compare",), "RUNS"),
        (("prepare", "tsv", "--root", "nowhere"), "no such folder"),
        (("prepare", "nonsense"), "avatar"),
        (("score", "a.txt", "b.txt"), "a.txt"),
        (("score", "a.txt", "b.txt", "--preset", "nonsense"), "phoenix14t"),
        (("cache", "info", "nowhere.h5"), "nowhere.h5"),
        (("cache", "verify", "nowhere.h5"), "nowhere.h5"),
        (("bench", "cache"), "feats.h5"),
    ],
)
def test_bad_input_ends_with_2_and_two_lines_that_say_what_to_do(
    arguments: tuple[str, ...], telling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = slt_cache(*arguments)
    assert ran.code == 2, ran.err
    assert telling.lower() in ran.err.lower()
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ")
    assert len(ran.err.strip().splitlines()) <= 2
    assert not ran.out


def test_an_empty_file_is_not_scored(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    ran = slt_cache("score", tmp_path / "empty.txt", tmp_path / "empty.txt")
    assert ran.code == 2
    assert "the file is empty" in ran.err


def test_a_mistyped_option_ends_with_2() -> None:
    ran = slt_cache("eval", "--spilt", "test")
    assert ran.code == 2
    assert "--split" in ran.err


def write_manifest(folder: Path, rows: str) -> None:
    (folder / "manifest.tsv").write_text("id\tsplit\tvideo\tstart\tend\ttext\n" + rows, encoding="utf-8")


def prepare_own(folder: Path, run: Path) -> Ran:
    language = ("--set", "llm.language=de_DE")
    return slt_cache("prepare", "tsv", "--root", folder, "--run", run, "--config", TINY, *language)


def test_an_empty_manifest_is_bad_input(tmp_path: Path) -> None:
    write_manifest(tmp_path, "")
    ran = slt_cache("prepare", "tsv", "--root", tmp_path, "--run", tmp_path / "run")
    assert ran.code == 2
    assert "no clips" in ran.err


def test_a_text_file_named_mp4_is_bad_input_for_training_and_translation(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("not a video")
    write_manifest(tmp_path, "a\ttrain\tclip.mp4\t\t\tguten abend liebe zuschauer\n")
    run = tmp_path / "run"
    assert prepare_own(tmp_path, run).code == 1  # the manifest is written
    ran = slt_cache("train-visual", "--run", run)
    assert ran.code == 2
    assert "it cannot be read" in ran.err
    assert "Traceback" not in ran.err


def test_verbose_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slt_cache.errors import InputError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slt_cache.cli.endings.Verbosity.traceback", False)  # undone afterwards, whatever -v made of it
    with pytest.raises(InputError):
        slt_cache("report", "-v")


def test_ctrl_c_ends_with_130_leaves_nothing_half_and_the_same_command_goes_on(tmp_path: Path) -> None:
    interrupted, whole = tmp_path / "interrupted", tmp_path / "whole"
    settings = ("--config", TINY, "--set", "visual_training.epochs=4", "--set", f"corpus.root={tmp_path / 'corpus'}")
    assert slt_cache("train-visual", "--run", whole, *settings).code == 0
    ran = interrupt_at("epoch 2", "train-visual", "--run", interrupted, *settings)
    assert ran.code == 130, ran.err
    assert "interrupted; the same command resumes from what is finished." in ran.err
    assert "Traceback" not in ran.err
    assert not list(interrupted.rglob("*.tmp"))
    again = slt_cache("train-visual", "--run", interrupted, *settings)
    assert again.code == 0
    assert "resumes after epoch" in again.err
    weights = "visual/best/encoder.safetensors"
    assert (interrupted / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package installed from its wheel into a folder of its own."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    names = ("slt_cache", "cli", "configs", "data", "pyproject.toml", "README.md", "LICENSE")
    for name in names:
        path = PROJECT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(source)]
    subprocess.run(build, check=True)
    [built] = place.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(place / "installed"), str(built)], check=True)
    return place / "installed"


def test_the_wheel_installs_no_top_level_module_but_its_own(wheel: Path) -> None:
    assert {path.name for path in wheel.iterdir() if path.is_dir() and "dist-info" not in path.name} <= {
        "slt_cache",
        "bin",
    }
    assert (wheel / "slt_cache" / "configs" / "avatar.yaml").is_file()


def test_the_wheel_holds_all_of_the_library_templates_and_styles_too(wheel: Path) -> None:
    source = PROJECT / "slt_cache"
    files = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {".jinja", ".css", ".py"} <= {path.suffix for path in files}
    absent = [path for path in files if not (wheel / "slt_cache" / path.relative_to(source)).is_file()]
    assert absent == []


def test_the_four_commands_work_verbatim_from_the_wheel_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    (folder / "runs" / "avatar").mkdir(parents=True)
    shutil.copy(TINY, folder / "runs" / "avatar" / "config.yaml")  # only to be quick
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    commands = (
        "slt-cache train-visual",
        "slt-cache extract-features --split train",
        "slt-cache train-llm --features feats.h5",
        "slt-cache eval",
    )
    program = f"""
import sys, slt_cache
from slt_cache.cli import main
for line in {commands}:
    sys.argv = line.split()
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, line
print(slt_cache.__file__)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "BLEU-4" in ran.stdout
    assert str(wheel) in ran.stdout


def test_resamples_out_of_bounds_are_refused_before_anything_is_translated(tmp_path: Path) -> None:
    ran = slt_cache("eval", "--run", tmp_path, "--bootstrap", "3")
    assert ran.code == 2
    assert "--bootstrap 3: use 40 to 10000" in ran.err

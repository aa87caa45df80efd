"""How commands end: one line for what the machine refuses, silence for a closed pipe and for Ctrl-C, no traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from slt_cache.cli.endings import explained
from slt_cache.cli.options import Options, takes

from slt_cache.errors import InputError
from tests.helpers.commands import slt_cache
from tests.helpers.small_disks import fill, small_disk

PROGRAM = [sys.executable, "-m", "slt_cache"]


def ended(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def train_llm(options: Options) -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        takes("train-llm")(train_llm)(verbose=False)
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "llm_training.batch_size"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), "batch_size"),
        (RuntimeError("CUDA error: out of memory"), "llm_training.accumulate"),
        (OSError(12, "Cannot allocate memory"), "not enough memory"),
        (OSError(28, "No space left on device", "/data/x.bin"), "/data/x.bin: No space left on device"),
        (PermissionError(13, "Permission denied", "/root/a"), "/root/a: Permission denied"),
        (OSError("odd"), "odd"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset"),
    ],
)
def test_what_the_machine_refuses_ends_with_1_and_one_line(
    error: Exception, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = ended(error, capsys)
    assert code == 1
    assert says in err
    assert len(err.strip().splitlines()) == 1


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", ["--help", "--version", "config show", "config show --json"])
def test_a_full_disk_for_what_is_printed_is_one_line_whatever_prints(words: str) -> None:
    with FULL.open("w") as full:
        ran = subprocess.run([*PROGRAM, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert line.startswith("error: standard output: could not be written (No space left on device)")


def test_the_free_space_of_the_disk_that_is_printed_to_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        fill(disk, 4096)
        with (disk / "settings").open("w") as printed:
            ran = subprocess.run([*PROGRAM, "config", "show"], stdout=printed, stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, "; 0 bytes are free;" in ran.stderr) == (1, True)


def test_torchs_out_of_memory_is_told_by_what_to_reduce(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    code, err = ended(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), capsys)
    assert (code, "llm_training.batch_size" in err, "20.00 GiB" in err) == (1, True, True)
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 50)
    assert explained(refused.value, "extract-features") is not None


def test_bad_input_is_2_and_a_mistake_of_the_program_keeps_its_traceback() -> None:
    assert explained(InputError("x"), "f") == ("error: x", 2)
    assert explained(ValueError("x"), "f") is None
    assert explained(RuntimeError("shapes differ"), "f") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("trian-visual",), "train-visual"),
        (("cache", "verfy"), "verify"),
        (("eval", "--spilt", "test"), "--split"),
        (("translate", "--nbset", "3", "a.mp4"), "--nbest"),
        (("llm", "pretrian"), "pretrain"),
        (("score", "a"), "references"),
        (("bench", "visual", "--batches", "x"), "--batches"),
        (("eval", "--split"), "--split"),
    ],
)
def test_a_command_line_that_cannot_be_read_names_the_nearest_and_the_help(
    arguments: tuple[str, ...], says: str
) -> None:
    ran = slt_cache(*arguments)
    assert ran.code == 2
    assert says in ran.err
    assert "--help" in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not ran.out


@pytest.mark.parametrize("arguments", [("--help",), ("train-visual", "--help"), ("score", "--help")])
def test_a_reader_that_leaves_is_no_error(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([*PROGRAM, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ran.stderr == ""


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.4, 0.8])
def test_ctrl_c_at_any_moment_prints_no_traceback(seconds: float, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", "import slt_cache.cli; print(flush=True); slt_cache.cli.main()", "train-visual"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    running.stdout.readline()  # what comes before is the interpreter's own
    time.sleep(seconds)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err


def test_a_tilde_is_expanded_in_options_that_name_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for arguments in (("cache", "info", "~/a.h5"), ("score", "~/a.txt", "b"), ("report", "--run=~/r")):
        ran = slt_cache(*arguments)
        assert str(tmp_path) in ran.err, ran.err
    ran = slt_cache("eval", "--config", "~/c.yaml")
    assert str(tmp_path / "c.yaml") in ran.err


RESUMES = "interrupted; the same command resumes from what is finished."
STARTS_OVER = "interrupted; the same command starts over."
WITHOUT_RESTART = (
    "interrupted; the same command without --restart resumes from what was saved, and with it starts over."
)
INTERRUPTED = [
    ("demo", RESUMES),
    ("prepare avatar", RESUMES),
    ("train-visual", RESUMES),
    ("train-visual --restart", WITHOUT_RESTART),
    ("train-visual --dry-run", STARTS_OVER),
    ("train-visual --restart --dry-run", STARTS_OVER),
    ("train-llm", RESUMES),
    ("train-llm --restart", WITHOUT_RESTART),
    ("train-llm --dry-run", STARTS_OVER),
    ("train-joint", RESUMES),
    ("train-joint --restart", WITHOUT_RESTART),
    ("llm pretrain", RESUMES),
    ("llm pretrain --restart", WITHOUT_RESTART),
    ("llm trim --name a --text b --out c", STARTS_OVER),
    ("llm merge --out a", STARTS_OVER),
    ("extract-features", RESUMES),
    ("extract-features --restart", WITHOUT_RESTART),
    ("precompute", RESUMES),
    ("eval", STARTS_OVER),
    ("translate a.mp4", STARTS_OVER),
    ("export-model --out a", STARTS_OVER),
    ("export-attention", RESUMES),
    ("score a b", STARTS_OVER),
    ("compare a b", STARTS_OVER),
    ("report", STARTS_OVER),
    ("app", "interrupted."),
    ("verify a", STARTS_OVER),
    ("doctor", STARTS_OVER),
    ("config show", STARTS_OVER),
    ("slurm train-visual", STARTS_OVER),
    ("cache info", STARTS_OVER),
    ("cache show a", STARTS_OVER),
    ("cache verify", STARTS_OVER),
    ("cache export a b", STARTS_OVER),
    ("cache import a --out b", RESUMES),
    ("cache merge a --out b", STARTS_OVER),
    ("bench cache", STARTS_OVER),
    ("bench contention", STARTS_OVER),
    ("bench extract", STARTS_OVER),
    ("bench llm", STARTS_OVER),
    ("bench scale", STARTS_OVER),
    ("bench visual", STARTS_OVER),
    ("sweep a", RESUMES),
    ("reproduce table4", RESUMES),
    ("reproduce table4 --dry-run", STARTS_OVER),
]
"""Command lines, and what they say after Ctrl-C."""


@pytest.mark.parametrize(("line", "says"), INTERRUPTED, ids=[line for line, _ in INTERRUPTED])
def test_ctrl_c_says_what_the_same_command_would_do(line: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slt_cache.cli.options._at_home", press)  # the first thing that is done with any option
    ran = slt_cache(*line.split())
    assert (ran.code, ran.out, ran.err) == (130, "", f"{says}\n")


def test_sigterm_interrupts_a_command_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("slt_cache.cli.options._at_home", end)
    ran = slt_cache("extract-features")
    assert (ran.code, ran.out, ran.err) == (130, "", f"{RESUMES}\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    monkeypatch.setenv("RANK", "1")  # of several processes, the first one speaks
    ran = slt_cache("extract-features")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_what_ctrl_c_says_is_known_of_every_command() -> None:
    from slt_cache.cli.program import program
    from typer.main import get_command

    def names(command: object, prefix: str = "") -> Iterator[str]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from names(inner, f"{prefix}{name} ") if hasattr(inner, "commands") else [f"{prefix}{name}"]

    known = [line for line, _ in INTERRUPTED]
    unknown = [
        name for name in names(get_command(program)) if not any(f"{line} ".startswith(f"{name} ") for line in known)
    ]
    assert unknown == []


def test_ctrl_c_that_a_library_drops_while_it_is_imported_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept BaseException:\n    pass\n"
    (tmp_path / "a_library_that_drops.py").write_text(f"{drops}import the_next_library\n")
    (tmp_path / "the_next_library.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("slt_cache.cli.options._at_home", lambda *_: import_module("a_library_that_drops"))
    ran = slt_cache("train-visual")
    assert (ran.code, ran.out, ran.err) == (130, "", f"{RESUMES}\n")
    assert "the_next_library" not in sys.modules
    import_module("the_next_library")  # the press is over


PRESSES = """
import signal, sys, slt_cache.cli

class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy._core":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Presses())
slt_cache.cli.main()
"""


def test_ctrl_c_while_torch_loads_numpy_ends_the_command(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PRESSES, "train-visual", "--dry-run"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr.endswith(f"{STARTS_OVER}\n")
    assert "Traceback" not in ran.stderr


def test_ctrl_c_that_a_library_turns_into_an_error_is_still_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ModuleNotFoundError("Could not import module 'M2M100ForConditionalGeneration'") from None

    monkeypatch.setattr("slt_cache.cli.options._at_home", turn)
    ran = slt_cache("verify", "a")
    assert (ran.code, ran.err) == (130, f"{STARTS_OVER}\n")
    monkeypatch.undo()
    assert slt_cache("verify", "a").code == 2  # not a word of the press before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

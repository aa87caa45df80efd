"""Kills every command that writes at chosen moments, or fills the disk to chosen levels, and runs the command again.

A separate program, so that the library is loaded once and it forks from a process without threads. Reads one JSON
object from stdin: `whole`, a finished run; `folder` to work in, on a small disk if disks are filled; and `points`.
Answers each with one JSON line: what was wrong afterwards, or null.

A point names its `command` (a key of COMMANDS) and the moment: {"event": x}, killed when this share of all openings,
renamings, syncs and deletions in the run has happened; {"time": x}, killed after this share of the seconds that the
command takes; or {"room": x}, with this share of the bytes that the command takes left on the disk."""

import hashlib
import json
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slt_cache.features.cache import open_splits
from tests.helpers.commands import TINY
from tests.helpers.killing import call_program, in_child
from tests.helpers.preloaded import preload
from tests.helpers.small_disks import fill, free

VOLATILE = re.compile(
    r"(^|/)(report\.html|filler|probed?\.json|lock|said|bench-cache\.json|reproduce\.json|state\.pt"
    r"|sweep\.html|doctor\.(html|json)|study\.journal|pixels\.json)$"
)
"""Files with a time of day, a measurement, or the state of a disk or of a training."""
WITH_STAGE_1 = {"demo", "tables"}
"""Folders whose commands also train the encoder, so the cache has a different time."""
TIMES = {"seconds", "memory_bytes", "finished_at", "made_from", "files", "created", "sha256", "log_sha256"}
DIGESTS: dict[tuple[int, int, int, int], str] = {}
"""Digests of files that were already read."""
FULL = re.compile(r"^error: .*(No space left on device|needs about|are to be written).*$")


@dataclass(frozen=True)
class Command:
    """One command of a finished run."""

    words: str
    """Command line, with RUN for the run folder."""
    makes: tuple[str, ...]
    """Files that it writes below the run folder, deleted before."""


TRAINED = ("visual", "tokenizer", "feats.h5", "llm", "eval", "report.html", "exported", "merged", "trimmed")
AFTER_STAGE_1 = ("feats.h5", "llm", "eval", "report.html", "exported")
COMMANDS = {
    "prepare avatar": Command(
        f"prepare avatar --run RUN --config {TINY}", (*TRAINED, "*.json", "*.tsv", "corpus", "*.yaml")
    ),
    "train-visual": Command("train-visual --run RUN --set compute.workers=2", TRAINED),
    "frame cache": Command("train-visual --run RUN --set video.frame_cache=true", TRAINED),
    "extract-features": Command("extract-features --split all --run RUN", AFTER_STAGE_1),
    "join": Command("extract-features --join --split all --run RUN", AFTER_STAGE_1),
    "llm pretrain": Command("llm pretrain --run RUN --set compute.save_minutes=0", ("llm", "eval", "report.html")),
    "train-llm": Command(
        "train-llm --run RUN --set compute.save_minutes=0", ("llm/best", "llm/last", "eval", "report.html")
    ),
    "eval": Command("eval --run RUN --set generation.num_beams=1", ("eval", "report.html")),
    "report": Command("report --run RUN", ("report.html",)),
    "cache export": Command("cache export RUN/feats.h5 RUN/exported", ("exported",)),
    "cache import": Command("cache import RUN/exported --out RUN/imported.h5", ("imported.h5*",)),
    "cache merge": Command("cache merge RUN/train.h5 RUN/dev.h5 --out RUN/merged.h5", ("merged.h5*",)),
    "cache info": Command("cache info RUN/feats.h5 --plot RUN/lengths.png", ("lengths.png",)),
    "llm trim": Command(
        "llm trim --name RUN/llm/pretrained/best --text RUN/manifest.tsv --out RUN/trimmed", ("trimmed",)
    ),
    "export-model": Command("export-model --run RUN --out RUN/model", ("model",)),
    "export-attention": Command("export-attention --run RUN", ("attention",)),
    "llm merge": Command("llm merge --run RUN/lora --out RUN/without-lora", ("without-lora",)),
    "prepare tsv": Command(
        f"prepare tsv --root RUN/own --run RUN/corrected --config {TINY} --set llm.language=de_DE", ("corrected",)
    ),
    "prepare phoenix14t": Command("prepare phoenix14t --root RUN/phoenix --run RUN/official", ("official",)),
    "train-joint": Command("train-joint --run RUN", ("joint",)),
    "demo": Command(f"demo --run RUN/demo --config {TINY}", ("demo",)),
    "reproduce": Command(f"reproduce table8 --run RUN/tables --config {TINY}", ("tables",)),
    "sweep": Command("sweep RUN/own/space.yaml --run RUN --trials 2", ("sweeps",)),
    "doctor": Command("doctor --device cpu --check device --out RUN/doctor", ("doctor",)),
    "cache show": Command("cache show train-00000 --features RUN/feats.h5 --plot RUN/clip.png", ("clip.png",)),
}


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    preload()
    whole, folder = Path(asked["whole"]), Path(asked["folder"])
    measured: dict[str, Measured] = {}
    for point in asked["points"]:
        name = point["command"]
        if name not in measured:
            measured.clear()  # its run takes room
            shutil.rmtree(folder / "run", ignore_errors=True)
            measured[name] = measure(whole, folder / "run", COMMANDS[name])
        print(json.dumps(complaint(whole, folder / "run", point, measured[name])), flush=True)


@dataclass(frozen=True)
class Measured:
    """Measurement of the undisturbed command."""

    content: dict[str, str]
    events: int
    seconds: float
    bytes: int


def measure(whole: Path, run: Path, command: Command) -> Measured:
    begin(whole, run, command)
    before, begun = free(run), time.monotonic()
    assert call(run, command) == 0, said(run)
    seconds, taken = time.monotonic() - begun, before - free(run)
    content = content_of(run)
    begin(whole, run, command)
    counted = run.parent / "events"
    assert call(run, command, count_into=counted) == 0, said(run)
    events = int(counted.read_text())
    counted.unlink()
    assert content_of(run) == content, f"two runs differ: {differences(content, run)}"
    return Measured(content, events, seconds, taken)


def complaint(whole: Path, run: Path, point: dict[str, Any], measured: Measured) -> str | None:
    command = COMMANDS[point["command"]]
    begin(whole, run, command)
    before = content_of(run)
    if "room" in point:
        filler = fill(run.parent, int(point["room"] * measured.bytes))
        code = call(run, command)
        text = said(run)
        filler.unlink()
        if code == 0:
            if content_of(run) != measured.content:
                return f"ended well on a full disk, and something is missing: {differences(measured.content, run)}"
            return None if point["room"] else "ended well on a full disk"
        refused = code == 2 and "are to be written" in text  # before anything was done: there is too little room
        if not (code == 1 or refused) or "Traceback" in text or not FULL.match(text.splitlines()[-1]):
            return f"exit code {code}: {text[-600:]}"
    else:
        at = 1 + int(point["event"] * measured.events) if "event" in point else None
        code = call(run, command, kill_at=at, kill_after=None if at else point["time"] * measured.seconds)
        if code not in (0, -signal.SIGKILL):
            return f"exit code {code}: {said(run)[-600:]}"
    now = content_of(run)
    lost = [name for name, one in before.items() if now.get(name) not in (one, measured.content.get(name))]
    if lost:
        return f"lost or changed: {lost}"
    if call(run, command) != 0 and not ("already exists" in said(run) and content_of(run) == measured.content):
        return f"the same command failed: {said(run)[-600:]}"
    found = differences(measured.content, run)
    left = [
        str(path.relative_to(run)) for path in run.rglob("*") if ".tmp" in path.name or path.name in ("lock", "last")
    ]
    return f"differs: {found}" if found else f"left behind: {left}" if left else None


def begin(whole: Path, run: Path, command: Command) -> None:
    """Makes a run that has everything but the command's output."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run, copy_function=linked_or_copied)
    for pattern in command.makes:
        for path in run.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def linked_or_copied(source: str, target: str) -> None:
    """Links large files, which are never written in place, and copies the others."""
    if source.endswith((".safetensors", ".mp4", ".h5")):
        with suppress(OSError):  # on another disk
            Path(target).hardlink_to(source)
            return
    shutil.copy2(source, target)


def call(
    run: Path,
    command: Command,
    kill_at: int | None = None,
    kill_after: float | None = None,
    count_into: Path | None = None,
) -> int:
    """Runs the command like a user, in a separate process; returns its exit code."""

    def work() -> None:
        words = command.words.replace("RUN", str(run)).split()
        has_none = words[0] in ("cache", "report", "prepare") or words[:2] in (["llm", "trim"], ["llm", "merge"])
        device = [] if has_none else ["--device", "cpu"]
        signal_at = None if kill_at is None else (kill_at, signal.SIGKILL)
        call_program([*words, *device], saying(run), run, signal_at, count_into)

    return in_child(work, kill_after)


def saying(run: Path) -> Path:
    """Returns the file for the command's messages, which is not on the filled disk."""
    return Path(tempfile.gettempdir()) / f"said-{hashlib.sha256(str(run).encode()).hexdigest()[:12]}"


def said(run: Path) -> str:
    return saying(run).read_text()


def content_of(run: Path) -> dict[str, str]:
    """Returns a digest of every file that does not depend on the time of day."""
    return {
        name: digest(path)
        for path in sorted(run.rglob("*"))
        if path.is_file() and not VOLATILE.search(name := str(path.relative_to(run)))
    }


def digest(path: Path) -> str:
    state = path.stat()
    key = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in DIGESTS:
        DIGESTS[key] = hashlib.sha256(plain(path)).hexdigest()
    return DIGESTS[key]


def plain(path: Path) -> bytes:
    if path.suffix == ".h5" and WITH_STAGE_1 & set(path.parts):
        caches = list(open_splits(path).values())
        return repr([(one.split, one.ids, one.column("checksum").tolist()) for one in caches]).encode()
    if path.suffix not in (".json", ".jsonl"):
        return path.read_bytes()
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    return "\n".join(json.dumps(without_times(json.loads(line))) for line in lines).encode()


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def differences(content: dict[str, str], run: Path) -> list[str]:
    now = content_of(run)
    return sorted(name for name in content.keys() | now.keys() if content.get(name) != now.get(name))


if __name__ == "__main__":
    main()

"""Stage 1 over clips of very different length: what it holds in memory from epoch to epoch."""

import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.helpers.commands import TINY
from tests.helpers.videos import Coding, encode

CLIPS, SHORTEST, LONGEST = 200, 20, 900
"""Videos, and their frames."""
EPOCHS = 8
SETTINGS = [
    "corpus.name=tsv",
    "llm.language=de_DE",
    "video.resize=28",
    "video.size=24",
    "video.keep_rate=0.1",
    "visual_training.batch_size=8",
    f"visual_training.epochs={EPOCHS}",
    "compute.workers=2",
]


def write_corpus(root: Path) -> None:
    """Videos of noise that moves, all of them for training; lengths are spread evenly and shuffled."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    lengths = random.permutation(np.linspace(SHORTEST, LONGEST, CLIPS).round().astype(int)).tolist()
    coding = Coding("noise.mp4", {"preset": "ultrafast", "crf": "35", "x264-params": "threads=1"})
    rows = ["id\tsplit\tvideo\tstart\tend\ttext"]
    for number, frames in enumerate(lengths):
        encode(root / f"{number}.mp4", coding, frames, lambda frame: np.roll(noise, frame, axis=1))
        rows.append(f"clip-{number}\ttrain\t{number}.mp4\t\t\tein satz mit der zahl {frames} am ende")
    (root / "manifest.tsv").write_text("\n".join(rows) + "\n")


def megabytes(pid: int) -> tuple[float, float]:
    """Of a process, and of its readers, which count what they share with it too."""
    process = psutil.Process(pid)
    readers = 0
    for child in process.children(recursive=True):
        try:
            readers += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return process.memory_info().rss / 1e6, readers / 1e6


@dataclass(frozen=True)
class Peaks:
    """Megabytes, the most of each epoch."""

    training: np.ndarray
    readers: np.ndarray


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> Peaks:
    """Of one training, in processes of its own."""
    folder = tmp_path_factory.mktemp("mixed")
    write_corpus(folder)
    words = [word for setting in (*SETTINGS, f"corpus.root={folder}") for word in ("--set", setting)]
    command = ["train-visual", "--config", str(TINY), "--run", str(folder / "run"), *words]
    seen: list[list[tuple[float, float]]] = [[] for _ in range(EPOCHS + 1)]
    with (folder / "said").open("w") as said:
        running = subprocess.Popen([sys.executable, "-m", "slt_cache", *command], stdout=said, stderr=said)
        while running.poll() is None:
            ended = len(re.findall(r"stage 1 epoch \d+: loss", (folder / "said").read_text()))
            with suppress(psutil.NoSuchProcess):
                seen[ended].append(megabytes(running.pid))
            time.sleep(0.1)
    assert running.wait() == 0, (folder / "said").read_text()
    training, readers = np.array([np.max(epoch, axis=0) for epoch in seen[:EPOCHS]]).T
    print(f"megabytes, the most of each epoch: training {training.round()}, readers {readers.round()}")
    return Peaks(training, readers)


@pytest.mark.slow
def test_readers_of_clips_of_20_to_900_frames_do_not_grow_after_the_first_epoch(peaks: Peaks) -> None:
    assert peaks.readers[1:].max() < 1.05 * peaks.readers[0]


@pytest.mark.slow
def test_training_on_clips_of_20_to_900_frames_does_not_grow_after_the_first_epoch(peaks: Peaks) -> None:
    assert peaks.training[1:].max() < 1.1 * peaks.training[0]

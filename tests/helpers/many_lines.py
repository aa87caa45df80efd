"""Prepares, reads, hashes and plans a manifest of many lines over a few long videos; prints the seconds of processor
time and the megabytes at the peak of each step as JSON.

Run as a program: `python -m tests.helpers.many_lines FOLDER LINES`."""

import json
import random
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from slt_cache.bench.extract import untrained_run
from slt_cache.config import load_config
from slt_cache.corpora.base import SPLITS, of_split
from slt_cache.corpora.fingerprint import manifest_sha256
from slt_cache.corpora.manifest import read_manifest
from slt_cache.pipeline.encoder import extractor_of
from slt_cache.pipeline.prepare import ensure_clips, prepare
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.runs.run import Run
from tests.helpers.commands import TINY

VIDEOS = 100


def write_corpora(folder: Path, lines: int) -> None:
    """Writes the same clips as manifest.tsv, and as captions of YouTube-SL-25."""
    whole = long_video(folder / "whole.mp4", lines // VIDEOS).read_bytes()
    chance, words = random.Random(0), [f"word{number}" for number in range(20_000)]
    each = lines // VIDEOS
    with (folder / "manifest.tsv").open("w") as table, (folder / "youtube-sl-25-metadata.csv").open("w") as listed:
        table.write("id\tsplit\tvideo\tstart\tend\ttext\tsigner\n")
        for number in range(VIDEOS):
            name, split = f"video-{number:05d}", {1: "dev", 2: "test"}.get(number % 50, "train")
            (folder / f"{name}.mp4").write_bytes(whole + struct.pack(">I4sQ", 16, b"free", number))  # each another file
            listed.write(f"{name},gsg\n")
            with (folder / f"{name}.de.vtt").open("w") as captions:
                captions.write("WEBVTT\n\n")
                for place in range(each):
                    text = " ".join(chance.choices(words, k=10)) + "."
                    table.write(f"{name}_{place}\t{split}\t{name}.mp4\t{place}.0\t{place}.9\t{text}\ts{number % 7}\n")
                    hours, rest = divmod(place, 3600)
                    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
                    captions.write(f"{clock}.000 --> {clock}.900\n{text}\n\n")
    (folder / "whole.mp4").unlink()


def long_video(path: Path, seconds: int) -> Path:
    """Writes a video with a frame for each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(seconds):
            picture = np.full((32, 32, 3), number % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def peak() -> float:
    """Returns the largest memory since `forget`, in megabytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measured(step: Callable[[], Any]) -> dict[str, float]:
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    begun = time.process_time()
    step()
    return {"seconds": round(time.process_time() - begun, 1), "megabytes": round(peak())}


def main() -> None:
    folder, lines = Path(sys.argv[1]), int(sys.argv[2])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    write_corpora(corpus, lines)
    settings = ["compute.device=cpu", "llm.language=de_DE", "light_t.size=tiny"]
    own = Run(folder / "tsv", load_config(str(TINY), [*settings, "corpus.name=tsv", f"corpus.root={corpus}"]))
    found = {"prepare_tsv": measured(lambda: prepare(own))}
    captions = [*settings, "corpus.name=youtube-sl-25", f"corpus.root={corpus}", "corpus.captions=de"]
    found["prepare_youtube"] = measured(lambda: prepare(Run(folder / "youtube", load_config(str(TINY), captions))))
    found["start"] = measured(lambda: ensure_clips(own))
    found["read"] = measured(lambda: read_manifest(own.manifest))
    found["sha256"] = measured(lambda: manifest_sha256(read_manifest(own.manifest)))
    trained = untrained_run(folder / "trained", own.config, [corpus / "video-00000.mp4"])
    run = replace(trained, folder=own.folder)
    found["plan_extraction"] = measured(lambda: plan(run, trained))
    print(json.dumps(found))


def plan(run: Run, trained: Run) -> None:
    clips, encoder = ensure_clips(run), extractor_of(trained)
    for split in SPLITS:
        work = SplitWork.plan(run, encoder, run.folder / "feats.h5", split, of_split(clips, split))
        assert work.to_do(longest_first=False) == list(range(len(work.chunks)))


if __name__ == "__main__":
    main()

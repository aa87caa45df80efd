"""Writes the demo corpus: settings and a folder in; videos, sentences without a video and the clips out.

Keeps what is there: a rerun writes only the missing videos. Writes no manifest."""

import signal
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np

from slt_cache.config.sections import CorpusConfig
from slt_cache.corpora.avatar.draw import draw_clip
from slt_cache.corpora.avatar.grammar import data_files
from slt_cache.corpora.avatar.lexicon import data_sha256
from slt_cache.corpora.avatar.plan import PlannedClip, plan_avatar
from slt_cache.corpora.clips import MONOLINGUAL_FILE, Clip
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import read_json, replacing, write_json, write_text

RENDERER_VERSION = 1
"""Goes up whenever the same settings give other pictures or sentences."""
FRAME_RATE = 25
"""Frames a second, as in PHOENIX14T."""
QUALITY = 20
"""x264's constant rate factor; smaller is better."""
SETTINGS_FILE = "corpus.json"
CLIPS_PER_TASK = 8

Progress = Callable[[int, int], None]


def write_avatar(corpus: CorpusConfig, folder: Path, progress: Progress | None = None, workers: int = 2) -> list[Clip]:
    """Draws the corpus into a folder; the clips in manifest order.

    `progress` gets (videos there, videos in all). With less than two workers no other process is started.
    Raises InputError where the folder holds a corpus of other settings."""
    plan = plan_avatar(corpus)
    _claim(folder, corpus)
    write_text(folder / MONOLINGUAL_FILE, "\n".join(plan.monolingual) + "\n")
    (folder / "videos").mkdir(exist_ok=True)
    missing = [clip for clip in plan.clips if not video_path(folder, clip).is_file()]
    done = len(plan.clips) - len(missing)
    with closing(_write_videos(missing, folder, workers)) as batches:  # ends its processes at once
        for written in batches:
            done += written
            if progress is not None:
                progress(done, len(plan.clips))
    return [
        Clip(
            id=clip.id,
            split=clip.split,
            video=video_path(folder, clip),
            start=None,
            end=None,
            text=clip.text,
            signer=clip.signer.name,
        )
        for clip in plan.clips
    ]


def video_path(folder: Path, clip: PlannedClip) -> Path:
    return folder / "videos" / f"{clip.id}.mp4"


def _claim(folder: Path, corpus: CorpusConfig) -> None:
    """Notes the settings in the folder, or refuses it where it holds other ones."""
    settings = _settings(corpus)
    path = folder / SETTINGS_FILE
    if not path.exists():
        if (folder / "videos").is_dir() and any((folder / "videos").iterdir()):
            raise InputError(f"{folder}: holds videos but no {SETTINGS_FILE}. Choose another folder.")
        write_json(path, settings)
        return
    there = read_json(path)
    differing = [key for key in settings if there.get(key) != settings[key]]
    if differing:
        listed = ", ".join(f"{key}: folder {there.get(key)}, run {settings[key]}" for key in differing)
        raise InputError(
            f"{folder}: holds a demo corpus of other settings ({listed}). Choose another folder, or delete this one."
        )


def _settings(corpus: CorpusConfig) -> dict[str, Any]:
    """All that decides what the files hold."""
    names = data_files(corpus.language, corpus.difficulty)
    return {
        "renderer": RENDERER_VERSION,
        "clips": corpus.clips,
        "language": corpus.language,
        "difficulty": corpus.difficulty,
        "seed": corpus.seed,
        "lexicon_sha256": data_sha256(names),
    }


def _write_videos(clips: list[PlannedClip], folder: Path, workers: int) -> Generator[int, None, None]:
    """Writes the videos; yields how many more are there."""
    tasks = [clips[start : start + CLIPS_PER_TASK] for start in range(0, len(clips), CLIPS_PER_TASK)]
    if workers < 2 or len(tasks) < 2:
        for clip in clips:
            yield _write_task([clip], folder)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=get_context("spawn"), initializer=_leave_interrupts_to_parent
    )
    try:
        waiting: set[Future[int]] = {pool.submit(_write_task, task, folder) for task in tasks}
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    except BrokenProcessPool as error:
        raise SltCacheError(
            f"{folder}: a drawing process ended early; the finished videos are kept. Run it again to go on."
        ) from error
    finally:
        # After an interrupt only the tasks that already run are waited for: they end within a second.
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_task(clips: list[PlannedClip], folder: Path) -> int:
    for clip in clips:
        write_video(video_path(folder, clip), draw_clip(clip))
    return len(clips)


def write_video(path: Path, frames: np.ndarray) -> None:
    """H.264 in mp4, whole or not at all. frames: uint8 [T, H, W, 3]."""
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(QUALITY), "preset": "veryfast"}
        stream.codec_context.thread_count = 1  # x264's bytes depend on the number of threads
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())

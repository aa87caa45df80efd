"""Writes the demo corpus: settings and a folder in; videos, sentences without a video and the clips out.

Keeps existing files: a rerun writes only the missing videos. Writes no manifest."""

import shutil
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from slt_cache.children import ChildEnded, spread
from slt_cache.config.data import CorpusConfig
from slt_cache.corpora.avatar.draw import draw_clip
from slt_cache.corpora.avatar.grammar import data_files
from slt_cache.corpora.avatar.lexicon import data_sha256
from slt_cache.corpora.avatar.plan import AvatarPlan, PlannedClip, plan_avatar
from slt_cache.corpora.base import MONOLINGUAL_FILE, Clip
from slt_cache.corpora.media import ProgressCallback
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import remove_abandoned, replacing, write_json, write_text
from slt_cache.locks import exclusive
from slt_cache.reading import read_object

RENDERER_VERSION = 1
"""Version of pictures and sentences; increased whenever the same settings give different ones."""
FRAME_RATE = 25
"""Frames a second, as in PHOENIX14T."""
QUALITY = 20
"""x264's constant rate factor; smaller is better."""
SETTINGS_FILE = "corpus.json"
LOCK = "lock"


def write_avatar(
    corpus: CorpusConfig,
    folder: Path,
    progress: ProgressCallback | None = None,
    workers: int = 2,
    replace: bool = False,
) -> list[Clip]:
    """Draws the corpus into a folder, unless it already exists; returns the clips in manifest order.

    `progress` gets (finished videos, all videos). With fewer than two workers no other process is started. With
    `replace`, a demo corpus with other settings in the folder is deleted first. Raises InputError if the folder holds a
    corpus with other settings, or if another process draws into it."""
    plan = plan_avatar(corpus)
    if replace and is_of_other_settings(corpus, folder):
        with exclusive(folder / LOCK, str(folder)):
            _delete(folder)
    _require_same(folder, _settings(corpus))
    if not _is_whole(folder, plan):
        with exclusive(folder / LOCK, str(folder)):
            _draw(corpus, plan, folder, progress, workers)
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


def is_of_other_settings(corpus: CorpusConfig, folder: Path) -> bool:
    """Returns whether the folder holds a demo corpus with other settings."""
    path = folder / SETTINGS_FILE
    return path.is_file() and bool(_differing(read_object(path), _settings(corpus)))


def _differing(there: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    return [key for key in settings if there.get(key) != settings[key]]


def _delete(folder: Path) -> None:
    """Deletes the corpus, the settings last: after a kill the rest is still recognized as a demo corpus."""
    shutil.rmtree(folder / "videos", ignore_errors=True)
    (folder / MONOLINGUAL_FILE).unlink(missing_ok=True)
    (folder / SETTINGS_FILE).unlink(missing_ok=True)


def _require_same(folder: Path, settings: dict[str, Any]) -> None:
    """Raises InputError for a folder that holds a corpus with other settings, or other videos."""
    path = folder / SETTINGS_FILE
    if not path.exists():
        if (folder / "videos").is_dir() and any((folder / "videos").iterdir()):
            raise InputError(f"{folder}: holds videos but no {SETTINGS_FILE}. Choose another folder.")
        return
    there = read_object(path)
    differing = _differing(there, settings)
    if differing:
        listed = ", ".join(f"{key}: folder {there.get(key)}, run {settings[key]}" for key in differing)
        raise InputError(
            f"{folder}: holds a demo corpus with other settings ({listed}). Choose another folder, or delete this one."
        )


def _is_whole(folder: Path, plan: AvatarPlan) -> bool:
    """Returns whether there is nothing to write; the folder may be read-only then."""
    sentences = folder / MONOLINGUAL_FILE
    return (
        (folder / SETTINGS_FILE).is_file()
        and sentences.is_file()
        and sentences.read_bytes() == _monolingual(plan).encode()
        and not _missing(folder, plan)
    )


def _missing(folder: Path, plan: AvatarPlan) -> list[PlannedClip]:
    return [clip for clip in plan.clips if not video_path(folder, clip).is_file()]


def _monolingual(plan: AvatarPlan) -> str:
    return "\n".join(plan.monolingual) + "\n"


def _draw(
    corpus: CorpusConfig, plan: AvatarPlan, folder: Path, progress: ProgressCallback | None, workers: int
) -> None:
    """Writes the missing files."""
    settings = _settings(corpus)
    _require_same(folder, settings)  # once more: another process had the lock until now
    write_json(folder / SETTINGS_FILE, settings)
    write_text(folder / MONOLINGUAL_FILE, _monolingual(plan))
    (folder / "videos").mkdir(exist_ok=True)
    remove_abandoned(folder / "videos")
    missing = _missing(folder, plan)
    done = len(plan.clips) - len(missing)
    with closing(_write_videos(missing, folder, workers)) as drawn:  # ends its processes at once
        for _ in drawn:
            done += 1
            if progress is not None:
                progress(done, len(plan.clips))


def _settings(corpus: CorpusConfig) -> dict[str, Any]:
    """Returns everything that decides the content of the files."""
    names = data_files(corpus.language, corpus.difficulty)
    return {
        "renderer": RENDERER_VERSION,
        "clips": corpus.clips,
        "language": corpus.language,
        "difficulty": corpus.difficulty,
        "seed": corpus.seed,
        "lexicon_sha256": data_sha256(names),
    }


def _write_videos(clips: list[PlannedClip], folder: Path, workers: int) -> Generator[None, None, None]:
    """Writes the videos; yields after each."""
    write = partial(_write_clip, folder)
    if workers < 2 or len(clips) < 2:
        yield from map(write, clips)
        return
    try:
        yield from spread(write, clips, workers, "a process that draws clips")
    except ChildEnded as error:
        raise SltCacheError(f"{folder}: {error} The finished videos are kept; run the same command again.") from error


def _write_clip(folder: Path, clip: PlannedClip) -> None:
    write_video(video_path(folder, clip), draw_clip(clip))


def write_video(path: Path, frames: np.ndarray) -> None:
    """Writes H.264 in mp4, whole or not at all. frames: uint8 [T, H, W, 3]."""
    with replacing(path, sweep=False) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(QUALITY), "preset": "veryfast"}
        stream.codec_context.thread_count = 1  # x264's bytes depend on the number of threads
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())

"""PHOENIX14T (RWTH-PHOENIX-Weather 2014 T, Camgoz et al. 2018): the official csv files and folders of frames, or the
label files in circulation instead of the csv."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Corpus, CorpusScan, Problems, SplitSize, count_by_split
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.labels import find_labels, read_labels
from slt_cache.corpora.media import ProgressCallback, folder_names, frame_folders, no_progress
from slt_cache.corpora.official import (
    NO_ANNOTATION,
    NO_FOLDER,
    UNNAMED,
    MediaFile,
    Sentence,
    add_issue,
    compare_names,
    extremes,
    find,
    join,
    read_table,
    usable,
)
from slt_cache.errors import InputError
from slt_cache.progress import progress_bar

COLUMNS = ("name", "speaker", "translation")
"""Columns that are read; not `orth`, which is the gloss, nor `video`, whose `/1/*.png` is not the place of the
frames."""


def read_phoenix14t(root: Path, progress: ProgressCallback = no_progress) -> CorpusScan:
    """Reads the clips of the three splits. Raises InputError if no annotation is found or if a file is broken."""
    problems: Problems = {}
    sources: list[Path] = []
    sentences: list[Sentence] = []
    for split in SPLITS:
        found, files = _annotation(root, split, problems)
        sentences += found
        sources += files
    if not sources:
        raise InputError(
            f"{root}: neither annotations/manual/PHOENIX-2014-T.train.corpus.csv nor labels.train (or those of dev and "
            "test), here or up to two folders deeper. Name the folder PHOENIX-2014-T with --root."
        )
    kept = usable(sentences, problems)
    media, folders = _media(root, kept, {sentence.id for sentence in sentences}, problems, progress)
    frames_folder = root / "features" / "fullFrame-210x260px"
    clips = join(kept, media, lambda sentence: frames_folder / sentence.split / sentence.id, problems)
    lengths = {clip.id: frames for clip in clips if (frames := _frames(clip.id, media)) is not None}
    of_videos = {medium.path: medium for medium in media.values()}
    return CorpusScan(
        clips,
        count_by_split(sentences),
        problems,
        {"annotation": [str(path) for path in sources], "frames": folders, **extremes(lengths, "frames")},
        sources,
        media=of_videos,
    )


def _frames(clip_id: str, media: dict[str, MediaFile]) -> int | None:
    return media[clip_id].frames if clip_id in media else None


def _annotation(root: Path, split: str, problems: Problems) -> tuple[list[Sentence], list[Path]]:
    """Reads the csv, with lengths from the label file if both exist; if the label file is alone, everything from
    there."""
    name = f"PHOENIX-2014-T.{split}.corpus.csv"
    csv = find(root, (f"annotations/manual/{name}", f"annotations/{name}", f"manual/{name}", name), problems)
    labels = find_labels(root, split, problems, alone=csv is None)
    of_labels = read_labels(labels, split, problems) if labels is not None else []
    if csv is None:
        if labels is None:
            add_issue(problems, NO_ANNOTATION, f"{split}: {name} or labels.{split}")
        return of_labels, [] if labels is None else [labels]
    of_csv = [
        Sentence(nfc(clip_id), split, text, signer, place=f"{csv.name} line {number}")
        for number, (clip_id, signer, text) in read_table(csv, "|", COLUMNS, problems)
    ]
    if labels is None:
        return of_csv, [csv]
    names = [sentence.id for sentence in of_csv]
    compare_names(names, csv.name, (sentence.id for sentence in of_labels), labels.name, problems)
    lengths = {sentence.id: sentence.length for sentence in of_labels}
    return [replace(sentence, length=lengths.get(sentence.id)) for sentence in of_csv], [csv, labels]


def _media(
    root: Path, sentences: list[Sentence], named: set[str], problems: Problems, progress: ProgressCallback
) -> tuple[dict[str, MediaFile], dict[str, str]]:
    """Returns folders of frames by clip, and the folder of each split. `named` includes sentences that are not kept."""
    media: dict[str, MediaFile] = {}
    folders: dict[str, str] = {}
    for split in SPLITS:
        sizes = ("fullFrame-210x260px", "fullFrame-*")
        places = [f"{parent}{size}/{split}" for parent in ("features/", "") for size in sizes]
        folder = find(root, places, problems, folder=True)
        if folder is None and (root / split).is_dir():
            folder = root / split
        if folder is None:
            add_issue(problems, NO_FOLDER, f"{split}: {places[0]}")
            continue
        folders[split] = str(folder)
        names = [sentence.id for sentence in sentences if sentence.split == split]
        media |= frame_folders(folder, names, problems, progress)
        add_issue(problems, UNNAMED, (f"{split}/{name}" for name in folder_names(folder) if name not in named))
    return media, folders


class Phoenix14T(Corpus):
    """PHOENIX14T; sizes as Camgoz et al. 2018 publish them."""

    config = "phoenix14t"
    root_holds = "PHOENIX14T"
    preset = "phoenix14t"
    frame_rate = 25
    published: ClassVar = {
        "train": SplitSize(7_096, frames=827_354),
        "dev": SplitSize(519, frames=55_775),
        "test": SplitSize(642, frames=64_627),
    }

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        with progress_bar("checking videos") as progress:
            return read_phoenix14t(folder, progress)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "de_DE"


CORPUS: Corpus = Phoenix14T()

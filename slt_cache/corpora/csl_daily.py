"""CSL-Daily (Zhou et al. 2021): csl2020ct_v2.pkl (or video_map.txt) with split_1.txt, or the label files in
circulation; folders of frames or cropped videos. A sentence is its characters without whitespace."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Corpus, CorpusScan, Problems, SplitSize, count_by_split
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.labels import find_labels, read_labels
from slt_cache.corpora.lengths import measure
from slt_cache.corpora.media import ProgressCallback, folder_names, frame_folders, no_progress, video_files
from slt_cache.corpora.official import (
    NO_ANNOTATION,
    NO_FOLDER,
    UNNAMED,
    UNREADABLE_ROW,
    MediaFile,
    Sentence,
    add_issue,
    compare_names,
    extremes,
    find,
    join,
    read_table,
    sentences_of,
    usable,
)
from slt_cache.corpora.pickles import load_plain
from slt_cache.errors import InputError
from slt_cache.progress import progress_bar

PICKLE, MAP, SPLIT_FILE = "csl2020ct_v2.pkl", "video_map.txt", "split_1.txt"
MAP_COLUMNS = ("name", "length", "char")
"""Columns that are read; gloss, word and postag are not."""
FRAME_FOLDERS = (
    "sentence/frames_512x512",
    "frames_512x512",
    "sentence_frames-512x512",
    "sentence/sentence_frames-512x512",
)
VIDEO_FOLDERS = ("sentence-crop", "sentence/sentence-crop")
NO_SPLIT = ""


def read_csl_daily(root: Path, progress: ProgressCallback = no_progress) -> CorpusScan:
    """Reads the clips of the three splits. Raises InputError if no annotation is found or if a file is broken."""
    problems: Problems = {}
    sentences, split_of, sources = _annotation(root, problems)
    kept = usable((sentence for sentence in sentences if sentence.split != NO_SPLIT), problems)
    media, folder = _media(root, kept, problems, progress)
    if folder is not None:
        named = {sentence.id for sentence in sentences} | split_of.keys()
        on_disk = {*folder_names(folder), *video_files(folder)}
        add_issue(problems, UNNAMED, sorted(on_disk - named))
    clips = join(kept, media, lambda sentence: (folder or root / FRAME_FOLDERS[0]) / sentence.id, problems)
    lengths = {clip.id: frames for clip in clips if clip.id in media and (frames := media[clip.id].frames) is not None}
    found = {"annotation": [str(path) for path in sources], "videos": None if folder is None else str(folder)}
    of_split = {split: list(split_of.values()).count(split) for split in SPLITS}
    named_rows = of_split if split_of else count_by_split(sentences)
    of_videos = {medium.path: medium for medium in media.values()}
    return CorpusScan(clips, named_rows, problems, {**found, **extremes(lengths, "frames")}, sources, media=of_videos)


def _annotation(root: Path, problems: Problems) -> tuple[list[Sentence], dict[str, str], list[Path]]:
    """Returns all annotated sentences, including those without a split; the split of each name; the files."""
    splits = find(root, (f"sentence_label/{SPLIT_FILE}", SPLIT_FILE), problems)
    split_of = {} if splits is None else _split_of(splits, problems)
    for name, read in ((PICKLE, _read_pickle), (MAP, _read_map)):
        path = find(root, (f"sentence_label/{name}", name), problems)
        if path is None:
            continue
        if splits is None:
            raise InputError(
                f"{path}: does not assign clips to train, dev and test. Put {SPLIT_FILE} of the release next to it."
            )
        sentences = read(path, problems)
        compare_names(split_of, splits.name, (sentence.id for sentence in sentences), path.name, problems)
        with_split = [replace(sentence, split=split_of.get(sentence.id, NO_SPLIT)) for sentence in sentences]
        return with_split, split_of, [path, splits]
    return _of_labels(root, splits, split_of, problems)


def _of_labels(
    root: Path, splits: Path | None, split_of: dict[str, str], problems: Problems
) -> tuple[list[Sentence], dict[str, str], list[Path]]:
    sentences: list[Sentence] = []
    sources: list[Path] = []
    for split in SPLITS:
        path = find_labels(root, split, problems, alone=True)
        if path is None:
            add_issue(problems, NO_ANNOTATION, f"{split}: {PICKLE} or labels.{split}")
            continue
        found = read_labels(path, split, problems)
        if splits is not None:
            of_split = (name for name, its in split_of.items() if its == split)
            compare_names(of_split, f"{splits.name} ({split})", (one.id for one in found), path.name, problems)
        sentences += found
        sources.append(path)
    if not sources:
        raise InputError(
            f"{root}: neither sentence_label/{PICKLE} nor {MAP} nor labels.train (or those of dev and test), here or "
            "up to two folders deeper. Name the folder of CSL-Daily with --root."
        )
    return sentences, {}, sources if splits is None else [*sources, splits]


def _split_of(path: Path, problems: Problems) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for number, (name, split) in read_table(path, "|", ("name", "split"), problems):
        if split not in SPLITS:
            wrong = f"{path.name} line {number}: split {split[:40]!r} is not one of {SPLITS}"
            add_issue(problems, UNREADABLE_ROW, wrong)
        elif (first := split_of.setdefault(nfc(name), split)) != split:
            add_issue(problems, "in two splits (the first is taken)", f"{name}: {first}, and {split}")
    return split_of


def _read_map(path: Path, problems: Problems) -> list[Sentence]:
    return [
        Sentence(
            nfc(name),
            NO_SPLIT,
            char.replace(" ", ""),
            length=int(length) if length.isascii() and length.isdecimal() and len(length) < 10 else None,
            place=f"{path.name} line {number}",
        )
        for number, (name, length, char) in read_table(path, "|", MAP_COLUMNS, problems)
    ]


def _read_pickle(path: Path, problems: Problems) -> list[Sentence]:
    content = load_plain(path)
    info = content.get("info") if isinstance(content, dict) else None
    if not isinstance(info, list):
        raise InputError(f"{path}: holds no list 'info'. Is this the official {PICKLE}? Get it again.")
    return sentences_of(info, path, _sentence, "no name and label_char", problems)


def _sentence(item: Any, place: str) -> Sentence | None:
    if not isinstance(item, dict):
        return None
    name, characters, length, signer = (item.get(key) for key in ("name", "label_char", "length", "signer"))
    if not isinstance(name, str) or not isinstance(characters, list):
        return None
    if not all(isinstance(character, str) for character in characters):
        return None
    return Sentence(
        nfc(name),
        NO_SPLIT,
        "".join(characters),
        str(signer) if type(signer) in (int, str) else "",
        length if type(length) is int else None,
        place,
    )


def _media(
    root: Path, sentences: list[Sentence], problems: Problems, progress: ProgressCallback
) -> tuple[dict[str, MediaFile], Path | None]:
    """Returns frames or cropped video of each clip, and their folder; frames if both exist."""
    names = [sentence.id for sentence in sentences]
    folder = find(root, FRAME_FOLDERS, problems, folder=True)
    if folder is not None:
        return frame_folders(folder, names, problems, progress), folder
    folder = find(root, VIDEO_FOLDERS, problems, folder=True)
    if folder is None:
        add_issue(problems, NO_FOLDER, f"{FRAME_FOLDERS[0]}, {FRAME_FOLDERS[2]} or {VIDEO_FOLDERS[0]}")
        return {}, None
    files = video_files(folder)
    wanted = [files[name] for name in names if name in files]
    return {nfc(path.stem): medium for path, medium in measure(wanted, problems, progress).items()}, folder


class CslDaily(Corpus):
    """CSL-Daily. Rows are as Zhou et al. 2021 publish them; frames are estimated from its hours at 30 frames a
    second."""

    config = "csl_daily"
    root_holds = "CSL-Daily"
    preset = "csl-daily"
    frame_rate = 30
    published: ClassVar = {
        "train": SplitSize(18_401, frames=2_227_000),
        "dev": SplitSize(1_077, frames=133_900),
        "test": SplitSize(1_176, frames=152_300),
    }

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        with progress_bar("checking videos") as progress:
            return read_csl_daily(folder, progress)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "zh_CN"


CORPUS: Corpus = CslDaily()

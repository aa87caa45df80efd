"""The sentences of clips whose features carry none: labels in any form that is in circulation, in; split -> id ->
sentence, out.

Forms: a tab-separated table with id, split and text (a manifest of this project is one); `how2sign_realigned_SPLIT.csv`
of How2Sign; `SPLIT_info_ml.npy` or `SPLIT_info.npy` of SpaMo; and `labels.SPLIT`, a gzipped pickle of GFSLT, Uni-Sign
and others. Nothing is unpickled by Python."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slt_cache.cache_tools.layouts.base import Texts, named, own_id, own_text
from slt_cache.cache_tools.layouts.pickled_arrays import load_arrays
from slt_cache.corpora.base import Problems, own_name
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.how2sign import read_how2sign_rows
from slt_cache.corpora.official import without_breaks
from slt_cache.corpora.own_table import read_rows, remarks, values_by_column
from slt_cache.errors import InputError
from slt_cache.features.layout import canonical
from slt_cache.progress import log

COLUMNS = ("id", "split", "text")
INFO = re.compile(r"(?P<split>[A-Za-z]+)_info(_ml)?\.npy")
PACKED = re.compile(r"(\.(gz|pkl|pickle))+$")
HOW2SIGN = re.compile(r"how2sign(_realigned)?_(?P<split>[A-Za-z]+)\.csv")
NAMES = ("fileid", "name", "id", "vid", "video_id")
"""Keys of a clip's id in labels, in order of preference; else it is the key of the whole item."""


def find_labels(folder: Path, labels: Path | None) -> tuple[Texts, tuple[Path, ...]]:
    """Returns the sentences and the files that they come from: `labels`, or else those in the folder. Raises InputError
    if there are none, or if one cannot be read."""
    if labels is not None and not labels.exists():
        raise InputError(f"--labels {labels}: there is no such file or folder.")
    given = labels or folder
    files = [given] if given.is_file() else label_files(given)
    if not files:
        raise InputError(
            f"{given}: no sentences for these features. Name a table with the columns {', '.join(COLUMNS)}, such as a "
            "manifest.tsv, or the label files: --labels FILE"
        )
    texts: dict[str, dict[str, str]] = {}
    for file in files:
        for split, clip_id, text in _read(file):
            clips = texts.setdefault(split, {})
            clip_id = own_id(clip_id, split)
            if clips.setdefault(clip_id, text) != text:
                raise InputError(f"{file}: clip {clip_id!r} of {split} has two different sentences. Keep one of them.")
    return {split: texts[split] for split in sorted(texts, key=canonical)}, tuple(files)


def label_files(folder: Path) -> list[Path]:
    """Returns the label files at most two folders down: of the first form that is there, so that a form that was
    converted to another is not read twice."""
    for pattern, is_one in (
        ("*.tsv", lambda path: not path.name.endswith(".failed.tsv")),
        ("*_info_ml.npy", _is_info),
        ("*_info.npy", _is_info),
        ("labels.*", is_pickled),
        ("*.*", is_pickled),
        ("*.csv", lambda path: HOW2SIGN.fullmatch(path.name) is not None),
    ):
        for base in ("", "*/", "*/*/"):
            found = [path for path in sorted(folder.glob(base + pattern)) if path.is_file() and is_one(path)]
            if found:
                return found
    return []


def _is_info(path: Path) -> bool:
    found = INFO.fullmatch(path.name)
    return found is not None and own_name(found["split"]) is not None


def is_pickled(path: Path) -> bool:
    """Returns whether a file is named like a pickle of a split, as `labels.train` and `train.pkl` are."""
    return pickled_name(path) is not None


def pickled_name(path: Path) -> tuple[str, str] | None:
    """Returns what stands before the split in the name of such a file, and the split; None for another file."""
    plain = PACKED.sub("", path.name)
    name, _, word = plain.rpartition(".")
    split = own_name(word)
    return None if split is None or (not name and plain == path.name) else (name, split)


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields split, id and sentence."""
    for pattern, read in ((INFO, _pickled), (HOW2SIGN, _how2sign)):
        found = pattern.fullmatch(path.name)
        if found is not None and (split := own_name(found["split"])) is not None:
            return read(path, split)
    pickled = pickled_name(path)
    return _table(path) if pickled is None else _pickled(path, pickled[1])


def _table(path: Path) -> Iterator[tuple[str, str, str]]:
    table = read_rows(path, COLUMNS, COLUMNS)
    for line in remarks(table):
        log(f"{path}: {line}")
    (_, header), *lines = table.numbered
    for number, values in lines:
        if "".join(values).strip():
            try:
                row = values_by_column(header, [without_breaks(value) for value in values])
            except ValueError as error:
                raise InputError(f"{path}: line {number}: {error}. Correct the table.") from error
            yield row["split"], row["id"], row["text"]


def _how2sign(path: Path, split: str) -> Iterator[tuple[str, str, str]]:
    problems: Problems = {}
    for row in read_how2sign_rows(path, split, problems):
        yield split, row.sentence.id, own_text(row.sentence.text, row.sentence.place)
    for kind, entries in problems.items():
        log(f"{path}: {kind}: {named(entries)}")


def _pickled(path: Path, split: str) -> Iterator[tuple[str, str, str]]:
    content = load_arrays(path)
    items = (
        list(content.items()) if isinstance(content, dict) else list(enumerate(content)) if _is_list(content) else []
    )
    clips = [(key, item) for key, item in items if isinstance(item, dict)]
    if not clips:
        raise InputError(f"{path}: a {type(content).__name__}, but labels are a dict or a list of clips. Name others.")
    for key, item in clips:
        clip_id = next((item[name] for name in NAMES if isinstance(item.get(name), str)), key)
        if not isinstance(clip_id, str) or not clip_id.strip():
            raise InputError(f"{path}: item {str(key)[:80]!r} has no name. Correct the labels.")
        yield split, nfc(clip_id), own_text(item.get("text"), f"{path}: clip {clip_id!r}")


def _is_list(content: Any) -> bool:
    return isinstance(content, list | tuple)

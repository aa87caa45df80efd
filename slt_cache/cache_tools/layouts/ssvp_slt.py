"""ssvp_slt: `features/EPOCH/PREFIX/ID.pt`, [N, C], where PREFIX is the first five characters of the id, and
`manifests/SPLIT_features.tsv` without header: file name, length, sentence. The epoch is the stream; 0 unless named."""

import re
from collections.abc import Sequence
from pathlib import Path

from slt_cache.cache_tools.arrays import write_features
from slt_cache.cache_tools.layouts.base import Asked, Clips, Listings, each_clip, file_name, report_extra
from slt_cache.cache_tools.layouts.labels import COLUMNS, find_labels
from slt_cache.cache_tools.table import ListedView
from slt_cache.corpora.base import own_name
from slt_cache.corpora.characters import existing
from slt_cache.corpora.official import read_lines
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache

MANIFEST = re.compile(r"(?P<split>[A-Za-z]+)(_features)?\.tsv")
PREFIX = 5
"""Characters of the id that name the folder."""
EPOCH = "0"


class SsvpSlt:
    names_streams = False

    def recognizes(self, folder: Path) -> bool:
        return any(path.name.isdecimal() for path in folder.glob("features/*/"))

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        epochs = sorted(path.name for path in folder.glob("features/*/") if path.is_dir())
        epoch = asked.stream or EPOCH
        if epoch not in epochs:
            shown = ", ".join(epochs) or "none"
            raise InputError(
                f"{folder / 'features'}: no epoch {epoch!r}; there are {shown}. Name one of them: --stream"
            )
        features, clips = folder / "features" / epoch, Clips(folder)
        rows, sources = _rows(folder, asked.labels)
        for split, clip_id, text in rows:
            clips.add(split, clip_id, text, ListedView(_path(features, clip_id), 0, 0.0))
        listing = clips.listing(*sources)
        used = {view.file for of_split in listing.splits.values() for clip in of_split for view in clip.views}
        extra = [path for path in sorted(features.rglob("*.pt")) if path not in used]
        report_extra(folder, extra, "the manifest names no such clip")
        return {asked.stream or "": listing}

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        (out / "manifests").mkdir()
        lines: dict[str, list[str]] = {cache.split: [] for cache in caches}
        for split, clip_id, text, features in each_clip(caches):
            path = _path(out / "features" / EPOCH, file_name(clip_id))
            if path.exists():
                raise InputError(
                    f"clip {clip_id!r} is in two splits, which this layout cannot hold. Export one: --split"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_features(path, features)
            lines[split].append(f"{clip_id}.mp4\t{len(features)}\t{text}\n")
        for split, rows in lines.items():
            name = "val" if split == "dev" else split
            (out / "manifests" / f"{name}_features.tsv").write_text("".join(rows), encoding="utf-8", newline="\n")


def _path(features: Path, clip_id: str) -> Path:
    return existing(features / clip_id[:PREFIX].rstrip("/") / f"{clip_id}.pt")


def _rows(folder: Path, labels: Path | None) -> tuple[list[tuple[str, str, str]], tuple[Path, ...]]:
    """Returns split, id and sentence of each clip, and the files that name them."""
    tables = [path for path in [*folder.glob("manifests/*.tsv"), *folder.glob("*.tsv")] if _split(path)]
    manifests = sorted(path for path in tables if not set(COLUMNS) <= set("".join(read_lines(path)[:1]).split("\t")))
    if labels is not None or not manifests:
        texts, sources = find_labels(folder, labels)
        return [(split, *clip) for split, clips in texts.items() for clip in clips.items()], sources
    rows: list[tuple[str, str, str]] = []
    for path in manifests:
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            values = line.split("\t")
            if len(values) != 3:
                raise InputError(
                    f"{path}: line {number}: {len(values)} columns instead of name, length and sentence. Correct the "
                    "table, or name another: --labels FILE"
                )
            rows.append((_split(path) or "", _without_suffix(values[0]), values[2]))
    if not rows:
        raise InputError(f"{manifests[0]}: no clips. Write a line for each: name, length and sentence.")
    return rows, tuple(manifests)


def _without_suffix(name: str) -> str:
    return re.sub(r"\.(mp4|mkv|webm|mov|avi|pt)$", "", name.strip(), flags=re.IGNORECASE)


def _split(path: Path) -> str | None:
    found = MANIFEST.fullmatch(path.name)
    return None if found is None else own_name(found["split"])


LAYOUT = SsvpSlt()

"""A feature cache out into one file a clip, for tools that read no HDF5; `import_cache` is the way back.

The folder holds SPLIT/ID.npy (or .pt), features.tsv, one line a file, and spec.json: what made the features, and what
the cache says of each split, so that the way back is exact."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.cache_tools.arrays import FORMATS, stem_of, write_features
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import FACTS, SOURCE, Failure, SplitMetadata
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import replacing
from slt_cache.progress import log, progress_counter
from slt_cache.reading import read_json

TABLE = "features.tsv"
COLUMNS = ("id", "split", "view", "file", "num_frames", "fps", "text", SOURCE)
SPEC_FILE = "spec.json"
EXPORT_FORMAT = "slt-cache export"
"""Says in spec.json that the folder is ours."""


@dataclass(frozen=True)
class Exported:
    """One split in files of its own."""

    split: str
    clips: int
    files: int
    """As many as clips, or one for each view."""


@dataclass(frozen=True)
class ExportedSplit:
    """What spec.json says of a split beside the spec."""

    metadata: SplitMetadata
    missing: tuple[Failure, ...]
    lines_sha256: str
    """Over the split's lines of features.tsv; where they have changed, the facts hold no longer."""


def lines_sha256(split: str, clips: Iterable[tuple[str, str]]) -> str:
    """Over id, split and text of each clip, tab-separated, a line each, in order: what stands for the manifest of
    imported features."""
    digest = hashlib.sha256()
    for clip_id, text in clips:
        digest.update(f"{clip_id}\t{split}\t{text}\n".encode())
    return digest.hexdigest()


def export_cache(
    cache: Path, out: Path, file_format: str, split: str | None = None, all_views: bool = False
) -> list[Exported]:
    """Writes the folder `out`, whole or not at all; replaces one that an export made. Of several views it holds view 0
    alone, and spec.json says so, unless `all_views`.

    Raises InputError where there is no such cache or split, where `out` holds anything else, and where the columns of
    a table cannot hold an id or a sentence."""
    if file_format not in FORMATS:
        raise InputError(f"--format {file_format}: no such format. Use {' or '.join(FORMATS)}.")
    caches = [FeatureCache(cache, split)] if split is not None else list(open_splits(cache).values())
    for held in caches:
        different = held.spec.differences(caches[0].spec)
        if different:
            raise InputError(f"{cache}: its splits hold different features. Export one of them: --split {held.split}")
        _require_writable(held)
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve would follow a link and replace what it points to
    _require_ours(out)
    with replacing(out) as temporary:
        temporary.mkdir()
        lines = ["\t".join(COLUMNS)]
        done = [_export(held, temporary, file_format, held.views if all_views else 1, lines) for held in caches]
        (temporary / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        text = json.dumps(_said(caches, all_views), ensure_ascii=False, indent=2)
        (temporary / SPEC_FILE).write_text(text + "\n", encoding="utf-8", newline="\n")
    for held in caches:
        if not held.complete:
            log(f"{cache}: {len(held.missing)} clips of {held.split} are missing, and so they are in {out}.")
    return done


def _require_writable(held: FeatureCache) -> None:
    for clip_id, text in zip(held.ids, held.texts, strict=True):
        if any(character in value for value in (clip_id, text) for character in "\t\n\r"):
            raise InputError(
                f"{held.path}: clip {clip_id!r} of {held.split} has a tab or a line break in its id or sentence, which "
                f"{TABLE} cannot hold. Read this cache with h5py instead."
            )


def _require_ours(out: Path) -> None:
    """Only what an export made is replaced."""
    if out.is_dir():
        if Path.cwd().is_relative_to(out.resolve()):
            raise InputError(f"{out}: the working directory cannot be replaced. Name a folder in it.")
        said = read_export(out)
        names = {path.name for path in out.iterdir()}
        if names and (said is None or not names <= {SPEC_FILE, TABLE, *said}):
            raise InputError(f"{out}: the folder holds other files. Name a new folder, or empty it.")
    elif out.exists():
        raise InputError(f"{out}: a file, not a folder. Name a new folder.")


def _export(held: FeatureCache, folder: Path, file_format: str, views: int, lines: list[str]) -> Exported:
    """Writes the files of a split and adds its lines."""
    (folder / held.split).mkdir()
    num_frames, fps = (held.column(name).tolist() for name in ("num_frames", "fps"))
    with progress_counter(f"exporting {held.split}", len(held), 0) as show:
        for index, (clip_id, text) in enumerate(zip(held.ids, held.texts, strict=True)):
            for view in range(views):
                row = index * held.views + view
                file = f"{held.split}/{stem_of(clip_id, view)}.{file_format}"
                write_features(folder / file, held.row(row))
                known = (num_frames[row], repr(fps[row]), text, held.row_sources[row])
                row_values = (clip_id, held.split, view, file, *known)
                lines.append("\t".join(map(str, row_values)))
            show(index + 1)
    return Exported(held.split, len(held), len(held) * views)


def _said(caches: Sequence[FeatureCache], all_views: bool) -> dict[str, Any]:
    """spec.json"""
    spec = caches[0].spec if caches else None
    if spec is not None and not all_views:
        spec = replace(spec, views=1, view_seed=None, augmentation=None)
    return {
        "format": EXPORT_FORMAT,
        "version": 1,
        "spec": spec and asdict(spec),
        "splits": {
            held.split: {
                **{name: held.attributes[name] for name in FACTS},
                "missing": [asdict(failure) for failure in held.missing],
                "lines_sha256": lines_sha256(held.split, zip(held.ids, held.texts, strict=True)),
            }
            for held in caches
        },
    }


def read_export(folder: Path) -> dict[str, ExportedSplit] | None:
    """What spec.json says of each split; None where the folder is not one that an export made. Raises InputError where
    it is one, but its spec.json is broken."""
    path = folder / SPEC_FILE
    if not path.is_file():
        return None
    said = read_json(path)
    if not isinstance(said, dict) or said.get("format") != EXPORT_FORMAT:
        return None
    try:
        return dict(_splits(said))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not what {command('cache export')} writes ({error}). "
            "Export again, or delete it and name --source."
        ) from error


def _splits(said: dict[str, Any]) -> Iterator[tuple[str, ExportedSplit]]:
    if said["version"] != 1:
        raise ValueError(f"version {said['version']}")
    for split, known in said["splits"].items():
        spec = FeatureSpec.from_json(json.dumps(said["spec"]))
        metadata = SplitMetadata(split=split, spec=spec, **{name: str(known[name]) for name in FACTS})
        missing = tuple(Failure(str(one["clip_id"]), str(one["reason"])) for one in known["missing"])
        yield split, ExportedSplit(metadata, missing, str(known["lines_sha256"]))

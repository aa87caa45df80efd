"""Exports a feature cache to one file per clip, for tools that do not read HDF5; `import_features` is the way back.

The folder holds SPLIT/ID.npy (or .pt), features.tsv with one line per file, and spec.json with the spec and the
metadata of each split, so that the way back is exact."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slt_cache.advice import command
from slt_cache.cache_tools.arrays import FORMATS, write_features
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.clip_names import stem_of
from slt_cache.features.layout import FACTS, ORIGIN, SOURCE, Failure, SplitMetadata
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import replacing
from slt_cache.progress import log, progress_counter
from slt_cache.reading import read_json

if TYPE_CHECKING:
    from slt_cache.cache_tools.layouts.base import Layout

TABLE = "features.tsv"
COLUMNS = ("id", "split", "view", "file", "num_frames", "fps", "text", SOURCE)
SPEC_FILE = "spec.json"
EXPORT_FORMAT = "slt-cache export"
"""Mark of an exported folder in spec.json."""
STREAM = re.compile(r"[_.-]?\w[\w.-]*")


@dataclass(frozen=True)
class Exported:
    """One exported split."""

    split: str
    clips: int
    files: int
    """Number of files: one per clip, or one per view."""


@dataclass(frozen=True)
class ExportedSplit:
    """Entry of a split in spec.json."""

    metadata: SplitMetadata
    missing: tuple[Failure, ...]
    lines_sha256: str
    """Hash of the split's lines in features.tsv; if they have changed, the metadata no longer apply."""


def lines_sha256(split: str, clips: Iterable[tuple[str, str]]) -> str:
    """Hashes id, split and text of each clip, tab-separated, one line each, in order. Imported features have this hash
    in place of a manifest's."""
    digest = hashlib.sha256()
    for clip_id, text in clips:
        digest.update(f"{clip_id}\t{split}\t{text}\n".encode())
    return digest.hexdigest()


def export_cache(
    cache: Path, out: Path, file_format: str, split: str | None = None, all_views: bool = False
) -> list[Exported]:
    """Writes the folder `out` atomically; an earlier export is replaced. Only view 0 is exported, as spec.json then
    says, unless `all_views`.

    Raises InputError if there is no such cache or split, if `out` holds anything else, and if an id or a sentence does
    not fit into a table."""
    if file_format not in FORMATS:
        raise InputError(f"--format {file_format}: no such format. Use {' or '.join(FORMATS)}.")
    caches = [FeatureCache(cache, split)] if split is not None else list(open_splits(cache).values())
    for features in caches:
        different = features.spec.differences(caches[0].spec)
        if different:
            raise InputError(f"{cache}: its splits have different specs. Export one of them: --split {features.split}")
        require_writable(features)
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve would follow a link and replace its target
    _require_ours(out)
    with replacing(out) as temporary:
        temporary.mkdir()
        held = ORIGIN if any(any(origin) for features in caches for origin in features.origins) else ()
        lines = ["\t".join((*COLUMNS, *held))]
        done = [
            _export(features, temporary, file_format, features.views if all_views else 1, lines) for features in caches
        ]
        (temporary / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        text = json.dumps(_spec_json(caches, all_views), ensure_ascii=False, indent=2)
        (temporary / SPEC_FILE).write_text(text + "\n", encoding="utf-8", newline="\n")
    _report_missing(caches, out)
    return done


def export_layout(
    cache: Path, out: Path, layout: "Layout", split: str | None = None, stream: str | None = None
) -> list[Exported]:
    """Writes view 0 of all clips into the new folder `out` as others keep features, atomically; files are named after
    `stream` if it is given. Raises InputError like `export_cache`, and if the layout cannot hold the clips."""
    if stream is not None and not layout.names_streams:
        raise InputError(
            f"--stream {stream}: this layout does not name files after it. Omit it, or choose another --layout."
        )
    if stream is not None and not STREAM.fullmatch(stream):
        raise InputError(f"--stream {stream}: cannot be part of a file name. Use letters, digits, _, - and '.'.")
    caches = [FeatureCache(cache, split)] if split is not None else list(open_splits(cache).values())
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve would follow a link and replace its target
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: already exists. Name a new folder, or empty it.")
    with replacing(out) as temporary:
        temporary.mkdir()
        layout.write(caches, temporary, stream)
    _report_missing(caches, out)
    return [Exported(features.split, len(features), len(features)) for features in caches]


def _report_missing(caches: Iterable[FeatureCache], out: Path) -> None:
    for features in caches:
        if not features.complete:
            missing = f"{len(features.missing)} clips of {features.split} are missing"
            log(f"{features.path}: {missing}, and from {out}, too.")


def require_writable(features: FeatureCache) -> None:
    for clip_id, text in zip(features.ids, features.texts, strict=True):
        if any(character in value for value in (clip_id, text) for character in "\t\n\r"):
            raise InputError(
                f"{features.path}: clip {clip_id!r} of {features.split} has a tab or a line break in its id or "
                f"sentence, which {TABLE} cannot hold. Read this cache with h5py instead."
            )


def _require_ours(out: Path) -> None:
    """Raises InputError unless `out` is new, empty or an earlier export."""
    if out.is_dir():
        if Path.cwd().is_relative_to(out.resolve()):
            raise InputError(f"{out}: the working directory cannot be replaced. Name a folder in it.")
        saved = read_export(out)
        names = {path.name for path in out.iterdir()}
        if names and (saved is None or not names <= {SPEC_FILE, TABLE, *saved}):
            raise InputError(f"{out}: the folder holds other files. Name a new folder, or empty it.")
    elif out.exists():
        raise InputError(f"{out}: a file, not a folder. Name a new folder.")


def _export(features: FeatureCache, folder: Path, file_format: str, views: int, lines: list[str]) -> Exported:
    """Writes the files of a split and appends its lines."""
    (folder / features.split).mkdir()
    num_frames, fps = (features.column(name).tolist() for name in ("num_frames", "fps"))
    with progress_counter(f"exporting {features.split}", len(features), 0) as show:
        for index, (clip_id, text) in enumerate(zip(features.ids, features.texts, strict=True)):
            for view in range(views):
                row = index * features.views + view
                file = f"{features.split}/{stem_of(clip_id, view)}.{file_format}"
                write_features(folder / file, features.row(row))
                metadata_of = (num_frames[row], repr(fps[row]), text, features.row_sources[row])
                origin = features.origins[index] if lines[0].count("\t") >= len(COLUMNS) else ()
                row_values = (clip_id, features.split, view, file, *metadata_of, *origin)
                lines.append("\t".join(map(str, row_values)))
            show(index + 1)
    return Exported(features.split, len(features), len(features) * views)


def _spec_json(caches: Sequence[FeatureCache], all_views: bool) -> dict[str, Any]:
    """Returns the content of spec.json."""
    spec = caches[0].spec if caches else None
    if spec is not None and not all_views:
        spec = replace(spec, views=1, view_seed=None, augmentation=None)
    return {
        "format": EXPORT_FORMAT,
        "version": 1,
        "spec": spec and asdict(spec),
        "splits": {
            features.split: {
                **{name: features.attributes[name] for name in FACTS},
                "missing": [asdict(failure) for failure in features.missing],
                "lines_sha256": lines_sha256(features.split, zip(features.ids, features.texts, strict=True)),
            }
            for features in caches
        },
    }


def read_export(folder: Path) -> dict[str, ExportedSplit] | None:
    """Reads the entry of each split from spec.json; None if the folder is no export. Raises InputError if it is one,
    but its spec.json is broken."""
    path = folder / SPEC_FILE
    if not path.is_file():
        return None
    saved = read_json(path)
    if not isinstance(saved, dict) or saved.get("format") != EXPORT_FORMAT:
        return None
    try:
        return dict(_splits(saved))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not what {command('cache export')} writes ({error}). Export again, or delete it and set --source."
        ) from error


def _splits(saved: dict[str, Any]) -> Iterator[tuple[str, ExportedSplit]]:
    if saved["version"] != 1:
        raise ValueError(f"version {saved['version']}")
    for split, metadata_of in saved["splits"].items():
        spec = FeatureSpec.from_json(json.dumps(saved["spec"]))
        metadata = SplitMetadata(split=split, spec=spec, **{name: str(metadata_of[name]) for name in FACTS})
        missing = tuple(Failure(str(one["clip_id"]), str(one["reason"])) for one in metadata_of["missing"])
        yield split, ExportedSplit(metadata, missing, str(metadata_of["lines_sha256"]))

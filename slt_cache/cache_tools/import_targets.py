"""Where features that were made elsewhere go: the cache of each stream, and the spec, from the first of their files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slt_cache.advice import CACHE_FILE
from slt_cache.cache_tools.arrays import BadFile
from slt_cache.cache_tools.export import ExportedSplit
from slt_cache.cache_tools.layouts.files import SEPARATORS
from slt_cache.cache_tools.table import ListedClip
from slt_cache.errors import InputError
from slt_cache.features.cache import open_splits
from slt_cache.features.parts import parts_folder
from slt_cache.features.place import is_cache
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.progress import log

USUAL = Path(CACHE_FILE)
"""Cache to write if none is named."""
DTYPES = ("float16", "float32")
COMPARED = 8
"""Files whose shapes are compared at first."""


def paths_of_streams(folder: Path, out: Path, streams: Iterable[str], is_new: bool) -> dict[str, Path]:
    """Returns the cache of each stream: `out` for a single one, else its name and that of the stream. Raises InputError
    if two have the same, if one is another folder, and if one that must be new is finished."""
    names = {stream: re.sub(r"[^\w.-]+", "_", stream).strip(SEPARATORS) for stream in streams}
    several = len(names) > 1
    paths = {stream: out.parent / f"{out.stem}_{names[stream]}{out.suffix}" if several else out for stream in names}
    for path in (out, *paths.values()):
        if path.is_dir() and not is_cache(path):
            raise InputError(f"{path}: a folder, not a file. Name a file with --out, such as {path / USUAL}.")
    if len(set(paths.values())) < len(names):
        raise InputError(f"{folder}: streams {', '.join(names)} would have the same file. Import one by one: --stream")
    found = next((path for path in paths.values() if path.exists()), None)
    if is_new and found is not None and not any(parts_folder(path).exists() for path in paths.values()):
        raise InputError(
            f"{found}: already exists. To add splits to it, or to write elsewhere, name a file: --out FILE"
        )
    if several:
        shown = ", ".join(f"{stream} -> {path}" for stream, path in paths.items())
        log(f"{folder}: {len(paths)} streams: {shown}. To import only one: --stream={next(iter(paths))}")
    return paths


def spec_of(
    folder: Path,
    splits: Mapping[str, Sequence[ListedClip]],
    exported: Mapping[str, ExportedSplit],
    source: str | None,
    dtype: str | None,
    stream: str,
) -> FeatureSpec:
    """Returns the spec of the export; else a new one with C and the type of the first readable file."""
    clips = [clip for split in splits.values() for clip in split]
    views = len(clips[0].views)
    if exported:
        spec = next(iter(exported.values())).metadata.spec
        if dtype not in (None, spec.dtype) or views != spec.views:
            raise InputError(
                f"{folder}: exported as {spec.dtype} with {spec.views} views, but to be imported as "
                f"{dtype or spec.dtype} with {views}. Omit --dtype, or say what these features are now: --source"
            )
        return spec
    (_, channels), kind = _first_shape(folder, clips)
    dtype = dtype or (kind if kind in DTYPES else "float32")
    return FeatureSpec(
        encoder_sha256=None,
        level=IMPORTED,
        dim=channels,
        dtype=dtype,
        views=views,
        source=source or folder.resolve().name,
        stream=stream or None,
    )


def _first_shape(folder: Path, clips: Sequence[ListedClip]) -> tuple[tuple[int, int], str]:
    """Returns shape and type of the first readable file. Raises InputError if there is none, or if the first ones are
    all [C, N]: one C on their first axis, and several N on their second."""
    found: list[tuple[tuple[int, int], str]] = []
    reason = ""
    for clip in clips:
        view = clip.views[0]
        try:
            features = view.read(view.file)
        except BadFile as error:
            reason = reason or f"{view.file}: {error}"
            continue
        found.append(((features.shape[0], features.shape[1]), features.dtype.name))
        if len(found) == COMPARED:
            break
    if not found:
        raise InputError(f"{folder}: none of its {len(clips):,} clips can be read. The first: {reason}.")
    heights, widths = ({shape[axis] for shape, _ in found} for axis in (0, 1))
    if len(found) > 2 and len(heights) == 1 and len(widths) > 1:
        raise InputError(
            f"{folder}: its first {len(found)} files have {heights.pop()} rows and {min(widths)} to {max(widths)} "
            "columns: [C, N] instead of [N, C]. Transpose them: --transpose"
        )
    return found[0]


def require_fitting(out: Path, spec: FeatureSpec) -> None:
    """Raises InputError if `out` has another spec: the splits of a file are used together, so they share one."""
    if not out.exists():
        return
    for split, cache in open_splits(out).items():
        different = cache.spec.differences(spec, there="this folder")
        if different:
            raise InputError(
                f"{out} ({split}) holds other features ({'; '.join(different)}). Name a new file with --out."
            )

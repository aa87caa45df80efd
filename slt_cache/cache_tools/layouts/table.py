"""This project's own layout: a .tsv with id, split and text, and a .npy or .pt for each clip; `cache export` writes it
with a spec.json, so that the way back is exact."""

from collections.abc import Sequence
from pathlib import Path

from slt_cache.cache_tools.export import read_export
from slt_cache.cache_tools.layouts import h5, spamo, uni_sign
from slt_cache.cache_tools.layouts.base import Asked, Listing, Listings
from slt_cache.cache_tools.table import find_table, read_table
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.progress import log


class Table:
    names_streams = False

    def recognizes(self, folder: Path) -> bool:
        """Returns whether there is a .tsv that is not merely the labels for files of another layout."""
        if not any(folder.glob("*.tsv")):
            return False
        if not any(layout.LAYOUT.recognizes(folder) for layout in (h5, spamo, uni_sign)):
            return True
        try:
            splits = read_table(find_table(folder), read_export(folder) is not None, lambda line: None)
        except InputError:
            return False
        return any(view.file.is_file() for clips in splits.values() for clip in clips for view in clip.views)

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        if asked.labels is not None or asked.stream is not None:
            raise InputError(f"{folder}: its table names sentences and files. Omit --labels and --stream, or --layout.")
        table = find_table(folder)
        return {"": Listing(read_table(table, read_export(folder) is not None, log), (table,))}

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        raise InputError("--layout table: this is what an export without --layout writes. Omit --layout.")


LAYOUT = Table()

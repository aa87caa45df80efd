"""The layouts by name, in the order in which `auto` tries them. To add one, write its file (see `Layout` in base.py)
and add its line here.

| name | files | sentences |
|---|---|---|
| ssvp-slt | features/EPOCH/PREFIX/ID.pt | manifests/SPLIT_features.tsv |
| table | ID.npy or ID.pt | the folder's .tsv: id, split, text (what `cache export` writes) |
| spamo | SPLIT/ID_s2wrapping.npy, SPLIT/ID_overlap-8.npy | SPLIT_info_ml.npy |
| uni-sign | ID.pkl: keypoints, scores | labels.SPLIT, gzipped pickle |
| neccam | NAME.SPLIT, gzipped pickle of clips | the same |
| signthought | SPLIT/ANY.pt: name, signer, text, sign | the same |
| h5 (sltk, how2sign) | ID.h5, or files of many clips | a table or label files |
| npy | ID.npy or ID.pt | a table or label files |

Light, so that --help and shell completion know the names: the file of a layout is imported when it is needed."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from slt_cache.errors import InputError
from slt_cache.progress import log

if TYPE_CHECKING:
    from slt_cache.cache_tools.layouts.base import Asked, Layout

LAYOUTS = {
    "ssvp-slt": "features/EPOCH/PREFIX/ID.pt with manifests/SPLIT_features.tsv",
    "table": "a .tsv with id, split and text, and ID.npy or ID.pt",
    "spamo": "SPLIT/ID_s2wrapping.npy and SPLIT/ID_overlap-8.npy with SPLIT_info_ml.npy",
    "uni-sign": "ID.pkl with labels.SPLIT",
    "neccam": "NAME.SPLIT, gzipped lists of clips",
    "signthought": "SPLIT/ANY.pt with name, text and sign",
    "h5": "ID.h5, or .h5 files of many clips, with --labels; also called sltk or how2sign",
    "npy": "ID.npy or ID.pt with --labels",
}
"""Name -> files, for the help."""
ALIASES = {"sltk": "h5", "how2sign": "h5"}
"""Another name of a layout -> its name."""
NAMES = (*LAYOUTS, *ALIASES)
AUTO = "auto"
TABLE = "table"
"""Layout of exports without --layout."""


def layout_named(name: str) -> "Layout":
    """Returns the layout of this name. Raises InputError that lists all names."""
    plain = _plain(name)
    if plain not in LAYOUTS:
        raise InputError(f"--layout {name}: no such layout. Choose one of {AUTO}, {', '.join(NAMES)}.")
    layout: Layout = import_module(f"slt_cache.cache_tools.layouts.{plain.replace('-', '_')}").LAYOUT
    return layout


def chosen_layout(folder: Path, name: str, asked: "Asked") -> str:
    """Returns the name of the layout that was named, or the first one that the folder looks like, which is logged; with
    labels or a stream, it is no table. A folder that looks like none is read as a table, whose error says what is
    lacking."""
    if name != AUTO:
        layout_named(name)
        return _plain(name)
    no_table = asked.labels is not None or asked.stream is not None
    names = [one for one in LAYOUTS if one != TABLE or not no_table]
    found = next((one for one in names if layout_named(one).recognizes(folder)), TABLE)
    if found != TABLE:
        log(f"{folder}: read as layout {found}; name another one with --layout.")
    return found


def _plain(name: str) -> str:
    plain = name.lower().replace("_", "-")
    return ALIASES.get(plain, plain)

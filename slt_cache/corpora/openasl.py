"""OpenASL (Shi et al. 2022): openasl-v1.0.tsv with the full videos from YouTube, cut at its times, or with the clips
that its scripts cut and crop; or the label files in circulation instead of the table."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from slt_cache.config import CorpusConfig
from slt_cache.corpora.annotation_table import read_annotation, span
from slt_cache.corpora.base import Box, Corpus, CorpusScan, Problems, SplitSize, no_such_split, own_name
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut, scan_cuts
from slt_cache.corpora.labels import label_cuts
from slt_cache.corpora.official import NO_ANNOTATION, Sentence, add_issue, read_json
from slt_cache.corpora.search import files_below, first_named, videos_by_name
from slt_cache.errors import InputError

TABLES = ("openasl-v1.0.tsv", "openasl.tsv")
BOXES = ("bbox-v1.0.json", "bbox.json")
OUTSIDE = 2
"""Frames by which a box may reach over the edge; it is cut there."""
NO_BOX = "clip without a box (whole frames are read)"
COLUMNS = ("vid", "yid", "start", "end", "split", "raw-text|raw_text|text|sentence|translation|en")
"""Columns that are read; `gloss` and `tokenized-text` are not."""
COLONS = (":", "%", "-", "_", ".", "")
"""What stands for the colons of a clip's name in file names: its own scripts write `%`, and not all disks allow `:`."""


def read_openasl(root: Path, clips_from: str = "auto", boxes: bool = True) -> CorpusScan:
    """Reads the clips of the three splits; with `boxes`, those of full videos have the signer's box. Raises InputError
    if no annotation is found or if a file is broken."""
    problems: Problems = {}
    files = files_below(root, lambda name: name.lower() in (*TABLES, *BOXES))
    table = first_named(files, TABLES, problems)
    if table is None:
        cuts, sources = label_cuts(root, problems)
    else:
        cuts, sources = read_annotation(table, COLUMNS, _cut, problems), [table]
    if not sources:
        raise InputError(
            f"{root}: no {TABLES[0]} in this folder or below, and no labels.train (or of val and test). Name the "
            "folder of OpenASL."
        )
    if table is not None and boxes:
        cuts, sources = _with_boxes(cuts, first_named(files, BOXES, problems), sources, problems)
    return scan_cuts(cuts, videos_by_name(files, problems), problems, sources, root, clips_from)


def _with_boxes(
    cuts: list[Cut], path: Path | None, sources: list[Path], problems: Problems
) -> tuple[list[Cut], list[Path]]:
    """Returns the cuts with the signers' boxes, and the sources with the file of these."""
    if path is None:
        add_issue(problems, NO_ANNOTATION, f"{BOXES[0]}: whole frames are read")
        return cuts, sources
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no boxes by clip. Is this the official file? Get it again.")
    of_clip = {nfc(name): box for name, sides in found.items() if (box := _box(sides)) is not None}
    add_issue(problems, NO_BOX, (cut.sentence.id for cut in cuts if cut.sentence.id not in of_clip))
    return [replace(cut, box=of_clip.get(cut.sentence.id)) for cut in cuts], [*sources, path]


def _box(sides: Any) -> Box | None:
    """Returns a box within the frame; None if it is none."""
    if not isinstance(sides, list) or len(sides) != 4 or not all(type(side) in (int, float) for side in sides):
        return None
    if not all(-OUTSIDE < side < OUTSIDE for side in sides):
        return None
    left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in sides)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _cut(values: dict[str, str], place: str) -> Cut:
    split = own_name(values["split"])
    if split is None:
        raise ValueError(f"split {no_such_split(values['split'])}")
    start, end = span(values["start"], values["end"])
    clip = nfc(values["vid"])
    ready = tuple(dict.fromkeys(clip.replace(":", sign) for sign in COLONS))
    return Cut(Sentence(clip, split, values["raw-text"], place=place), start, end, nfc(values["yid"]), ready=ready)


class OpenASL(Corpus):
    """OpenASL. Rows are as Shi et al. 2022 publish them; many of the videos are no longer public. Frames are estimated
    from its 288 hours at 30 frames a second."""

    config = "openasl"
    root_holds = "OpenASL"
    published: ClassVar = {
        "train": SplitSize(96_476, frames=30_490_000),
        "dev": SplitSize(966, frames=305_000),
        "test": SplitSize(975, frames=308_000),
    }

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_openasl(folder, settings.clips_from, settings.boxes)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "en_XX"


CORPUS: Corpus = OpenASL()

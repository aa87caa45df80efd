"""DailyMoth-70h (Rust et al. 2024): manifests/{train,val,test}.tsv and a video for each clip, with the signer's face
blurred or not."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.annotation_table import read_annotation
from slt_cache.corpora.base import OTHER_SPLITS, SPLITS, Corpus, CorpusScan, Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut, scan_cuts
from slt_cache.corpora.official import NO_ANNOTATION, Sentence, add_issue
from slt_cache.corpora.search import files_below, first_named, name_of, videos_by_name
from slt_cache.errors import InputError

HEADER = ("video_name", "duration", "caption")
"""Columns of a manifest that lacks the header."""
COLUMNS = ("video_name|name|id", "caption|text|translation")
FILES = {split: tuple(f"{name}.tsv" for name in (split, *OTHER_SPLITS[split])) for split in SPLITS}


def read_dailymoth(root: Path) -> CorpusScan:
    """Reads the clips of the three splits. Videos without blur are preferred to blurred ones. Raises InputError if no
    annotation is found or if a file is broken."""
    problems: Problems = {}
    names = {name for names in FILES.values() for name in names}
    files = sorted(files_below(root, lambda name: name.lower() in names), key=_is_blurred)
    found = {split: first_named(files, FILES[split], problems) for split in SPLITS}
    sources = {split: path for split, path in found.items() if path is not None}
    add_issue(problems, NO_ANNOTATION, (f"{split}: {FILES[split][0]}" for split in SPLITS if split not in sources))
    if not sources:
        raise InputError(f"{root}: no train.tsv, val.tsv or test.tsv in this folder or below. Name DailyMoth's folder.")
    cuts: list[Cut] = []
    for split, path in sources.items():
        cuts += read_annotation(path, COLUMNS, partial(_cut, split), problems, no_header=HEADER)
    return scan_cuts(cuts, videos_by_name(files, problems), problems, list(sources.values()), root)


def _is_blurred(path: Path) -> bool:
    return any(part.lower().startswith("blurred") for part in path.parts)


def _cut(split: str, values: dict[str, str], place: str) -> Cut:
    clip = nfc(name_of(values["video_name"]))
    return Cut(Sentence(clip, split, values["caption"], place=place), ready=(clip,))


class DailyMoth(Corpus):
    """DailyMoth-70h, of one signer."""

    config = "dailymoth"
    root_holds = "DailyMoth-70h"

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_dailymoth(folder)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "en_XX"


CORPUS: Corpus = DailyMoth()

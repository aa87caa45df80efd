"""How2Sign (Duarte et al. 2021): how2sign_realigned_{train,val,test}.csv with the full videos, cut at the realigned
times, or with the ready-cut clips, which are reported to be misaligned; or the label files in circulation instead of
the csv."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from slt_cache.config import CorpusConfig
from slt_cache.corpora.annotation_table import read_annotation, span
from slt_cache.corpora.base import SPLITS, Corpus, CorpusScan, Problems, SplitSize
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut, scan_cuts
from slt_cache.corpora.labels import label_cuts
from slt_cache.corpora.official import Sentence
from slt_cache.corpora.search import files_below, first_named, videos_by_name
from slt_cache.errors import InputError

FILE_NAMES = {"train": ("train",), "dev": ("val", "dev"), "test": ("test",)}
"""Names of the splits in its files."""
COLUMNS = ("VIDEO_NAME", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED", "SENTENCE")


def read_how2sign(root: Path, clips_from: str = "auto") -> CorpusScan:
    """Reads the clips of the three splits. `clips_from`: videos (cut from the full videos), clips (ready-cut), auto
    (full videos if they exist, else clips). Raises InputError if no annotation is found or if a file is broken."""
    problems: Problems = {}
    files = files_below(root, lambda name: name.startswith("how2sign_realigned_"))
    cuts: list[Cut] = []
    sources: list[Path] = []
    missing: Problems = {}
    for split in SPLITS:
        wanted = [f"how2sign_realigned_{name}.{suffix}" for name in FILE_NAMES[split] for suffix in ("csv", "tsv")]
        path = first_named(files, wanted, missing, split)
        if path is not None:
            sources.append(path)
            cuts += read_how2sign_rows(path, split, problems)
    if sources:
        problems.update(missing)
    else:
        cuts, sources = label_cuts(root, problems)
    if not sources:
        raise InputError(
            f"{root}: no how2sign_realigned_train.csv, _val.csv or _test.csv in this folder or below, and no "
            "labels.train (or of val and test). Name the folder of How2Sign."
        )
    return scan_cuts(cuts, videos_by_name(files, problems), problems, sources, root, clips_from)


def read_how2sign_rows(path: Path, split: str, problems: Problems) -> list[Cut]:
    """Returns the rows of one csv in its order. Raises InputError if the header lacks a column."""
    return read_annotation(path, COLUMNS, partial(_cut, split), problems, advice="Use the re-aligned file of How2Sign.")


def _cut(split: str, values: dict[str, str], place: str) -> Cut:
    start, end = span(values["START_REALIGNED"], values["END_REALIGNED"])
    clip, video = nfc(values["SENTENCE_NAME"]), nfc(values["VIDEO_NAME"])
    return Cut(Sentence(clip, split, values["SENTENCE"], place=place), start, end, video, ready=(clip,))


class How2Sign(Corpus):
    """How2Sign. Rows are those of how2sign_realigned_{train,val,test}.csv, ready-cut clips as Duarte et al. 2021
    distribute them; the paper counts one less than the rows of each split and does not say which. Frames are estimated
    from its hours at 24 frames a second."""

    config = "how2sign"
    root_holds = "How2Sign"
    preset = "how2sign"
    published: ClassVar = {
        "train": SplitSize(31_165, frames=5_064_000, ready_cut=31_048, in_paper=31_164),
        "dev": SplitSize(1_741, frames=282_800, ready_cut=1_739, in_paper=1_740),
        "test": SplitSize(2_357, frames=382_900, ready_cut=2_343, in_paper=2_356),
    }

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_how2sign(folder, settings.clips_from)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "en_XX"


CORPUS: Corpus = How2Sign()

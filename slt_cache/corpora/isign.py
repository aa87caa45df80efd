"""iSign (Joshi et al. 2024): iSign_v1.1.csv with the columns uid and text, and a video for each clip. It publishes no
splits: dev and test are made of whole videos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.annotation_table import read_annotation
from slt_cache.corpora.base import Corpus, CorpusScan, Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut, scan_cuts
from slt_cache.corpora.official import Sentence
from slt_cache.corpora.own_splits import splits_of
from slt_cache.corpora.search import files_below, first_named, name_of, videos_by_name
from slt_cache.errors import InputError

COLUMNS = ("uid|id|video_id|name", "text|translation|sentence")


def read_isign(root: Path, dev_share: float, test_share: float) -> CorpusScan:
    """Reads all clips. Raises InputError if no annotation is found or if it is broken."""
    problems: Problems = {}
    files = files_below(root, _is_table)
    table = first_named(files, [path.name.lower() for path in files if _is_table(path.name)], problems)
    if table is None:
        raise InputError(f"{root}: no iSign_v1.1.csv in this folder or below. Name the folder of iSign.")
    sentences = read_annotation(table, COLUMNS, _sentence, problems)
    split_of = splits_of({_video(one.id): () for one in sentences}, dev_share, test_share)
    cuts = [Cut(replace(one, split=split_of[_video(one.id)]), ready=(one.id,)) for one in sentences]
    return scan_cuts(cuts, videos_by_name(files, problems), problems, [table], root)


def _is_table(name: str) -> bool:
    return name.lower().startswith("isign") and name.lower().endswith(".csv")


def _sentence(values: dict[str, str], place: str) -> Sentence:
    return Sentence(nfc(name_of(values["uid"])), "train", values["text"], place=place)


def _video(uid: str) -> str:
    """Returns the name of the video that a clip is cut from: `1782bea75c7d` for `1782bea75c7d-3`."""
    return uid.rpartition("-")[0] or uid


class ISign(Corpus):
    """iSign: Indian Sign Language and English."""

    config = "isign"
    root_holds = "iSign"

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_isign(folder, settings.dev_share, settings.test_share)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "en_XX"


CORPUS: Corpus = ISign()

"""CSL-News (Li et al. 2025, Uni-Sign): CSL_News_Labels.json, a list of {video, pose, text}, and a video for each clip.
It has no splits: dev and test are made of whole programmes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Corpus, CorpusScan, Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut, scan_cuts
from slt_cache.corpora.official import Sentence, read_json, sentences_of
from slt_cache.corpora.own_splits import splits_of
from slt_cache.corpora.search import files_below, first_named, name_of, videos_by_name
from slt_cache.errors import InputError

LABELS = ("csl_news_labels.json", "csl-news_labels.json", "labels.json")


def read_csl_news(root: Path, dev_share: float, test_share: float) -> CorpusScan:
    """Reads all clips. Raises InputError if no annotation is found or if it is broken."""
    problems: Problems = {}
    files = files_below(root, lambda name: name.lower() in LABELS)
    path = first_named(files, LABELS, problems)
    if path is None:
        raise InputError(f"{root}: no CSL_News_Labels.json in this folder or below. Name the folder of CSL-News.")
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: holds no list of clips. Is this the official file? Get it again.")
    sentences = sentences_of(content, path, _sentence, "no video and text", problems)
    if content and not sentences:
        raise InputError(f"{path}: none of its {len(content):,} items has a video and a text. Get the file again.")
    split_of = splits_of({_programme(one.id): () for one in sentences}, dev_share, test_share)
    cuts = [Cut(replace(one, split=split_of[_programme(one.id)]), ready=(one.id,)) for one in sentences]
    return scan_cuts(cuts, videos_by_name(files, problems), problems, [path], root)


def _sentence(item: Any, place: str) -> Sentence | None:
    video, text = (item.get("video"), item.get("text")) if isinstance(item, dict) else (None, None)
    if not isinstance(video, str) or not isinstance(text, str):
        return None
    return Sentence(nfc(name_of(video)), "train", text, place=place)


def _programme(name: str) -> str:
    """Returns the name of the programme that a clip is cut from: without its frames and number, the last two parts of
    `Common-Concerns_20201113_0-287_14330`."""
    return name.rsplit("_", 2)[0]


class CslNews(Corpus):
    """CSL-News."""

    config = "csl_news"
    root_holds = "CSL-News"

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_csl_news(folder, settings.dev_share, settings.test_share)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "zh_CN"


CORPUS: Corpus = CslNews()

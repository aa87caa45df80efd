"""A corpus that a user could add: `SPLIT ID SENTENCE` on each line of clips.txt, next to ID.mp4."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Clip, Corpus, CorpusScan, SplitSize, count_by_split


class MadeUp(Corpus):
    """A corpus of two published clips."""

    root_holds = "clips.txt"
    preset = "plain"
    published: ClassVar = {"train": SplitSize(1, frames=40), "dev": SplitSize(1, frames=20)}

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        source = folder / "clips.txt"
        rows = [line.split(" ", 2) for line in source.read_text(encoding="utf-8").splitlines()]
        clips = [Clip(name, split, folder / f"{name}.mp4", None, None, text) for split, name, text in rows]
        return CorpusScan(clips, count_by_split(clips), sources=[source])

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "cs_CZ"


CORPUS: Corpus = MadeUp()

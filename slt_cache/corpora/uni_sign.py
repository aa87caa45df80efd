"""Label files as Uni-Sign (Li et al. 2025) and GFSLT-VLP write them, of any corpus: labels.{train,dev,test}, gzipped
pickles of {clip: {name, text, video_path or length, gloss}}, and a video for each clip."""

from collections.abc import Callable
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Corpus, CorpusScan, Problems
from slt_cache.corpora.cuts import scan_cuts
from slt_cache.corpora.labels import label_cuts
from slt_cache.corpora.search import files_below, videos_by_name
from slt_cache.errors import InputError


class UniSign(Corpus):
    """Label files, without the official files of their corpus."""

    config = "uni_sign"
    root_holds = "labels.train"

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        problems: Problems = {}
        cuts, sources = label_cuts(folder, problems)
        if not sources:
            raise InputError(
                f"{folder}: no labels.train, labels.dev (or .val) or labels.test, here or up to two folders deeper."
            )
        files = files_below(folder, lambda name: False)
        return scan_cuts(cuts, videos_by_name(files, problems), problems, sources, folder)


CORPUS: Corpus = UniSign()

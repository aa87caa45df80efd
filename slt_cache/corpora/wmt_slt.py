"""WMT-SLT (Müller et al. 2022): FocusNews and SRF, videos/NAME.mp4 with subtitles/NAME.srt. A caption is a clip. The
folders dev and test of the shared task are these splits; without them, dev and test are made of whole videos."""

from collections.abc import Callable
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Corpus, CorpusScan, Problems
from slt_cache.corpora.caption_files import Programme, caption_cuts, captions_by_video
from slt_cache.corpora.captions import Rules
from slt_cache.corpora.cuts import scan_cuts
from slt_cache.corpora.own_splits import splits_of
from slt_cache.corpora.search import files_below, videos_by_name
from slt_cache.errors import InputError


def read_wmt_slt(root: Path, settings: CorpusConfig) -> CorpusScan:
    """Reads all subtitles that have a video. Raises InputError if there are none."""
    problems: Problems = {}
    files = files_below(root, lambda name: name.lower().endswith(".srt"))
    videos = videos_by_name(files, problems)
    subtitles = [path for path in files if path.suffix.lower() == ".srt"]
    if not subtitles:
        raise InputError(f"{root}: no .srt in this folder or below. Name the folder of WMT-SLT.")
    names = list(videos) or [path.stem for path in subtitles]  # the annotation alone: imported features need no videos
    captions = captions_by_video(subtitles, names, lambda name: None, problems)
    by_folder = {name: _split(path, root) for name, path in captions.items()}
    made = splits_of(dict.fromkeys(captions, ()), settings.dev_share, settings.test_share)
    is_split = any(split is not None for split in by_folder.values())
    programmes = {
        name: Programme(name, path, (by_folder[name] or "train") if is_split else made[name])
        for name, path in captions.items()
    }
    cuts = caption_cuts(programmes, Rules(shift=settings.shift), None, problems)
    return scan_cuts(cuts, videos, problems, list(captions.values()), root)


def _split(path: Path, root: Path) -> str | None:
    """Returns the split that a folder of the path names, except train, which holds whatever has no such folder."""
    folders = [part.lower() for part in path.relative_to(root).parts[:-1]]
    return next((split for split in SPLITS if split != "train" and split in folders), None)


class WmtSlt(Corpus):
    """WMT-SLT: Swiss German Sign Language and German."""

    config = "wmt_slt"
    root_holds = "WMT-SLT"
    has_captions = True

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_wmt_slt(folder, settings)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "de_DE"


CORPUS: Corpus = WmtSlt()

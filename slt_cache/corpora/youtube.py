"""YouTube-ASL (Uthus et al. 2023) and YouTube-SL-25 (Tanzer and Zhang 2024): a list of video ids, and videos with their
captions as yt-dlp saves them, ID.mp4 and ID.LANGUAGE.vtt. Neither has splits: dev and test are made of whole videos."""

from collections.abc import Callable, Iterable
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Corpus, CorpusScan, Problems
from slt_cache.corpora.caption_files import Programme, caption_cuts, captions_by_video, is_captions
from slt_cache.corpora.captions import Rules
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import scan_cuts
from slt_cache.corpora.languages import MBART, SPOKEN
from slt_cache.corpora.official import ALSO_THERE, UNREADABLE_ROW, add_issue, is_name, read_lines
from slt_cache.corpora.own_splits import splits_of
from slt_cache.corpora.search import files_below, videos_by_name
from slt_cache.errors import InputError

TABLES = (".txt", ".csv", ".tsv")
NOT_DOWNLOADED = "listed video not on disk (left out)"
NOT_LISTED = "video that is not listed (left out)"


class YouTube(Corpus):
    """Videos of YouTube by a list of their ids."""

    has_captions = True

    def __init__(self, config: str, title: str, lists: tuple[str, ...], sign_language: str | None) -> None:
        self.config = config
        self.root_holds = title
        self.lists = lists
        """Names of the list of videos, in lower case; a table of another name counts if there is none of these."""
        self.sign_language = sign_language
        """Sign language of a corpus with only one."""

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        problems: Problems = {}
        files = files_below(folder, lambda name: name.lower().endswith(TABLES) or is_captions(name))
        tables = [path for path in files if path.suffix.lower() in TABLES]
        lists = [path for path in tables if path.name.lower().endswith(self.lists)] or tables
        if not lists:
            raise InputError(f"{folder}: no {self.lists[0]} in this folder or below. Name {self.root_holds}'s folder.")
        add_issue(problems, ALSO_THERE, ", ".join(map(str, lists)) if len(lists) > 1 else [])
        listed = self._chosen(_listed(lists[0], problems), settings)
        videos = videos_by_name(files, problems)
        here = [name for name in listed if name in videos]
        add_issue(problems, NOT_DOWNLOADED, (name for name in listed if name not in videos))
        add_issue(problems, NOT_LISTED, sorted(videos.keys() - listed.keys()))
        captions = captions_by_video(
            [path for path in files if is_captions(path.name)],
            here or listed,  # the annotation alone: imported features need no videos
            lambda name: settings.captions or SPOKEN.get(listed[name]),
            problems,
            skips=True,
        )
        split_of = splits_of(dict.fromkeys(captions, ()), settings.dev_share, settings.test_share)
        programmes = {name: Programme(name, path, split_of[name]) for name, path in captions.items()}
        cuts = caption_cuts(programmes, Rules.of(settings), settings.tier, problems)
        sources = [lists[0], *captions.values()]
        of_cuts = {cut.full: videos[cut.full] for cut in cuts if cut.full in videos}
        return scan_cuts(cuts, of_cuts, problems, sources, folder)

    def _chosen(self, listed: dict[str, str], settings: CorpusConfig) -> dict[str, str]:
        """Returns the videos in the sign language that is asked for, with their sign language."""
        if self.sign_language is not None:
            return dict.fromkeys(listed, self.sign_language)
        wanted = settings.sign_language
        chosen = {name: one for name, one in listed.items() if wanted in (None, one)}
        if listed and not chosen:
            there = ", ".join(sorted(set(listed.values())))
            raise InputError(f"corpus.sign_language {wanted}: no video of the list. Choose one of {there}.")
        return chosen

    def language_code(self, settings: CorpusConfig) -> str | None:
        sign_language = self.sign_language or settings.sign_language or ""
        return MBART.get((settings.captions or SPOKEN.get(sign_language, "")).partition("-")[0])


def _listed(path: Path, problems: Problems) -> dict[str, str]:
    """Returns id -> sign language, empty if the list has none: one id a line, or `ID,LANGUAGE`, with a header or
    without."""
    return dict(_rows(path, read_lines(path), problems))


def _rows(path: Path, lines: Iterable[str], problems: Problems) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        name, *language = (value.strip().strip('"') for value in line.replace("\t", ",").split(","))
        if not is_name(name) or len(language) > 1:
            add_issue(problems, UNREADABLE_ROW, f"{path.name} line {number}: no video id" if line.strip() else [])
        elif name.lower() not in ("video_id", "id", "video id", "youtube_id"):
            yield nfc(name), "".join(language)

"""Your own subtitled videos: any folders of videos with .vtt, .srt or .eaf files of their names. Whole videos become
train, dev and test; videos.tsv may state their signers and splits."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Corpus, CorpusScan, Problems, no_such_split, own_name
from slt_cache.corpora.caption_files import Programme, caption_cuts, captions_by_video, is_captions
from slt_cache.corpora.captions import Rules
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut, scan_cuts
from slt_cache.corpora.languages import MBART
from slt_cache.corpora.media import VIDEO_SUFFIXES
from slt_cache.corpora.official import ALSO_THERE, add_issue
from slt_cache.corpora.own import EMPTY_SPLIT
from slt_cache.corpora.own_splits import splits_of
from slt_cache.corpora.own_table import read_rows
from slt_cache.corpora.search import files_below, name_of
from slt_cache.errors import InputError

VIDEO_TABLE = "videos.tsv"
"""Optional table in the folder, with the columns video, signer and split, of which the last two may be left out."""
COLUMNS = ("video", "signer", "split")
NOT_THERE = "video of videos.tsv that is not on disk or has no captions"
SIGNER_IN_SPLITS = "signer in several splits, as videos.tsv states"


@dataclass(frozen=True)
class KnownVideo:
    """What videos.tsv states of a video; empty where it states nothing."""

    signer: str = ""
    split: str = ""


def read_subtitled(root: Path, settings: CorpusConfig) -> CorpusScan:
    """Reads the captions of all videos in a folder or below. Raises InputError if no video has captions, or if
    videos.tsv is broken."""
    problems: Problems = {}
    files = files_below(root, is_captions)
    names = _Names(root, files)
    videos = names.videos(problems)
    subtitles = [path for path in files if is_captions(path.name)]
    captions = captions_by_video(subtitles, videos, lambda name: settings.captions, problems, names.name_in)
    if not captions:
        raise InputError(
            f"{root}: no video with a .vtt, .srt or .eaf file of its name, in this folder or below ({len(videos):,} "
            f"videos, {len(subtitles):,} such files). Put NAME.vtt or NAME.LANGUAGE.vtt next to NAME.mp4."
        )
    known = _known(root / VIDEO_TABLE)
    add_issue(problems, NOT_THERE, sorted(known.keys() - captions.keys()))
    programmes = {
        name: Programme(name, path, "train", known.get(name, KnownVideo()).signer) for name, path in captions.items()
    }
    cuts = caption_cuts(programmes, Rules.of(settings), settings.tier, problems)
    split_of = _splits(cuts, known, settings, problems)
    cuts = [replace(cut, sentence=replace(cut.sentence, split=split_of[cut.full])) for cut in cuts]
    table = [root / VIDEO_TABLE] if known else []
    of_cuts = {cut.full: videos[cut.full] for cut in cuts}
    scan = scan_cuts(cuts, of_cuts, problems, [*table, *captions.values()], root)
    add_issue(problems, EMPTY_SPLIT, (split for split in SPLITS if not any(clip.split == split for clip in scan.clips)))
    return scan


class _Names:
    """Names of videos: of their files without suffix, with their folders in front if a name occurs in several."""

    def __init__(self, root: Path, files: list[Path]) -> None:
        self.root = root
        self.paths = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        places = {(path.parent, nfc(path.stem)) for path in self.paths}
        self.repeated = {name for name, many in Counter(stem for _, stem in places).items() if many > 1}

    def name_in(self, folder: Path, stem: str) -> str:
        parts = map(nfc, folder.relative_to(self.root).parts) if stem in self.repeated else ()
        return "__".join((*parts, stem))

    def videos(self, problems: Problems) -> dict[str, Path]:
        """Returns the videos by name; the first of those that differ in their suffix alone."""
        found: dict[str, Path] = {}
        for path in self.paths:
            name = self.name_in(path.parent, nfc(path.stem))
            if found.setdefault(name, path) != path:
                add_issue(problems, ALSO_THERE, f"{found[name]}, {path}")
        return found


def _known(table: Path) -> dict[str, KnownVideo]:
    """Reads videos.tsv; returns nothing if there is none. Raises InputError that names a wrong line."""
    if not table.is_file():
        return {}
    (_, header), *lines = read_rows(table, COLUMNS[:1], COLUMNS).numbered
    known: dict[str, KnownVideo] = {}
    for number, values in lines:
        if not "".join(values).strip():
            continue
        row = dict(zip(header, values, strict=False))
        split = own_name(row.get("split", "")) or ""
        if len(values) != len(header) or (row.get("split", "").strip() and not split):
            wrong = f"split {no_such_split(row['split'])}" if len(values) == len(header) else f"{len(values)} columns"
            raise InputError(f"{table}, line {number}: {wrong}. Correct the line.")
        known[nfc(name_of(row["video"].strip()))] = KnownVideo(row.get("signer", "").strip(), split)
    return known


def _splits(
    cuts: list[Cut], known: Mapping[str, KnownVideo], settings: CorpusConfig, problems: Problems
) -> dict[str, str]:
    """Returns the split of each video: as videos.tsv states, that of another video of the same signer, or by its
    name."""
    signers: dict[str, set[str]] = {}
    for cut in cuts:
        signers.setdefault(cut.full, set()).update(filter(None, [cut.sentence.signer]))
    stated = {name: known[name].split for name in signers if name in known and known[name].split}
    of_signer: dict[str, str] = {}
    for name, split in stated.items():
        for signer in signers[name]:
            if of_signer.setdefault(signer, split) != split:
                add_issue(problems, SIGNER_IN_SPLITS, f"{signer}: {of_signer[signer]}, and {split} ({name})")
    made = splits_of(
        {name: its for name, its in signers.items() if name not in stated}, settings.dev_share, settings.test_share
    )
    follows = {name: of_signer[one] for name, its in signers.items() for one in sorted(its) if one in of_signer}
    return {**made, **follows, **stated}


class Subtitled(Corpus):
    """Your own videos with subtitles."""

    config = "subtitles"
    root_holds = "videos and their subtitles"
    has_captions = True

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_subtitled(folder, settings)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return MBART.get((settings.captions or "").partition("-")[0])


CORPUS: Corpus = Subtitled()

"""BOBSL (Albanie et al. 2021): subset2episode.json with the splits, subtitles as ID.vtt, aligned to the audio or to the
signing, and a video for each programme. A caption is a clip."""

from collections.abc import Callable
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Corpus, CorpusScan, Problems, own_name
from slt_cache.corpora.caption_files import NO_CAPTIONS, Programme, caption_cuts
from slt_cache.corpora.captions import Rules
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import scan_cuts
from slt_cache.corpora.official import UNREADABLE_ROW, add_issue, read_json
from slt_cache.corpora.search import files_below, first_named, videos_by_name
from slt_cache.errors import InputError

SPLIT_FILE = ("subset2episode.json",)
NOT_USED = "split that is not train, dev or test (left out)"
SIGNING = ("manual", "signing")
"""Parts of the name of the folder with subtitles that are aligned to the signing, `manually-aligned`."""
NOT_NAMED = "captions of a programme without a split (left out)"


def read_bobsl(root: Path, alignment: str = "auto", shift: float = 0.0) -> CorpusScan:
    """Reads the captions of the three splits. `alignment`: signing, audio, or auto (to the signing if a programme has
    such captions, else to the audio). Raises InputError if there are no splits or if a file is broken."""
    problems: Problems = {}
    files = files_below(root, lambda name: name.lower() in SPLIT_FILE or name.lower().endswith(".vtt"))
    splits = first_named(files, SPLIT_FILE, problems)
    if splits is None:
        raise InputError(f"{root}: no {SPLIT_FILE[0]} in this folder or below. Name the folder of BOBSL.")
    split_of = _split_of(splits, problems)
    captions = _captions(root, files, alignment)
    add_issue(problems, NO_CAPTIONS, (name for name in split_of if name not in captions))
    add_issue(problems, NOT_NAMED, (name for name in captions if name not in split_of))
    programmes = {name: Programme(name, captions[name], split) for name, split in split_of.items() if name in captions}
    cuts = caption_cuts(programmes, Rules(shift=shift), None, problems)
    sources = [splits, *(one.captions for one in programmes.values())]
    return scan_cuts(cuts, videos_by_name(files, problems), problems, sources, root)


def _split_of(path: Path, problems: Problems) -> dict[str, str]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no splits by name. Is this the official file? Get it again.")
    split_of: dict[str, str] = {}
    for name, episodes in content.items():
        split = own_name(name)
        if split is None or not isinstance(episodes, list):
            add_issue(problems, NOT_USED, name[:80])
            continue
        for episode in episodes:
            if not isinstance(episode, str | int):
                add_issue(problems, UNREADABLE_ROW, f"{path.name}: {str(episode)[:80]} in {name} is no programme")
            elif (first := split_of.setdefault(nfc(str(episode)), split)) != split:
                add_issue(problems, "in two splits (the first is taken)", f"{episode}: {first}, and {split}")
    return split_of


def _captions(root: Path, files: list[Path], alignment: str) -> dict[str, Path]:
    """Returns the captions of each programme in the alignment that is asked for."""
    found: dict[bool, dict[str, Path]] = {True: {}, False: {}}
    for path in files:
        if path.suffix.lower() == ".vtt":
            folders = str(path.parent.relative_to(root)).lower()
            is_signing = any(word in folders for word in SIGNING)
            found[is_signing].setdefault(nfc(path.stem), path)
    if alignment == "auto":
        return {**found[False], **found[True]}
    return found[alignment == "signing"]


class Bobsl(Corpus):
    """BOBSL: British Sign Language and English."""

    config = "bobsl"
    root_holds = "BOBSL"
    has_captions = True

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_bobsl(folder, settings.alignment, settings.shift)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "en_XX"


CORPUS: Corpus = Bobsl()

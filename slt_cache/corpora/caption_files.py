"""Subtitle files and the videos that they belong to by name: `NAME.vtt` or `NAME.LANGUAGE.vtt` to `NAME.mp4`."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slt_cache.corpora.base import Problems
from slt_cache.corpora.captions import Rules, sentences_of
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cues import SUFFIXES, ChooseTier, read_cues
from slt_cache.corpora.cuts import Cut
from slt_cache.corpora.official import ALSO_THERE, Sentence, add_issue
from slt_cache.errors import InputError
from slt_cache.progress import progress_bar

NO_CAPTIONS = "video without captions (left out)"
OTHER_LANGUAGE = "captions in other languages only (left out)"
SEVERAL_LANGUAGES = "captions in several languages, of which corpus.captions names none (left out)"
NO_VIDEO = "captions without a video (left out)"
UNREADABLE_FILE = "caption file that cannot be read (left out)"
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,12}){0,3}")
"""Language of a caption file, as yt-dlp writes it: en, en-US, de-orig, zh-Hans."""


@dataclass(frozen=True)
class Programme:
    """One video with its captions."""

    video: str
    """Name of the video."""
    captions: Path
    split: str
    signer: str = ""


def is_captions(name: str) -> bool:
    """Returns whether a file with this name may hold captions."""
    return name.lower().endswith(SUFFIXES)


def captions_by_video(
    captions: Iterable[Path],
    videos: Iterable[str],
    language_of: Callable[[str], str | None],
    problems: Problems,
    name_in: Callable[[Path, str], str] = lambda folder, stem: stem,
    skips: bool = False,
) -> dict[str, Path]:
    """Returns the captions of each video that has some, in the order of the videos. `language_of` gives the language
    that is wanted for a video; None for the only one. `name_in` gives the name of a video from its folder and its
    file's name without suffix. A video with captions in several languages is left out if `skips`, else raises
    InputError."""
    found: dict[str, list[tuple[str, Path]]] = {name: [] for name in videos}
    for path in captions:
        name, language = name_in(path.parent, nfc(path.stem)), ""
        if name not in found:
            stem, language = _split_name(nfc(path.stem))
            name = name_in(path.parent, stem)
        if name in found:
            found[name].append((language, path))
        else:
            add_issue(problems, NO_VIDEO, path.name)
    chosen: dict[str, Path | None] = {}
    for name, files in found.items():
        wanted, languages = language_of(name), sorted({language for language, _ in files})
        if wanted is None and len(languages) > 1:
            several = f"{name}: has captions in {', '.join(filter(None, languages))}"
            if not skips:
                raise InputError(f"{several}. Choose a language: --set corpus.captions={languages[-1]}")
            add_issue(problems, SEVERAL_LANGUAGES, several)
        else:
            chosen[name] = _chosen(name, files, wanted, problems)
    return {name: path for name, path in chosen.items() if path is not None}


def _split_name(stem: str) -> tuple[str, str]:
    """Returns the name of the video and the language; the latter is empty if the name states none."""
    name, _, language = stem.rpartition(".")
    return (name, language) if name and _LANGUAGE.fullmatch(language) else (stem, "")


def _chosen(name: str, files: list[tuple[str, Path]], wanted: str | None, problems: Problems) -> Path | None:
    languages = sorted({language for language, _ in files})
    if wanted is not None:
        files = [file for file in files if file[0] in ("", wanted) or file[0].startswith(f"{wanted}-")]
        files.sort(key=lambda file: (file[0] != wanted, file[0]))
    if not files:
        kind = OTHER_LANGUAGE if languages else NO_CAPTIONS
        add_issue(problems, kind, f"{name} ({', '.join(languages)})" if languages else name)
        return None
    same = [path for language, path in files if language == files[0][0]]
    same.sort(key=lambda path: SUFFIXES.index(path.suffix.lower()))
    if len(same) > 1:
        add_issue(problems, ALSO_THERE, ", ".join(map(str, same)))
    return same[0]


def caption_cuts(programmes: Mapping[str, Programme], rules: Rules, tier: str | None, problems: Problems) -> list[Cut]:
    """Returns the sentences of all programmes, with their times in the videos. A clip is called by the name of its
    video and its milliseconds, which stay when other captions change. Raises InputError if a tier must be chosen, or if
    none of the files can be read."""
    cuts: list[Cut] = []
    errors: list[InputError] = []
    with progress_bar("reading captions") as progress:
        for done, programme in enumerate(programmes.values(), start=1):
            try:
                cuts += _cuts(programme, rules, tier, problems)
            except ChooseTier:
                raise
            except InputError as error:
                errors.append(error)
                add_issue(problems, UNREADABLE_FILE, str(error))
            progress(done, len(programmes))
    if errors and len(errors) == len(programmes):
        raise errors[0]
    return cuts


def _cuts(programme: Programme, rules: Rules, tier: str | None, problems: Problems) -> list[Cut]:
    if programme.captions.suffix.lower() == ".eaf":  # annotated sentence by sentence
        rules = replace(rules, merges=False)
    cuts: list[Cut] = []
    for cue in sentences_of(read_cues(programme.captions, tier, problems), rules, problems):
        name = f"{programme.video}_{round(cue.start * 1000)}-{round(cue.end * 1000)}"
        signer = programme.signer or cue.signer
        sentence = Sentence(name, programme.split, cue.text, signer, place=cue.place)
        cuts.append(Cut(sentence, cue.start, cue.end, programme.video))
    return cuts

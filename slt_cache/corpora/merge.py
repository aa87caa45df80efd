"""Several prepared corpora as one: their manifests in, one manifest out, with the columns `corpus` and `language`.
Copies no video.

An id that only one of the corpora has is kept; one that several have gets the name of its corpus in front in each,
`NAME__ID`. The languages of a run folder's sentences are those of its column `language`, or else that of its settings;
a manifest alone needs the column."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.config import Config, CorpusConfig, load_config
from slt_cache.corpora.base import MONOLINGUAL_FILE, Clip, Corpus, CorpusScan, count_by_split, languages_of, of_split
from slt_cache.corpora.characters import normalized
from slt_cache.corpora.languages import labels_of, short_name
from slt_cache.corpora.manifest import read_manifest, read_own_manifest
from slt_cache.corpora.monolingual import Line, lines_of, monolingual_text, read_monolingual
from slt_cache.corpora.official import is_name
from slt_cache.corpora.own import SOURCE_MANIFEST
from slt_cache.corpora.registry import corpus_of, language_code
from slt_cache.errors import InputError
from slt_cache.files import write_text
from slt_cache.progress import log

JOINED = "__"
"""Between the name of a corpus and an id."""
FEWEST = 2


def named_sources(given: Sequence[str]) -> dict[str, str]:
    """Returns name -> manifest of the corpora that a command line names, each as a run folder, a folder with a
    manifest, or a manifest; `NAME=PATH` gives another name than that of its folder. Raises InputError for fewer than
    two, for one that is not prepared, and for two of one name."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, path = one.partition("=")
        name, path = ("", one) if Path(one).exists() or not equals else (name, path)
        manifest = _manifest_in(Path(path))
        name = name or (manifest.parent.name if manifest.name == SOURCE_MANIFEST else manifest.stem)
        if not is_name(name):
            raise InputError(f"prepare merge {one}: {name!r} cannot be the name of a corpus. Name it: NAME={path}")
        if str(manifest) in found.values():
            raise InputError(f"prepare merge {one}: the same manifest twice. Name different corpora.")
        if name in found:
            raise InputError(
                f"prepare merge {one}: {found[name]} is called {name}, too. Give one another name: NAME={path}"
            )
        found[name] = str(manifest)
    if len(found) < FEWEST:
        raise InputError(f"prepare merge: {len(found)} corpora. Name two or more run folders or manifests.")
    return found


def _manifest_in(path: Path) -> Path:
    manifest = (path / SOURCE_MANIFEST if path.is_dir() else path).absolute()
    if not manifest.is_file():
        why = "holds no manifest.tsv" if path.is_dir() else "no such run folder or manifest"
        raise InputError(f"prepare merge {path}: {why}. Prepare it first: {command('prepare CORPUS', run=path)}")
    return manifest


def merge_settings(given: Sequence[str], folder: Path, stated: Collection[str]) -> tuple[str | None, dict[str, Any]]:
    """Returns the config.yaml of the first corpus that has one, with whose settings a run that merges them begins, and
    those that are its own, except for the ones `stated` on the command line. Raises InputError for corpora that cannot
    be merged, or not into this folder."""
    sources = named_sources(given)
    for name, manifest in sources.items():
        if Path(manifest).parent.resolve() == folder.resolve():
            raise InputError(f"prepare merge: {folder} is the corpus {name}. Name another run folder with --run.")
    require_same_video(sources, stated)
    configs = [Path(manifest).with_name(CONFIG_FILE) for manifest in sources.values()]
    usual = CorpusConfig().model_dump(mode="json", exclude={"name"})
    own = {f"corpus.{key}": value for key, value in usual.items()}
    own |= {"corpus.merged": sources, "llm.language": None, "scoring.preset": None}
    first = next((str(config) for config in configs if config.is_file()), None)
    return first, {name: value for name, value in own.items() if name not in stated}


def require_same_video(sources: Mapping[str, str], stated: Collection[str]) -> None:
    """Raises InputError if the corpora were prepared for different settings of `video`, of which one encoder needs the
    same; those `stated` on the command line hold for all, as do those of a config (`video`)."""
    configs = {name: config for name, path in sources.items() if (config := _config_of(path)) is not None}
    if not configs or "video" in stated:
        return
    # Neither changes a feature.
    same = {"frame_cache", "decoder"}
    read = {name: config.video.model_dump(mode="json", exclude=same) for name, config in configs.items()}
    (first, made), *others = read.items()
    for name, asked in others:
        found = [key for key in made if made[key] != asked[key] and f"video.{key}" not in stated]
        if found:
            words = "; ".join(f"video.{key}: {first} {made[key]}, {name} {asked[key]}" for key in found)
            raise InputError(
                f"prepare merge: the corpora have different video settings ({words}). Set them for the merged run, "
                f"such as --set video.{found[0]}={made[found[0]]}"
            )


@lru_cache(maxsize=64)
def _config_of(manifest: str) -> Config | None:
    path = Path(manifest).with_name(CONFIG_FILE)
    return load_config(str(path), ()) if path.is_file() else None


class Merge(Corpus):
    """Several prepared corpora."""

    config = "merge"

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        """Reads the manifests, and writes the sentences without video into the folder if one of them has some."""
        if not settings.merged:
            raise InputError(f"corpus.merged: not set. Name the corpora: {command('prepare merge A B')}")
        clips = merged_clips(settings.merged)
        lines = _monolingual(settings.merged, clips)
        if lines:
            several = len({line.language for line in lines}) > 1
            found = lines if several else [Line(line.text) for line in lines]
            write_text(folder / MONOLINGUAL_FILE, monolingual_text(found))
        return CorpusScan(clips, count_by_split(clips), sources=[Path(path) for path in settings.merged.values()])

    def decided(self, settings: CorpusConfig) -> dict[str, Any]:
        """Returns the languages of all sentences, and the scoring presets of corpora that have one of their own."""
        presets: dict[str, str] = {}
        for name, path in settings.merged.items():
            config = _config_of(path)
            own = None if config is None else config.scoring.preset or corpus_of(config).preset
            presets |= {} if own is None else {name: own}
        return {"languages": languages_of(merged_clips(settings.merged)), "presets": presets}


def merged_clips(sources: Mapping[str, str]) -> list[Clip]:
    """Returns the clips of all corpora, each with its corpus and language, and with ids that are unique. Raises
    InputError for a sentence whose language is not known, and for ids that would still clash."""
    read = {name: _clips_of(name, path) for name, path in sources.items()}
    holders = Counter(_seen(clip_id) for clips in read.values() for clip_id in {_seen(clip.id) for clip in clips})
    clips = [
        replace(clip, id=f"{name}{JOINED}{clip.id}") if holders[_seen(clip.id)] > 1 else clip
        for name, found in read.items()
        for clip in found
    ]
    twice = [clip_id for clip_id, many in Counter(_seen(clip.id) for clip in clips).items() if many > 1]
    if twice:
        raise InputError(
            f"prepare merge: the id {twice[0]!r} would stand for two clips ({len(twice):,} such ids). Give the corpora "
            "other names: NAME=PATH"
        )
    return clips


def _seen(clip_id: str) -> str:
    """Returns an id as a reader sees it: those that look alike are the same."""
    return normalized(clip_id).strip()


def _clips_of(name: str, path: str) -> list[Clip]:
    """Returns the clips of one corpus, with its name and their languages. A clip of a merged manifest keeps the name of
    its first corpus after that of the manifest."""
    config = _config_of(path)
    clips = read_own_manifest(Path(path)).clips if config is None else read_manifest(Path(path))
    code = None if config is None else language_code(config)
    usual = "" if code is None or labels_of(code) else short_name(code)
    lacking = [clip.id for clip in clips if not clip.language]
    if lacking and not usual:
        prepared = command("prepare", config.corpus.name if config else "tsv", run=Path(path).parent)
        raise InputError(
            f"{path}: the language of {len(lacking):,} of {len(clips):,} sentences is not known, such as that of "
            f"{lacking[0]!r}. Add a column `language` (de, en, ...), or prepare it with its language: "
            f"{prepared} --set llm.language=CODE"
        )
    return [
        replace(clip, corpus=f"{name}.{clip.corpus}" if clip.corpus else name, language=clip.language or usual)
        for clip in clips
    ]


def _monolingual(sources: Mapping[str, str], clips: Sequence[Clip]) -> list[Line]:
    """Returns the sentences without video of all corpora; a corpus without such takes part with those of its train
    split. Empty if none has any."""
    found: list[Line] = []
    any_file = False
    for name, path in sources.items():
        text, config = _text_of(path), _config_of(path)
        own = [clip for clip in clips if clip.corpus.partition(".")[0] == name]
        if text is None or config is None:
            found += lines_of(of_split(own, "train"))
            continue
        any_file = True
        labels = labels_of(language_code(config))
        lines = read_monolingual(text, "prepare merge", labels, log)
        found += [line if line.language else Line(line.text, own[0].language) for line in lines]
    return found if any_file else []


def _text_of(path: str) -> Path | None:
    """Returns the file of sentences without video of a run, if it has one."""
    config = _config_of(path)
    if config is None:
        return None
    folder = Path(path).with_name("corpus") if config.corpus.root is None else Path(config.corpus.root)
    return folder / MONOLINGUAL_FILE if (folder / MONOLINGUAL_FILE).is_file() else None


CORPUS: Corpus = Merge()

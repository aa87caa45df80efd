"""Variants of a run's settings, each in a folder of its own, and what they take over from each other: a name in, a run
out. Trains nothing.

    DIR/corpus/               the drawn demo corpus, for all
    DIR/seed0/base/           the run's own settings: most rows of most tables
    DIR/seed0/keep-0.5/       another encoder
    DIR/seed0/frame/          the encoder of base, other features
    DIR/seed0/epoch-12/       the encoder of base as it was then
    DIR/seed0/mt5/            the encoder and the cache of base, another LLM
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slt_cache.config import Config, check_config
from slt_cache.corpora.registry import corpus_of
from slt_cache.files import replacing
from slt_cache.pipeline.train_from_video import epoch_folder
from slt_cache.reproduce.tables import BASE, kept_epochs
from slt_cache.runs.run import Run
from slt_cache.runs.variants import MODELS
from slt_cache.text.families import small_family

MT5 = "mt5"
MT5_NAME = "google/mt5-base"
"""(table 10)"""
LEVELS = ("frame", "hidden")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one variant and seed."""

    root: Path
    seed: int
    variant: str
    llm_seed: int
    """The LLM is pre-trained once, with this seed, the config's; all take it over, as they would one from the hub."""

    @property
    def folder(self) -> Path:
        return self.root / f"seed{self.seed}" / self.variant

    def beside(self, variant: str) -> "RunFolder":
        return replace(self, variant=variant)

    @property
    def of_llm(self) -> "RunFolder":
        """Where the LLM of this variant is pre-trained."""
        return replace(self, seed=self.llm_seed, variant=MT5 if self.variant == MT5 else BASE)

    @property
    def of_encoder(self) -> "RunFolder":
        """Where the encoder of this variant is trained."""
        shares = self.variant in (*LEVELS, MT5) or self.variant.startswith("epoch-")
        return self.beside(BASE) if shares else self

    @property
    def of_cache(self) -> "RunFolder":
        """Where the features of this variant are extracted, and where the Light-T baseline over them stands."""
        return self.beside(BASE) if self.variant == MT5 else self


def folder_of(root: Path, seed: int, variant: str, config: Config) -> RunFolder:
    return RunFolder(root, seed, variant, config.seed)


def settings_of(place: RunFolder, config: Config, model: str = "llm") -> dict[str, Any]:
    """`section.key` -> value: what differs from the run's own settings."""
    own: dict[str, Any] = {
        "seed": place.seed,
        "llm_pretraining.seed": place.llm_seed,
        "visual_training.keep_epochs": list(kept_epochs(config)) if place.variant == BASE else [],
    }
    if corpus_of(config).is_drawn and config.corpus.root is None:
        own["corpus.root"] = str(place.root / "corpus")
    if config.video.frame_cache is True:
        own["video.frame_cache"] = str(place.root / "frames")
    name, _, value = place.variant.rpartition("-")
    if name == "keep":
        own["video.keep_rate"] = float(value)
    elif name == "light-t":
        own["light_t.size"] = value
    elif place.variant in LEVELS:
        own["features.level"] = place.variant
    elif place.variant == MT5:
        own["llm.name"] = "small-mt5" if small_family(config.llm.name) else MT5_NAME
    trained = MODELS[model]
    own.update(trained.settings)
    if trained.own_encoder and not trained.after_stage_1:  # it sees the clips as often as both stages together
        own["llm_training.epochs"] = config.visual_training.epochs + config.llm_training.epochs
    return own


def run_of(place: RunFolder, config: Config, model: str = "llm") -> Run:
    """The run of a variant with the settings that one of its models is trained with."""
    return Run(place.folder, with_settings(config, settings_of(place, config, model)))


def with_settings(config: Config, changes: Mapping[str, Any]) -> Config:
    """The settings with some of them changed. Raises InputError where they do not go together."""
    settings = config.model_dump(mode="json")
    for name, value in changes.items():
        *sections, key = name.split(".")
        section = settings
        for inner in sections:
            section = section[inner]
        section[key] = value
    return check_config(settings, ", ".join(f"{name}={value}" for name, value in changes.items()))


def linked_artifacts(place: RunFolder) -> dict[Path, Path]:
    """Path in the variant's folder -> where it is taken from, for what another variant has made already."""
    run, encoder, cache, llm, tokenizer = (
        Run(other.folder, Config())
        for other in (place, place.of_encoder, place.of_cache, place.of_llm, place.beside(BASE).of_llm)
    )
    name, _, epoch = place.variant.rpartition("-")
    paths = {
        run.tokenizer: tokenizer.tokenizer,
        run.pretrained / "best": llm.pretrained / "best",
        run.trimmed: llm.trimmed,
        run.visual / "best": epoch_folder(encoder.visual, int(epoch)) if name == "epoch" else encoder.visual / "best",
        run.features: cache.features,
    }
    return {here: there for here, there in paths.items() if here != there}


def link_artifacts(place: RunFolder) -> None:
    """Links (or copies, where the disk has no links) what others have made and is not here yet. Files that are taken
    over are never written to: everything in a run folder is replaced whole."""
    for here, there in linked_artifacts(place).items():
        if here.exists() or not there.exists():
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        with replacing(here) as temporary:
            if there.is_dir():
                shutil.copytree(there, temporary, copy_function=_link)
            else:
                _link(str(there), str(temporary))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

"""Variants of a run's settings, each in its own folder, and the artifacts that they share: a name in, a run out. Trains
nothing.

    DIR/corpus/               the drawn demo corpus, for all
    DIR/seed0/base/           the run's own settings: most rows of most tables
    DIR/seed0/keep-0.5/       another encoder
    DIR/seed0/frame/          the encoder of base, other features
    DIR/seed0/epoch-12/       the encoder of base as it was then
    DIR/seed0/mt5/            the encoder and the cache of base, another LLM
    DIR/seed0/lora/           the same LLM, trained otherwise
    DIR/seed0/with-signcl/    another loss of stage 1
    DIR/seed0/fraction-0.25/  both stages on a share of the train clips
    DIR/seed0/clips-100/      a smaller corpus, DIR/corpus-100, with an LLM and a tokenizer of its own
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slt_cache.config import Config, with_settings
from slt_cache.corpora.registry import corpus_of
from slt_cache.files import link_or_copy, replacing
from slt_cache.pipeline.train_from_video import epoch_folder
from slt_cache.reproduce.datasize import FRACTION
from slt_cache.reproduce.experiments import SMALL_MBART, VARIANTS_OF_LLM, own_settings
from slt_cache.reproduce.objectives import objective_settings, of_size, parts_of
from slt_cache.reproduce.tables import BASE, kept_epochs
from slt_cache.runs.run import Run
from slt_cache.runs.variants import MODELS
from slt_cache.text.families import small_family

MT5 = "mt5"
MT5_NAME = "google/mt5-base"
"""The mT5 of table 10."""
LEVELS = ("frame", "hidden")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one variant and seed."""

    root: Path
    seed: int
    variant: str
    llm_seed: int
    """Seed of the config, with which the LLM is pre-trained once; all runs share it like one from the hub."""

    @property
    def folder(self) -> Path:
        return self.root / f"seed{self.seed}" / self.variant

    def with_variant(self, variant: str) -> "RunFolder":
        return replace(self, variant=variant)

    @property
    def of_llm(self) -> "RunFolder":
        """Folder in which the LLM of this variant is pre-trained."""
        own = self.variant if self.variant in (MT5, SMALL_MBART) else of_size(self.variant)
        return replace(self, seed=self.llm_seed, variant=own)

    @property
    def of_tokenizer(self) -> "RunFolder":
        """Folder with the tokenizer of a small LLM, which MBart and mT5 share."""
        return self.of_llm if self.variant == SMALL_MBART else self.with_variant(of_size(self.variant)).of_llm

    @property
    def of_encoder(self) -> "RunFolder":
        """Folder in which the encoder of this variant is trained."""
        shares = self.variant in (*LEVELS, MT5, *VARIANTS_OF_LLM) or self.variant.startswith("epoch-")
        return self.with_variant(BASE) if shares else self

    @property
    def of_cache(self) -> "RunFolder":
        """Folder with the features of this variant and the Light-T baseline trained on them."""
        return self.with_variant(BASE) if self.variant in (MT5, *VARIANTS_OF_LLM) else self


def folder_of(root: Path, seed: int, variant: str, config: Config) -> RunFolder:
    return RunFolder(root, seed, variant, config.seed)


def settings_of(place: RunFolder, config: Config, model: str = "llm") -> dict[str, Any]:
    """Returns the settings that differ from the run's own, by `section.key`."""
    own: dict[str, Any] = {
        "seed": place.seed,
        "llm_pretraining.seed": place.llm_seed,
        "visual_training.keep_epochs": list(kept_epochs(config)) if place.variant == BASE else [],
    }
    clips, _ = parts_of(place.variant)
    size = "" if clips is None else f"-{clips}"
    if corpus_of(config).is_drawn and config.corpus.root is None:
        own["corpus.root"] = str(place.root / f"corpus{size}")
    if config.video.frame_cache is True:
        own["video.frame_cache"] = str(place.root / f"frames{size}")
    name, _, value = place.variant.rpartition("-")
    if name == "keep":
        own["video.keep_rate"] = float(value)
    elif name == FRACTION:
        own["corpus.fraction"] = float(value)
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
    return own | own_settings(place.variant, config) | objective_settings(place.variant, config)


def run_of(place: RunFolder, config: Config, model: str = "llm") -> Run:
    """Returns the run of a variant with the settings for training one of its models."""
    return Run(place.folder, with_settings(config, settings_of(place, config, model)))


def linked_artifacts(place: RunFolder) -> dict[Path, Path]:
    """Returns the artifacts of other variants that this one uses: path in its folder -> path of the original."""
    run, encoder, cache, llm, tokenizer = (
        Run(other.folder, Config())
        for other in (place, place.of_encoder, place.of_cache, place.of_llm, place.of_tokenizer)
    )
    name, _, epoch = place.variant.rpartition("-")
    paths = {
        run.tokenizer: tokenizer.tokenizer,
        run.pretrained / "best": llm.pretrained / "best",
        run.trimmed: llm.trimmed,
        run.prompted: llm.prompted,
        run.initial: llm.initial,
        run.visual / "best": epoch_folder(encoder.visual, int(epoch)) if name == "epoch" else encoder.visual / "best",
        run.features: cache.features,
    }
    return {target: source for target, source in paths.items() if target != source}


def link_artifacts(place: RunFolder) -> None:
    """Links missing artifacts (or copies them, if the disk has no links). Linked files are never written to: everything
    in a run folder is replaced as a whole."""
    for target, source in linked_artifacts(place).items():
        if target.exists() or not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            link_or_copy(source, temporary)

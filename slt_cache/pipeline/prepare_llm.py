"""Preparation of the LLM before stage 2: its tokenizer, which stage 1 needs too, trimming it, or making a small one."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from slt_cache.batches.denoising import NoisyText
from slt_cache.batches.sampler import Shard
from slt_cache.checkpoints.named_files import content_of
from slt_cache.checkpoints.record import OtherSettings, Record, read_record, whole_record
from slt_cache.checkpoints.translator import save_seq2seq
from slt_cache.config import LlmPretrainingConfig, LoraConfig, differences
from slt_cache.corpora.base import MONOLINGUAL_FILE, SPLITS, Clip, of_split
from slt_cache.corpora.own_table import read_sentences
from slt_cache.corpora.registry import language_code
from slt_cache.distributed.processes import join, main_process_first, rank, size
from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.llm.small import make_small
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.init_llm import InitialTranslator, ensure_initial, initial_translator, unknown_characters
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.run_stage import run_stage
from slt_cache.pipeline.stage_1_tokenizer import require_tokenizer_of_stage_1
from slt_cache.pipeline.stages import Stage
from slt_cache.pipeline.trim_llm import REPORT_FILE, summary, trim_llm
from slt_cache.progress import log
from slt_cache.runs.derived import Derived
from slt_cache.runs.llm_folders import require_whole_llm
from slt_cache.runs.outdated import log_outdated_by_pretraining
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import PRETRAINING
from slt_cache.text.families import small_family, small_names, small_positions
from slt_cache.text.prompt import has_prompt, prompt_texts, with_prompt
from slt_cache.text.tokenizer import Tokenizer, characters_of, load_inner, load_tokenizer, train_tokenizer
from slt_cache.training.tasks.denoising import DenoisingTask

UNNAMED = "small-mbart"
"""Name of the small LLM in records that do not name it, since it was once the only one."""


def pretraining_text(run: Run, clips: Sequence[Clip]) -> list[str]:
    """Returns sentences without video: those of the file in the settings, else the corpus' monolingual ones, else those
    of the train split. Raises InputError if the file is missing or empty."""
    named = run.config.llm_pretraining.text
    path = Path(named) if named is not None else run.corpus / MONOLINGUAL_FILE
    if named is None and not path.is_file():
        return [clip.text for clip in of_split(clips, "train")]
    return read_sentences(path, "llm_pretraining.text", log)


def ensure_llm(run: Run, clips: Sequence[Clip], derived: Derived, prompted: bool = False) -> str:
    """Returns the folder or hub name of an LLM made elsewhere, trimmed to the train split's sentences if the settings
    say so (paper, 4.3); `prompted` keeps the tokens of the prompt too. With llm.init_from
    it is that of the run's copy."""
    llm = run.config.llm
    if llm.init_from is not None:
        return str(ensure_initial(run, derived))
    require_whole_llm(llm.name)
    if not llm.trim:
        return llm.name
    train, *others = ([clip.text for clip in of_split(clips, split)] for split in SPLITS)
    settings = {"name": _content(run), "keep_characters": llm.keep_characters, "text_sha256": _sha256(train)}
    place = run.prompted if prompted else run.trimmed
    settings |= {"prompt": llm.prompt, "chat_template": llm.chat_template} if prompted else {}

    def trim(folder: Path) -> None:
        prompts = prompt_texts(load_inner(llm.name), llm) if prompted else ()
        log(f"trimming {llm.name} to the {len(train):,} sentences of train")
        held_out = dict(zip(SPLITS[1:], others, strict=True))
        report = trim_llm(llm.name, train, held_out, folder, llm.keep_characters, prompts)
        report = replace(report, out=str(place))
        write_json(folder / REPORT_FILE, report.to_json())
        log(summary(report))

    return str(derived.ensure(place, "trimming", settings, trim))


@dataclass(frozen=True)
class Llm:
    """LLM of the run, made when a training needs it."""

    tokenizer: Tokenizer
    made_of: dict[str, Any]
    """Origin of the LLM, for the record."""
    make_whole: Callable[[], Any]
    """Function that makes the LLM, a PreTrainedModel."""
    lora: LoraConfig | None
    initial: InitialTranslator | None = None
    """The translator that it comes from (llm.init_from)."""

    def make(self) -> Any:
        """Makes the LLM, a PreTrainedModel, with LoRA if the settings say so."""
        seq2seq = self.make_whole()
        if self.lora is not None:
            add_lora(seq2seq, self.lora)
        return seq2seq

    def translator(self, dim: int, **dropouts: Any) -> SignTranslator:
        """Makes the translator of the LLM and an adapter for features of `dim` channels, fresh or from `initial`."""
        model = SignTranslator(dim, self.make(), self.tokenizer.start, before=self.tokenizer.before, **dropouts)
        return model if self.initial is None else self.initial.load_into(model)

    def begins(self, sentences: Iterable[str]) -> list[str]:
        """Returns lines that say what comes from `initial`, and which characters of the sentences it does not know."""
        if self.initial is None:
            return []
        return [self.initial.summary, *unknown_characters(self.tokenizer, sentences)]


def llm_of(
    run: Run,
    clips: Sequence[Clip],
    derived: Derived,
    *,
    dim: int,
    saves: bool,
    check: Callable[[Tokenizer], None] | None = None,
) -> Llm:
    """Returns the run's LLM for features of `dim` channels, trimming or pre-training it if needed. `saves` says that
    the training saves these settings as the run's; `check` refuses what does not fit the tokenizer, before an LLM is
    pre-trained."""
    initial = None
    if run.config.llm.init_from is not None:
        folder = main_process_first(lambda: ensure_initial(run, derived))
        initial = initial_translator(run.config, folder, dim)
    try:
        tokenizer = main_process_first(lambda: ensure_tokenizer(run, clips, derived))
    except OtherSettings:
        require_tokenizer_of_stage_1(run, None, derived, saves)
        raise
    require_tokenizer_of_stage_1(run, tokenizer, derived, saves)
    if has_prompt(run.config.llm):
        named = main_process_first(lambda: ensure_llm(run, clips, derived, prompted=True))
        tokenizer = with_prompt(load_tokenizer(named, language_code(run.config)), run.config.llm)
    if check is not None:
        check(tokenizer)
    made_of, make = _whole_llm(run, clips, tokenizer, derived, initial)
    return Llm(tokenizer, made_of, make, run.config.llm.lora, initial)


def _whole_llm(
    run: Run, clips: Sequence[Clip], tokenizer: Tokenizer, derived: Derived, initial: InitialTranslator | None
) -> tuple[dict[str, Any], Callable[[], Any]]:
    llm, dropout = run.config.llm, run.config.llm_training.dropout
    named = {"name": _content(run)} if initial is None else initial.recorded
    settings: dict[str, Any] = {"llm": {**llm.recorded(), **named}}
    if small_family(llm.source) is None:
        name = ensure_llm(run, clips, derived, has_prompt(llm))
        return settings, partial(load_seq2seq, name, llm.pretrained, dropout, tokenizer)
    if llm.pretrained:
        if llm.lora is not None:  # wrong targets should not cost a pre-training
            add_lora(_small_llm(llm.name, run.config.llm_pretraining, tokenizer), llm.lora)
        settings["pretraining"] = _pretrained(replace(run, on_the_way=True), clips, tokenizer, derived).settings
        return settings, partial(load_seq2seq, str(run.pretrained / "best"), dropout=dropout)
    shape = run.config.llm_pretraining
    settings["pretraining"] = shape.model_dump(include={"layers", "heads", "hidden", "feed_forward", "dropout"})
    if dropout is not None:
        shape = shape.model_copy(update={"dropout": dropout})
    return settings, partial(_small_llm, llm.name, shape, tokenizer)


def _content(run: Run) -> str:
    """Returns how records identify the LLM."""
    return content_of(run.config.llm.name, whole_record(run.trimmed))


def _small_llm(name: str, shape: LlmPretrainingConfig, tokenizer: Tokenizer) -> Any:
    """Makes a small LLM with fresh weights, a PreTrainedModel."""
    return make_small(name, shape, len(tokenizer), tokenizer.pad, tokenizer.eos, tokenizer.language_code())


def _pretrained(run: Run, clips: Sequence[Clip], tokenizer: Tokenizer, derived: Derived) -> Record:
    """Pre-trains the small LLM if needed; again for a restarted stage, if its text or settings have changed."""
    made, stage = read_record(run.pretrained / BEST), _stage(run, clips, tokenizer, derived)
    outdated = made is not None and bool(differences(made.settings, stage.settings))
    return run_stage(stage, restart=derived.restart and outdated)


def ensure_tokenizer(run: Run, clips: Sequence[Clip], derived: Derived) -> Tokenizer:
    """Returns the tokenizer of the run's LLM, training that of a small one if needed."""
    llm, language = run.config.llm, language_code(run.config)
    if small_family(llm.source) is None:
        return load_tokenizer(ensure_llm(run, clips, derived), language)
    sentences = pretraining_text(run, clips)
    settings = {
        "text_sha256": _sha256(sentences),
        "vocabulary": run.config.llm_pretraining.vocabulary,
        "language": language,
    }
    characters = characters_of(clip.text for clip in of_split(clips, "train")) - characters_of(sentences)
    if characters:
        settings["characters"] = "".join(sorted(characters))

    def make(folder: Path) -> None:
        log(f"training sentencepiece on {len(sentences):,} sentences")
        if characters:
            log(f"only the train split has the characters {' '.join(sorted(characters))}; each gets a token")
        vocabulary = run.config.llm_pretraining.vocabulary
        train_tokenizer(sentences, vocabulary, language, folder, "".join(sorted(characters)))

    return load_tokenizer(str(derived.ensure(run.tokenizer, "tokenizer", settings, make)), language)


def small_llm(run: Run) -> str:
    """Returns the name of the LLM that the run pre-trains. Raises InputError if it is not a small one."""
    name = run.config.llm.source
    if small_family(name) is None:
        raise InputError(
            f"llm.{'name' if run.config.llm.init_from is None else 'init_from'} {name}: only "
            f"{' and '.join(small_names())} are pre-trained here. Set llm.name to one of them, and no llm.init_from."
        )
    return name


def pretrain(run: Run, clips: Sequence[Clip], restart: bool = False) -> Record:
    """Pre-trains the small MBart or mT5 into `llm/pretrained/best`, a `from_pretrained` folder. Raises InputError for
    settings that name another LLM."""
    small_llm(run)
    require_resources(run, run.config.llm_pretraining)
    join()
    with Derived(run, run.command("llm pretrain"), restart) as derived:
        tokenizer = main_process_first(lambda: ensure_tokenizer(run, clips, derived))
        require_tokenizer_of_stage_1(run, tokenizer, derived, saves=True)
        record = run_stage(_stage(run, clips, tokenizer, derived), restart)
    log_outdated_by_pretraining(run)
    return record


@dataclass(frozen=True)
class PretrainingStage(Stage):
    """Stage of pre-training, in which the small LLM learns to restore sentences; its run has the seed of
    pre-training."""

    sentences: Sequence[str]
    tokenizer: Tokenizer

    @property
    def loop(self) -> LlmPretrainingConfig:
        return self.run.config.llm_pretraining

    @property
    def evaluate_every(self) -> int:
        return self.loop.epochs

    @cached_property
    def settings(self) -> dict[str, Any]:
        name = small_llm(self.run)
        return {
            "seed": self.run.config.seed,
            "llm_pretraining": self.loop.recorded(),
            "language": language_code(self.run.config),
            "text_sha256": _sha256(self.sentences),
            "tokenizer_sha256": self.tokenizer.sha256,
            **({} if name == UNNAMED else {"name": name}),
        }

    def make_task(self, device: torch.device) -> DenoisingTask:
        name, loop = small_llm(self.run), self.loop
        model = _small_llm(name, loop, self.tokenizer)
        text = NoisyText(
            self.sentences,
            self.tokenizer,
            batch_size=loop.batch_size,
            seed=self.run.config.seed,
            mask_ratio=loop.mask_ratio,
            span_mean=loop.span_mean,
            permute_sentences=loop.permute_sentences,
            shard=Shard(rank(), size()),
        )
        if (positions := small_positions(name)) is not None:
            text.require_positions(positions)
        return DenoisingTask(model, text, loop, partial(self.save_best, model))

    def save_best(self, model: Any, epoch: int, dev: dict[str, float]) -> None:
        save_seq2seq(self.unfinished.best, model, self.tokenizer, self.record_of(epoch, dev))


def _stage(run: Run, clips: Sequence[Clip], tokenizer: Tokenizer, derived: Derived) -> PretrainingStage:
    seed = run.config.llm_pretraining.seed
    config = run.config if seed is None else run.config.model_copy(update={"seed": seed})
    seeded = replace(run, config=config, lasting=run.lasting or run.config)
    return PretrainingStage(seeded, PRETRAINING, derived, pretraining_text(run, clips), tokenizer)


def _sha256(sentences: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sentences).encode()).hexdigest()

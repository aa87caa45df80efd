"""`llm.init_from`: stage 2 begins with the LLM, LoRA weights, adapter and tokenizer of another run's stage 2.

The run keeps a copy of the other's folder (hard links, where the file system allows), so that a training resumes
without the other run."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.end_to_end import LLM_FOLDER
from slt_cache.checkpoints.named_files import trained_content
from slt_cache.checkpoints.record import read_record, whole_record
from slt_cache.config import Config, LlmConfig, LlmTrainingConfig, LoraConfig, TemporalConfig, differences
from slt_cache.corpora.registry import language_code
from slt_cache.errors import InputError
from slt_cache.files import link_or_copy
from slt_cache.folders import TEMPORARY
from slt_cache.hashes import EDITABLE, RECORD_FILE, require_whole
from slt_cache.models.saved import (
    ABOUT_FILE,
    LORA_FOLDER,
    About,
    dtype_of,
    has_base,
    load_adapter,
    load_lora,
    read_about,
    translator_folder,
)
from slt_cache.models.translators import SignTranslator
from slt_cache.runs.derived import Derived
from slt_cache.runs.llm_folders import translator_in
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.runs.variants import Variant
from slt_cache.text.families import continues_text
from slt_cache.text.prompt import has_prompt, shown_prompts, with_prompt
from slt_cache.text.tokenizer import PREFIX_FILE, Tokenizer, as_llm_reads_it, load_tokenizer, without_prompt

SETTING = "llm.init_from"
DECIDE_PROMPT = ("init_from", "prompt", "chat_template", "init_without")
"""Settings that decide which prompt is read."""
SHOWN = 40
"""Number of unknown characters that are shown."""


@dataclass(frozen=True)
class InitialTranslator:
    """Translator of another run that stage 2 begins with; it fits, but for the parts that the settings omit."""

    name: str
    """Value of llm.init_from."""
    folder: Path
    about: About
    without: tuple[str, ...]
    """Parts that are not taken (llm.init_without)."""
    adapts: bool
    """Whether this run trains LoRA weights."""
    dtype: str
    """Data type of the LLM's weights in this run (llm.dtype)."""
    tokenizer: Tokenizer
    """Its tokenizer, with the prompt that this run reads."""

    @property
    def takes_lora(self) -> bool:
        return (self.folder / LORA_FOLDER).is_dir() and "lora" not in self.without

    @property
    def has_prompt(self) -> bool:
        return _continues(self.tokenizer, self.folder) and bool(shown_prompts(self.tokenizer))

    @property
    def summary(self) -> str:
        """One line that names what is taken and what starts fresh."""
        lora = f"LoRA weights (r {self.about.lora['r']})" if self.takes_lora and self.about.lora else ""
        there = str(dtype_of(self.folder)).removeprefix("torch.")
        llm = "LLM" if there == self.dtype else f"LLM in {self.dtype} (its weights are {there})"
        prompt = "prompt" if self.has_prompt and "prompt" not in self.without else ""
        taken = [llm, lora, "" if "adapter" in self.without else "adapter", "tokenizer", prompt]
        fresh = [
            "adapter" if "adapter" in self.without else "",
            "LoRA" if self.adapts and not self.takes_lora else "",
            "prompt" if "prompt" in self.without else "",
        ]
        begins = "; fresh: ".join(filter(None, (", ".join(filter(None, parts)) for parts in (taken, fresh))))
        return f"stage 2 begins with {self.name} (fine-tuned from {self.about.llm}): {begins}"

    @property
    def recorded(self) -> dict[str, str]:
        """What records call the LLM, from the run's copy of the translator."""
        copied = read_record(self.folder)
        assert copied is not None
        return {"name": self.about.llm, "init_from": copied.settings["init_from"]}

    def load_into(self, model: SignTranslator) -> SignTranslator:
        """Loads the LoRA weights and the adapter into a model of the LLM; returns the model."""
        if self.takes_lora:
            load_lora(self.folder / LORA_FOLDER, model.seq2seq)
        if "adapter" not in self.without:
            load_adapter(self.folder, model)
        return model


def initial_translator(
    config: Config, folder: Path, dim: int | Sequence[int], streams: Sequence[str] = (), begun: Path | None = None
) -> InitialTranslator:
    """Returns the translator in a folder, for a training on features of `dim` channels, or on these streams. Raises
    InputError that names the parts which do not fit, unless llm.init_without lists them. `begun` holds the weights so
    far of a training to resume, which keeps its prompt."""
    dims = [dim] if isinstance(dim, int) else list(dim)
    llm, about = config.llm, read_about(folder)
    tokenizer = _tokenizer(llm, folder, language_code(config))
    if begun is not None and (begun / PREFIX_FILE).is_file():  # an earlier version may have read the prompt otherwise
        tokenizer = load_tokenizer(str(begun), language_code(config))
    has_lora = (folder / LORA_FOLDER).is_dir()
    problems = {
        "adapter": _other_adapter(about, config.llm_training, dims, streams),
        "lora": _other_lora(about, llm.lora) if has_lora else "",
        "language": _if_other("", about.language, language_code(config)),
        "prompt": ""
        if begun is not None
        else _other_prompt(load_tokenizer(str(folder), about.language), tokenizer, folder),
    }
    found = {part: problem for part, problem in problems.items() if problem and part not in llm.init_without}
    if found:
        parts = json.dumps([*llm.init_without, *found]).replace(" ", "")
        raise InputError(
            f"{SETTING} {llm.init_from}: does not fit ({'; '.join(f'{part}: {why}' for part, why in found.items())}). "
            f"Change the settings of this run, or start these parts fresh: --set 'llm.init_without={parts}'"
        )
    return InitialTranslator(
        str(llm.init_from), folder, about, llm.init_without, llm.lora is not None, llm.dtype, tokenizer
    )


def begun_in(run: Run, variant: Variant, initial: Path) -> Path | None:
    """Returns the folder for the weights so far of the run's training of a model, if it was begun with the prompt of
    the settings and the translator in `initial`, the run's copy; else None."""
    folder, copied = run.folder / variant.name, read_record(initial)
    asked = {**run.config.llm.recorded(), **({} if copied is None else copied.settings)}
    unfinished = Unfinished(folder)
    for record, best in ((unfinished.record, unfinished.best), (read_record(folder / BEST), folder / BEST)):
        made = {} if record is None else record.settings.get("llm", {})
        if made and all(made.get(key) == asked.get(key) for key in DECIDE_PROMPT):
            return best / LLM_FOLDER if variant.own_encoder else best
    return None


def _tokenizer(llm: LlmConfig, folder: Path, language: str | None) -> Tokenizer:
    """Returns the tokenizer of a translator with its own prompt; with that of the settings if they have one, or if
    llm.init_without lists the prompt."""
    own, prompted = load_tokenizer(str(folder), language), has_prompt(llm)
    if not prompted and "prompt" not in llm.init_without:
        return own
    alone = without_prompt(own.inner, str(folder), language)
    return with_prompt(alone, llm) if prompted else alone


def _continues(tokenizer: Tokenizer, folder: Path) -> bool:
    return continues_text(tokenizer.inner, str(folder))


def _other_prompt(there: Tokenizer, here: Tokenizer, folder: Path) -> str:
    if not _continues(here, folder):
        return ""
    prompts = [" and ".join(map(repr, shown_prompts(one))) or "none" for one in (there, here)]
    return _if_other("", *prompts)


def _if_other(what: str, there: object, here: object) -> str:
    return "" if there == here else f"{what} {there} there, {here} here".lstrip()


def _other_adapter(about: About, asked: LlmTrainingConfig, dims: list[int], streams: Sequence[str]) -> str:
    sizes = " and ".join(map(str, about.dims)), " and ".join(map(str, dims))
    fused = " and ".join(about.streams), " and ".join(streams)
    problems = [
        _if_other("features of size", *sizes),
        "" if sizes[0] != sizes[1] else _if_other("streams", *fused),
        _if_other("temporal module", _shown(about.temporal), _shown(asked.temporal)),
        _if_other("stream_fusion", about.stream_fusion, asked.stream_fusion) if streams and about.streams else "",
    ]
    return "; ".join(filter(None, problems))


def _shown(temporal: TemporalConfig | None) -> str:
    return "none" if temporal is None else f"of kernel {temporal.kernel} and stride {temporal.stride}"


def _other_lora(about: About, asked: LoraConfig | None) -> str:
    if asked is None:
        return "trained with LoRA, and llm.lora is null here (slt-cache llm merge merges LoRA into an LLM)"
    made = LoraConfig.model_validate(about.lora).model_dump(exclude={"dropout"})
    return "; ".join(differences(made, asked.model_dump(exclude={"dropout"})))


def ensure_initial(run: Run, derived: Derived) -> Path:
    """Returns the run's copy of the folder that llm.init_from names. Raises InputError if it has to be made and the
    folder is missing, damaged or no trained translator."""
    name = str(run.config.llm.init_from)
    settings = {"init_from": trained_content(name, whole_record(run.initial))}
    folder = derived.ensure(run.initial, "the initial translator", settings, lambda place: _copy(find(name), place))
    require_whole(folder)
    return folder


def find(name: str) -> Path:
    """Returns the folder of a trained translator, by path or hub name. Raises InputError if it is missing, damaged or
    no such folder."""
    try:
        folder = translator_folder(name)
    except InputError as error:
        raise InputError(f"{SETTING} {error}") from error
    record = read_record(folder)
    if not (folder / ABOUT_FILE).is_file() or (record is not None and not record.finished):
        within = translator_in(folder)
        meant = "" if within is None else f" Did you mean {within}?"
        raise InputError(
            f"{SETTING} {name}: no finished translator of stage 2 (no {ABOUT_FILE}, or unfinished).{meant} Name "
            f"llm/best of a run, or a copy of it. A model that stage 2 has not trained is named by llm.name."
        )
    require_whole(folder)
    if not has_base(folder):
        raise InputError(
            f"{SETTING} {name}: exported without the LLM that its LoRA adapts (--without-base), so stage 2 cannot "
            "begin with it. Name llm/best of the run that it comes from, or export it again without that option."
        )
    return folder


def _copy(source: Path, place: Path) -> None:
    """Links or copies the files of a translator, without its record and model card."""
    place.mkdir(parents=True)
    for path in source.iterdir():
        if (
            path.name not in (RECORD_FILE, *EDITABLE)
            and not path.name.startswith(".")
            and not path.name.endswith(TEMPORARY)
        ):
            link_or_copy(path.resolve(), place / path.name)  # a download from the hub consists of symbolic links


def unknown_characters(tokenizer: Tokenizer, sentences: Iterable[str]) -> list[str]:
    """Returns a line that counts the sentences with characters unknown to the tokenizer, if there are any."""
    read = [as_llm_reads_it(sentence) for sentence in sentences]
    changed = {one: back for one in read if (back := tokenizer.decode(tokenizer.encode(one))) != one}
    lost = sorted({character for one, back in changed.items() for character in set(one) - set(back) - {" "}})
    if not lost:
        return []
    more = f" and {len(lost) - SHOWN:,} more" if len(lost) > SHOWN else ""
    count = sum(bool(set(one) & set(lost)) for one in changed)
    return [
        f"{count:,} of {len(read):,} train sentences have characters that the tokenizer of {SETTING} does not know: "
        f"{' '.join(lost[:SHOWN])}{more}"
    ]

"""Checks on `llm.name`: it must be at hand, and no folder, local or on the hub, of which only a part would be used."""

from contextlib import suppress
from pathlib import Path

from slt_cache.checkpoints.record import Record
from slt_cache.config import Config
from slt_cache.corpora.registry import language_code
from slt_cache.errors import InputError
from slt_cache.models.llm.load import read_config, without_weights
from slt_cache.models.llm.lora import require_targets
from slt_cache.models.saved import ABOUT_FILE, ADAPTER_FILE, LORA_FOLDER, has_base
from slt_cache.models.saved_lora import IDS_FILE
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import LLM, MODELS, PRETRAINING
from slt_cache.text.families import is_made_here
from slt_cache.text.pretrained import CONFIG_FILE, loading
from slt_cache.text.prompt import all_prompt_texts, has_prompt
from slt_cache.text.tokenizer import load_tokenizer

PEFT_FILE = "adapter_config.json"
"""File of peft's LoRA weights, which need a model from elsewhere."""
SETTING = "llm.name"
"""Setting of a training that names the LLM; `llm trim` takes an option."""
ITS_LLM = f"the LLM that it was fine-tuned from ({ABOUT_FILE} there says which)"


def require_whole_llm(name: str, setting: str = SETTING) -> None:
    """Raises InputError if the folder or hub name is a translator saved by stage 2, whose adapter and LoRA would be
    dropped, or only LoRA weights."""
    if _holds(name, ABOUT_FILE) or _holds(name, ADAPTER_FILE) or (Path(name) / LORA_FOLDER).is_dir():
        then = "Name"
        if not _has_base(name):
            then = "It was exported without its LLM, so stage 2 cannot start with it. Name"
        elif setting == SETTING:
            then = f"To start stage 2 with all of it, set llm.init_from={name}. Or name"
        raise InputError(
            f"{setting} {name}: a translator trained in stage 2. Only its LLM would be used, and its adapter and LoRA "
            f"silently dropped. {then} {ITS_LLM}."
        )
    if _holds(name, PEFT_FILE):
        raise InputError(
            f"{setting} {name}: only LoRA weights ({PEFT_FILE}), not a whole LLM. Merge them into their model with "
            "peft's merge_and_unload, save the result with save_pretrained, and use its folder."
        )
    _require_no_run(Path(name), setting)


def translator_in(folder: Path) -> Path | None:
    """Returns the translator within a run, or within one of the folders of its trainings; None if there is none."""
    of_run = [f"{one.name}/{BEST}" for one in MODELS.values() if one.llm]
    places = (BEST, f"{BEST}/{LLM.name}", LLM.name, *of_run, *(f"{one}/{LLM.name}" for one in of_run))
    return next((folder / place for place in places if (folder / place / ABOUT_FILE).is_file()), None)


def _require_no_run(folder: Path, setting: str) -> None:
    """Raises InputError for a folder that holds no LLM itself but a run's, naming the folder that can be used."""
    if (folder / CONFIG_FILE).is_file():
        return
    if (within := translator_in(folder)) is not None:
        then = f"To start stage 2 with the translator that it has trained, set llm.init_from={within} instead."
        if setting != SETTING:
            then = f"Its translator is {within}. Name {ITS_LLM}."
        raise InputError(f"{setting} {folder}: not an LLM, but what a run holds. {then}")
    held = (f"{PRETRAINING.name}/{BEST}", f"{LLM.name}/trimmed")
    for place in (*held, *(one.removeprefix(f"{LLM.name}/") for one in held), BEST):
        if (folder / place / CONFIG_FILE).is_file():
            raise InputError(f"{setting} {folder}: not an LLM, but it holds one. Use {folder / place}.")


def require_at_hand(run: Run) -> None:
    """Raises InputError if a training could not load its LLM's config and tokenizer: neither a folder nor available
    from the hub, or no LLM. One that is made here, or was trimmed for the run, needs no other."""
    llm, saved = run.config.llm, run.saved_config()
    is_own = saved is not None and saved.llm.name == llm.name
    if llm.init_from is not None or is_made_here(llm.name) or (is_own and (run.trimmed / CONFIG_FILE).is_file()):
        return
    require_whole_llm(llm.name)
    require_usable(run.config)


def require_usable(config: Config) -> None:
    """Raises InputError for an LLM that cannot be trained with these settings: it cannot be loaded, is of neither kind,
    or has no end token, no such language, no chat template, or not the layers that LoRA shall adapt. Reads no
    weights."""
    llm, language, pretraining = config.llm, language_code(config), config.llm_pretraining
    with loading(llm.name):
        own = read_config(llm.name)
    inner = load_tokenizer(llm.name, language).inner
    if has_prompt(llm):
        all_prompt_texts(inner, llm, language)
    adapted = [llm.lora, pretraining.lora if pretraining.adapts else None]
    for lora in filter(None, adapted):
        with loading(llm.name):
            require_targets(without_weights(own), lora)


def trimmed_ids(run: Run, record: Record) -> Path | None:
    """Returns the file that says which tokens of its LLM a finished training kept; None if all. Raises InputError for
    an LLM that nobody else can have, whatever is kept of it: trained on text in the run, or in stage 2 of another."""
    llm, without = record.settings["llm"], "--without-base: the LLM under LoRA"
    if "pretraining" in record.settings or "init_from" in llm:
        why = "was trained on text in this run" if "pretraining" in record.settings else "is that of another training"
        raise InputError(f"{without} {why}, so there is no other copy of it. Omit the option.")
    if not llm.get("trim", False):
        return None
    wanted, language = record.settings["tokenizer_sha256"], record.settings["language"]
    for folder in (run.trimmed, run.prompted):
        if (folder / IDS_FILE).is_file() and load_tokenizer(str(folder), language).sha256 == wanted:
            return folder / IDS_FILE
    raise InputError(f"{without} was trimmed, and {run.trimmed} is gone or another one. Omit the option.")


def _has_base(name: str) -> bool:
    """Returns whether a translator, in a folder or on the hub, holds the weights of its LLM, of which none are
    downloaded."""
    if Path(name).is_dir() or not _holds(name, f"{LORA_FOLDER}/{PEFT_FILE}"):
        return has_base(Path(name))
    from transformers.utils.hub import has_file

    with suppress(OSError, ValueError):
        return any(has_file(name, file) for file in ("model.safetensors", "model.safetensors.index.json"))
    return False


def _holds(name: str, file: str) -> bool:
    if Path(name).is_dir():
        return (Path(name) / file).is_file()
    from transformers.utils.hub import cached_file

    try:
        quiet = dict.fromkeys(("missing_entries", "connection_errors", "gated_repo"), False)
        found = cached_file(name, file, **{f"_raise_exceptions_for_{kind}": value for kind, value in quiet.items()})
    except (OSError, ValueError):
        return False  # no such model: loading it says so
    return found is not None

"""Settings of stage 2 that would give stage 1 another tokenizer, since Light-T shares that of the LLM."""

import json

from slt_cache.advice import command
from slt_cache.checkpoints.record import whole_record
from slt_cache.corpora.registry import language_code
from slt_cache.errors import InputError
from slt_cache.runs.begin_from import is_of_other_run
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import value_of
from slt_cache.runs.unfinished import BEST
from slt_cache.text.tokenizer import Tokenizer

DECIDE_TOKENIZER = (
    *(f"llm.{name}" for name in ("name", "language", "trim", "keep_characters", "init_from")),
    *(f"llm_pretraining.{name}" for name in ("objective", "text", "sentences", "vocabulary")),
)
"""Settings that stage 1 shares with the LLM."""
QUOTE = '"'


def require_tokenizer_of_stage_1(run: Run, tokenizer: Tokenizer | None, derived: Derived, saves: bool) -> None:
    """Raises InputError if this command line's settings give the LLM another tokenizer than stage 1 was trained with. A
    training that `saves` them, or replaces the tokenizer, would outdate stage 1. In a run started from another, stage 1
    is the other's and stays; and a stage 1 that was trained before llm.init_from was set keeps its tokenizer. No
    `tokenizer` means one that surely differs."""
    if run.config.llm.init_from is not None:
        return
    made = whole_record(run.visual / BEST)
    if made is None or not (saves or derived.replaces) or is_of_other_run(run.folder, run.visual.name):
        return
    saved, sha256 = run.saved_config(), None if tokenizer is None else tokenizer.sha256
    if saved is None or made.settings["tokenizer"] == {"language": language_code(run.config), "sha256": sha256}:
        return
    before, asked = (one.model_dump(mode="json") for one in (saved, run.lasting or run.config))
    changed = [name for name in DECIDE_TOKENIZER if value_of(before, name) != value_of(asked, name)]
    if not changed:
        return  # the text has changed; `outdated` logs what that affects
    words = [f"{name}={json.dumps(value_of(asked, name), ensure_ascii=False).strip(QUOTE)}" for name in changed]
    other = command("train-llm", **{"from": run.folder}, run="NEW", set=words)
    raise InputError(
        f"{', '.join(changed)}: gives another tokenizer than stage 1 of {run.folder} was trained with, so "
        f"stage 1 would have to be trained again. To keep it, train the LLM in a new run on its features: {other}"
    )

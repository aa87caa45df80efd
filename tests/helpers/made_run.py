"""A run with all its weights, which are random: nothing is trained, but everything is read as if it were."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.end_to_end import save_end_to_end
from slt_cache.checkpoints.named_files import content_of
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.translator import save_llm
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, new_visual_translator, save_visual
from slt_cache.config import Config, load_config, save_config
from slt_cache.encoders.command import CommandEncoder
from slt_cache.encoders.registry import open_encoder
from slt_cache.features.spec import FeatureSpec
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import SignTranslator, VisualTranslator
from slt_cache.pipeline.trim_llm import trim_llm
from slt_cache.runs.encoders import record_encoder
from slt_cache.runs.run import Run
from slt_cache.text.prompt import has_prompt, with_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.commands import TINY
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm


def make_run(
    run: Path,
    family: str,
    *settings: str,
    joint: bool = False,
    streams: Mapping[str, Sequence[str]] | None = None,
    trim: Sequence[str] = (),
) -> Path:
    """Writes stage 1 and stage 2, an LLM of this family from `run`-llm, or a jointly trained model in place of stage 2;
    returns the run folder. `settings` as for --set; `streams` are further ones for each stream, by name. The LLM
    is trimmed to the sentences `trim`, if there are any."""
    (make_small_llm if family == "mbart" else make_causal_llm)(family, llm := run.with_name(f"{run.name}-llm"))
    config = load_config(str(TINY), [f"llm.name={llm}", "llm.trim=false", "corpus.name=tsv", *settings])
    language = "de_DE" if family == "mbart" else None
    if trim:
        config = config.model_copy(update={"llm": config.llm.model_copy(update={"trim": True})})
        trim_llm(str(llm), trim, {}, run / "llm" / "trimmed")
    base = str(run / "llm" / "trimmed" if trim else llm)
    tokenizer = load_tokenizer(base, language)
    visual = _stage_1(run, config, tokenizer)
    if has_prompt(config.llm):
        tokenizer = with_prompt(tokenizer, config.llm)
    chosen = {
        name: load_config(str(TINY), [f"llm.name={llm}", *settings, *more]) for name, more in (streams or {}).items()
    } or {"": config}
    specs = {name: _spec(run, one, visual) for name, one in chosen.items()}
    spec = next(iter(specs.values()))
    model = SignTranslator(
        [one.dim for one in specs.values()],
        load_seq2seq(base, tokenizer=tokenizer),
        tokenizer.start,
        before=tokenizer.before,
    )
    if config.llm.lora is not None:
        add_lora(model.seq2seq, config.llm.lora)
    content = content_of(str(llm))
    record = Record(
        "stage 2",
        {
            "features": spec.to_json(),
            **({"streams": _recorded(specs)} if streams else {}),
            "language": language,
            "llm": {**config.llm.recorded(), "name": content},
            "tokenizer_sha256": tokenizer.sha256,
        },
        finished=True,
        context={"corpus": "tsv", "scoring": {}, "generation": {"num_beams": 2, "max_new_tokens": 5}},
        named={content: str(llm)},
    )
    if joint:
        whole = VisualTranslator(visual.model.encoder, model.eval())
        save_end_to_end(run / "joint" / "best", whole, tokenizer, visual.record, record)
    else:
        save_llm(run / "llm" / "best", model.eval(), tokenizer, record)
    save_config(config, run / "config.yaml")
    return run


def _spec(run: Path, config: Config, visual: VisualCheckpoint) -> FeatureSpec:
    """Returns the spec of the features of a stream; the run records its encoder, as an extraction does."""
    named = None if config.encoder.name is None else open_encoder(config.encoder, config.video)
    if isinstance(named, CommandEncoder):
        named = named.of_dim(6)
    spec = (named or visual).spec(config.features, config.augmentation)
    record_encoder(Run(run, config), spec)
    return spec


def _recorded(specs: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    return {
        name: {"place": place, "features": json.loads(spec.to_json()), "clips_sha256": ""}
        for place, (name, spec) in enumerate(specs.items())
    }


def _stage_1(run: Path, config: Config, tokenizer: Tokenizer) -> VisualCheckpoint:
    settings = {name: getattr(config, name).model_dump(mode="json") for name in ("encoder", "video", "light_t")}
    settings["tokenizer"] = {"language": tokenizer.language, "sha256": tokenizer.sha256}
    context = {"corpus": "tsv", "scoring": {}, "generation": {"num_beams": 2}}
    model = new_visual_translator(config.encoder, config.video, config.light_t, tokenizer).eval()
    save_visual(run / "visual" / "best", model, tokenizer, Record("stage 1", settings, finished=True, context=context))
    return load_visual(run / "visual" / "best")

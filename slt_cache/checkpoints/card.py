"""Model card of a saved translator: README.md with the hub's front matter, what it was trained on and how it scored,
its limits, and how to load it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from slt_cache.config import BLEU4
from slt_cache.corpora.languages import labels_of
from slt_cache.corpora.registry import CORPORA, corpus_named
from slt_cache.metrics.registry import metric_named, page_columns
from slt_cache.models.saved import About

SHOWN = ("preset", "select_by")
"""Fields of the scoring that the text words separately."""
SPEC = (
    *("encoder", "backbone", "level", "window", "stride", "dim"),
    *("keep_rate", "resize", "crop", "fit", "dtype", "precision", "source"),
)
"""Fields of the features' spec that the card shows."""

LIMITS = """It was trained on one narrow corpus and writes fluent sentences for any features, even if it
understood nothing: its sentences are no evidence of what was signed. It must not decide, or help to decide,
about deaf people's lives (medicine, law, police, schools, authorities): there an interpreter translates."""

LOAD = """```python
from slt_cache import FeatureCache, SignTranslator

model = SignTranslator.from_pretrained("FOLDER_OR_HUB_NAME")
cache = FeatureCache("feats.h5", "test")  # any sequence of [N, {dim}] arrays of the encoder above
print(model.translate([cache[clip_id] for clip_id in cache.ids[:3]]))
```"""


LOAD_WHOLE = """```python
from slt_cache import Translator

translator = Translator.from_pretrained("FOLDER_OR_HUB_NAME")
print(translator.translate("clip.mp4").text)
```

Or `slt-cache translate clip.mp4 --model FOLDER`. `record.json` has the SHA-256 of every file, which are verified."""


def model_card(about: About, decoder_only: bool = False, encoders: Mapping[str, str] | None = None) -> str:
    """Returns a model card as Markdown with YAML front matter; `decoder_only` is the kind of the LLM, `encoders` the
    licence of the visual encoder of each stream, by name, if the folder holds or names them; of a single stream,
    without a name."""
    kind = "decoder-only LLM" if decoder_only else "encoder-decoder"
    load = LOAD_WHOLE if encoders else _load(about)
    sections = [
        f"---\n{yaml.safe_dump(_front_matter(about), sort_keys=False, allow_unicode=True)}---\n",
        f"# Gloss-free sign language translation, trained on {about.corpus}\n",
        f"Adapter and {kind} `{about.llm}`{_how(about, decoder_only)}, which read the features of a visual encoder: "
        "the second stage of FLa-LLM ([Chen et al. 2024](https://arxiv.org/abs/2403.12556)), trained with slt-cache.\n",
        _table(("", ""), _metadata(about)),
        "## Scores\n",
        _scores(about),
        "## How to load it\n",
        load + "\n",
        "## Limits\n",
        _notice(about.corpus) + LIMITS + "\n",
        f"The licences of the corpus and of the original {kind} apply to these weights too.\n",
        *([_licences(about, encoders)] if encoders else []),
        "## Cite\n",
        "Chen, Z., Zhou, B., Li, J., Wan, J., Lei, Z., Jiang, N., Lu, Q., Zhao, G.: Factorized Learning Assisted with "
        "Large Language Model for Gloss-free Sign Language Translation. LREC-COLING 2024, arXiv 2403.12556.\n",
    ]
    return "\n".join(sections)


def _load(about: About) -> str:
    if not about.streams:
        return LOAD.replace("{dim}", str(about.features["dim"]))
    clip = ", ".join(f'"{name}": features of shape [N, {spec["dim"]}]' for name, spec in about.streams.items())
    given = f"# a clip has the features of each stream: {{{clip}}}"
    opened = "\n".join(f'{name} = FeatureCache("{name}.h5", "test")' for name in map(_variable, about.streams))
    first, *_ = map(_variable, about.streams)
    joined = ", ".join(f"{name}[clip_id]" for name in map(_variable, about.streams))
    lines = LOAD.splitlines()
    call = f"print(model.translate([({joined}) for clip_id in {first}.ids[:3]]))"
    return "\n".join([*lines[:4], given, opened, call, lines[-1]])


def _variable(name: str) -> str:
    return re.sub(r"\W|^(?=\d)", "_", name)


def _licences(about: About, encoders: Mapping[str, str]) -> str:
    rows = {
        "corpus": f"`{about.corpus}`: the terms under which you have it",
        "LLM": f"`{about.llm}`: that of its publisher, unless it was made here",
        **{f"{_of(stream)}visual encoder": licence for stream, licence in encoders.items()},
    }
    return _table(("part", "licence"), rows)


def _of(stream: str) -> str:
    """Returns how a row begins that is about a stream."""
    return f"{stream}: " if stream else ""


def _notice(corpus: str) -> str:
    notice = corpus_named(corpus).notice if corpus in CORPORA else ""
    return f"{notice}\n\n" if notice else ""


def _front_matter(about: About) -> dict[str, Any]:
    """Returns the front matter, without a licence: those of the corpus and the LLM apply, which are unknown here."""
    values: dict[str, Any] = {
        "library_name": "slt-cache",
        "tags": ["sign-language-translation", "gloss-free", "fla-llm"],
    }
    if about.lora is not None:
        values["tags"].append("lora")
    if about.language is not None:
        codes = labels_of(about.language) or (about.language,)
        values["language"] = [code.strip("_").split("_")[0].lower() for code in codes]
    if "/" in about.llm and " " not in about.llm:
        values["base_model"] = about.llm
    return values


def _how(about: About, decoder_only: bool) -> str:
    if about.lora is None:
        return ""
    targets = about.lora["targets"]
    usual = "all linear layers" if decoder_only else "query and value projections"
    where = usual if targets is None else ", ".join(targets)
    name = ("rs" if about.lora.get("rslora") else "") + ("DoRA" if about.lora.get("dora") else "LoRA")
    return f" with {name} (rank {about.lora['r']}, alpha {about.lora['alpha']:g}, on {where})"


def _metadata(about: About) -> Mapping[str, str]:
    streams = about.streams or {"": about.features}
    hashes = {
        f"{_of(stream)}visual encoder, SHA-256": f"`{spec['encoder_sha256']}`" for stream, spec in streams.items()
    }
    shown = {
        f"{_of(stream)}features: {name}": str(spec[name])
        for stream, spec in streams.items()
        for name in SPEC
        if spec.get(name) is not None
    }
    search = ", ".join(f"{name} {value}" for name, value in about.generation.items())
    return {
        "corpus": f"`{about.corpus}`",
        "language": str(about.language),
        **hashes,
        **shown,
        "beam search": search,
        "made by": about.tool,
    }


def _scores(about: About) -> str:
    if about.dev is None:
        return "None: the weights are those of the last epoch; there was no dev split.\n"
    scored = "".join(f", {name} {value}" for name, value in about.scoring.items() if name not in SHOWN)
    how = f"Dev split, 0..100, preset `{about.scoring.get('preset')}` of `slt-cache score`{scored}. The best epoch was "
    label = metric_named(about.scoring.get("select_by", BLEU4)).label
    rows = {name: f"{about.dev[key]:.2f}" for key, name in page_columns(about.dev).items() if key in about.dev}
    table = _table(("", "dev"), rows)
    return f"{how}chosen by the {label} among these, which flatters them: report a test split.\n\n{table}"


def _table(heading: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [
        f"| {heading[0]} | {heading[1]} |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]
    return "\n".join(lines) + "\n"

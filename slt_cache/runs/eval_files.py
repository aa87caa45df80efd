"""Files of `eval` in a run's eval/ folder, and whether those of an earlier evaluation still hold: scores (SPLIT.json)
next to sentences (SPLIT.tsv), by model, and by settings that differ from the run's own."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slt_cache.advice import command
from slt_cache.checkpoints.record import identity_of
from slt_cache.config import PROTOCOLS
from slt_cache.distributed.processes import barrier, is_main_process
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import replacing, write_text
from slt_cache.hashes import RECORD_FILE, file_sha256, read_signed, write_signed
from slt_cache.metrics.base import Score
from slt_cache.metrics.registry import NEURAL
from slt_cache.progress import log
from slt_cache.reading import read_json
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import Parts, choices_of, metrics_of, parts_to_json, preset_of, rounded

if TYPE_CHECKING:
    from slt_cache.decoding.search import Hypothesis  # imports torch

WEIGHTS = "weights"
WITHOUT = "without"
BEFORE = "scored_before"
EARLIER = "earlier"
"""Marker in the file names of scores of weights that were replaced during scoring."""
CHANGE_NO_SCORE = ("dev_beams", "batch_size", "metrics", "models", "python")
"""Settings of search and scoring that change no score, or only one that is made again."""


@dataclass(frozen=True)
class Translated:
    """Split or list of clips translated by a model."""

    run: Run
    model: str
    split: str
    hypotheses: Sequence["Hypothesis"]
    references: Sequence[str]
    without: tuple[str, ...] = ()
    """Streams of features that were left out."""

    @property
    def table(self) -> str:
        """Table of id, reference and hypothesis, tab-separated. Characters that would break it become spaces."""
        lines = ["id\treference\thypothesis"]
        for hypothesis, reference in zip(self.hypotheses, self.references, strict=True):
            fields = (hypothesis.clip_id, reference, hypothesis.texts[0])
            lines.append("\t".join(re.sub(r"[\t\r\n]", " ", field) for field in fields))
        return "\n".join(lines) + "\n"

    @contextmanager
    def kept_until_scored(self) -> Iterator[None]:
        """Saves the translations in a separate table until their scores are saved; if the block fails, it stays.

        It does not replace the table of an earlier evaluation, whose scores belong to that one."""
        run = self.run
        kept = run.evaluation / f"{file_stem(self.model, self.split)}.unscored.tsv"
        if is_main_process():
            write_text(kept, self.table)
        try:
            yield
        except BaseException:
            if is_main_process():
                of_texts = {name: getattr(run.config.scoring, name) for name in ("final_dot", "lowercase")}
                choices = {name: value for name, value in of_texts.items() if value != "keep"}
                scored = command("score", kept, kept, preset=preset_of(run.config), **choices)
                log(f"the translations are kept: {scored}")
            raise
        if is_main_process():
            kept.unlink(missing_ok=True)

    def save(self, scores: dict[str, Score], parts: Parts, weights: dict[str, Any], again: str) -> Path:
        """Writes scores, also those of each language and corpus, and table, and returns the path of the table;
        `weights` is the record of the weights used, `again` the command that scores the same clips again. Raises
        SltCacheError if the weights were replaced meanwhile."""
        run, model = self.run, self.model
        replaced = identity_of(read_json(record_of(run, model))) != identity_of(weights)
        changed = passing_settings(run) | ({WITHOUT: " ".join(self.without)} if self.without else {})
        stem = file_stem(model, self.split)
        table = run.evaluation / (".".join([stem, *map(_in_name, changed.items()), *[EARLIER] * replaced]) + ".tsv")
        if is_main_process():
            values = {
                "model": model,
                "split": self.split,
                "settings": {**changed, **({WEIGHTS: EARLIER} if replaced else {})},
                "made_from": _made_from(run, weights, self.references),
                "clips": len(self.references),
                "scores": rounded(scores),
                "signatures": {key: found.signature for key, found in scores.items()},
                **parts_to_json(parts),
                "hypotheses": str(table),
                **self._scored_before(table.with_suffix(".json"), weights),
                "steps_left_out": {one.clip_id: one.steps_left_out for one in self.hypotheses if one.steps_left_out},
            }
            _write(table, self.table, values)
        barrier()
        if replaced:
            raise SltCacheError(
                f"{record_of(run, model).parent}: trained again while its earlier weights were scored. Their "
                f"scores are in {table.with_suffix('.json')}; score the new ones: {again}"
            )
        return table

    def _scored_before(self, scores: Path, weights: dict[str, Any]) -> dict[str, Any]:
        """Returns the earlier weights of the model that were scored on test in this folder, each with the time at which
        its training ended (empty if it had not) and its best epoch: whoever trained again knew those scores."""
        try:
            saved = read_signed(scores) if self.split == "test" and scores.is_file() else {}
        except InputError:
            saved = {}  # damaged, and about to be replaced
        before, old = saved.get(BEFORE, []), saved.get("made_from", {}).get(WEIGHTS)
        if old is not None and identity_of(old)["weights"] != identity_of(weights)["weights"]:
            before = [*before, {name: old.get(name) for name in ("finished_at", "best_epoch")}]
        return {BEFORE: before} if before else {}


def _write(table: Path, text: str, values: dict[str, Any]) -> None:
    """Writes the table and the scores, which name its hash; both are on disk before either replaces an earlier one."""
    with replacing(table.with_suffix(".json")) as new_scores, replacing(table) as new_table:
        write_text(new_table, text)
        write_signed(new_scores, {**values, "table_sha256": file_sha256(new_table)})


def saved_scores(run: Run, model: str, split: str, references: Sequence[str]) -> dict[str, float] | None:
    """Returns the scores of an earlier evaluation if it had the same weights, sentences and settings, and all requested
    metrics."""
    saved = _saved(run, model, split)
    if saved is None:
        return None
    asked = _made_from(run, read_json(record_of(run, model)), references)
    same = all(saved["made_from"].get(name) == asked[name] for name in asked if name != WEIGHTS)
    same = same and identity_of(saved["made_from"][WEIGHTS]) == identity_of(asked[WEIGHTS])
    scores: dict[str, float] = saved["scores"]
    return scores if same and scores.keys() >= set(metrics_of(run.config)) else None


def is_of_these_weights(run: Run, model: str, split: str) -> bool:
    """Returns whether an earlier evaluation used the model's present weights."""
    saved, record = _saved(run, model, split), record_of(run, model)
    if saved is None or not record.is_file():
        return False
    return identity_of(saved["made_from"][WEIGHTS]) == identity_of(read_json(record))


def _saved(run: Run, model: str, split: str) -> dict[str, Any] | None:
    """Returns an earlier evaluation; None if there is none, or its table belongs to another one."""
    path = run.evaluation / f"{file_stem(model, split)}.json"
    table = path.with_suffix(".tsv")
    if not path.is_file():
        return None
    saved = read_signed(path)
    belongs = table.is_file() and saved.get("table_sha256") in (None, file_sha256(table))
    return saved if belongs else None


def passing_settings(run: Run) -> dict[str, Any]:
    """Returns the settings of search and scoring on this command line that differ from the run's own; their results are
    saved next to the run's own and do not replace them."""
    saved = run.saved_config() if run.overrides or run.named_config is not None else None
    if saved is None:
        return {}
    own, now = (config.model_dump(mode="json") for config in (saved, run.config))
    protocol = now["scoring"]["protocol"]
    named = own["scoring"]["protocol"] != protocol and protocol is not None
    implied = PROTOCOLS[protocol].keys if named else set()
    return {
        f"{section}.{name}": value
        for section in ("generation", "scoring")
        for name, value in now[section].items()
        if value != own[section][name] and name not in CHANGE_NO_SCORE and f"{section}.{name}" not in implied
    }


def _in_name(changed: tuple[str, Any]) -> str:
    """Returns a changed setting as part of a file name, such as `num_beams-1`."""
    setting, value = changed
    return f"{setting.rpartition('.')[2]}-{re.sub(r'[^A-Za-z0-9_-]', '_', str(value))}"


def file_stem(model: str, split: str) -> str:
    """Returns the stem of the files of a model's scores and sentences; for a list of clips, in a folder."""
    folder, slash, name = split.rpartition("/")
    return f"{folder}{slash}{name if model == 'llm' else f'{model}.{name}'}"


def _made_from(run: Run, weights: dict[str, Any], references: Sequence[str]) -> dict[str, Any]:
    """Returns everything that determines the scores; `weights` is the record of the weights used."""
    return {
        WEIGHTS: weights,
        "generation": run.config.generation.model_dump(mode="json", exclude={"dev_beams"}),
        "preset": preset_of(run.config),
        "choices": choices_of(run.config, weights).recorded(),
        **({"models": dict(run.config.scoring.models)} if {*NEURAL} & {*metrics_of(run.config)} else {}),
        "references_sha256": hashlib.sha256("\n".join(references).encode()).hexdigest(),
    }


def record_of(run: Run, model: str) -> Path:
    """Returns the path of the record of a model's weights."""
    return run.folder / model / "best" / RECORD_FILE

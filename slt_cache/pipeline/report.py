"""A run folder in, one self-contained HTML page out: scores, curves, sample clips and settings.

Trains and translates nothing: it shows what `train-visual`, `train-llm` and `eval` left behind. The page makes no
network request and holds no script."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from slt_cache import __version__
from slt_cache.checkpoints.record import RECORD_FILE
from slt_cache.corpora.clips import SPLITS, Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.errors import InputError
from slt_cache.files import read_json, write_text
from slt_cache.metrics.scores import PRESETS
from slt_cache.pipeline.report_plots import Filmstrip, draw_curves, read_filmstrip, read_trainings
from slt_cache.pipeline.run import MODELS, Run
from slt_cache.pipeline.scoring import preset_of
from slt_cache.pipeline.terminal import say
from slt_cache.video.frames import UnreadableVideo

COLUMNS = {
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "chrf": "chrF",
    "rouge_l": "ROUGE-L",
}
LANGUAGES = {"de": "German", "en": "English", "zh": "Chinese"}
SAMPLES_A_GROUP = 4


@dataclass(frozen=True)
class _Scores:
    """One eval/*.json."""

    file: Path
    model: str
    split: str
    clips: int
    scores: dict[str, float]
    signatures: dict[str, str]
    earlier_weights: bool
    """The model was trained on since it was scored."""

    @property
    def name(self) -> str:
        return MODELS.get(self.model, self.model)

    @property
    def short_name(self) -> str:
        return self.name.split(" (")[0]

    @property
    def table(self) -> Path:
        """id, reference, hypothesis; found beside the file, as a run folder may be moved."""
        return self.file.with_suffix(".tsv")


@dataclass(frozen=True)
class _Sentence:
    """One line of an evaluation's table."""

    clip_id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Piece:
    """A part of a compared sentence: `same`, `extra` (not in the reference) or `missing` (only there)."""

    text: str
    kind: str
    blank: str
    """What stands between this part and the next."""


def write_report(run: Run) -> Path:
    """Writes report.html of the run folder. Raises InputError where there is nothing to report."""
    evaluations = _read_evaluations(run)
    trainings = read_trainings(run)
    if not evaluations and not trainings:
        raise InputError(
            f"{run.folder}: nothing to report, it holds neither a training nor an evaluation. "
            "Train first (slt-cache train-visual, or slt-cache demo for everything), or name another folder with --run."
        )
    clips = read_manifest(run.manifest) if run.manifest.is_file() else []
    page = {
        "head": _head(run, clips),
        "columns": COLUMNS,
        "evaluations": evaluations,
        "best": _best(evaluations),
        "signatures": _signatures(evaluations),
        "trainings": trainings,
        "curves": draw_curves(trainings),
        "samples": _samples(run, evaluations, clips),
        "config": _config_text(run),
    }
    write_text(run.report, _render(page))
    return run.report


def _render(page: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = (files("slt_cache.pipeline") / "report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(page)


def _head(run: Run, clips: Sequence[Clip]) -> dict[str, Any]:
    """Title and introduction."""
    corpus = run.config.corpus
    # The sentences of one's own corpus are in the language that decoding starts with.
    code = corpus.language if corpus.name == "avatar" else (run.config.language_code or "")[:2]
    return {
        "name": run.folder.resolve().name,
        "corpus": corpus.name,
        "language_code": code,
        "language": LANGUAGES.get(code, code or "spoken-language"),
        "counts": {split: len(of_split(clips, split)) for split in SPLITS},
        "keep_every": run.config.video.keep_every,
        "size": run.config.video.size,
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
        "tool": f"slt-cache {__version__}",
    }


def _config_text(run: Run) -> str:
    if run.config_file.is_file():
        return run.config_file.read_text(encoding="utf-8")
    return yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_evaluations(run: Run) -> list[_Scores]:
    """Every evaluation of the run: test first, then by model in the order of MODELS."""
    found = []
    for path in sorted(run.evaluation.glob("*.json")):
        saved = read_json(path)
        try:
            record = run.folder / saved["model"] / "best" / RECORD_FILE
            scored = saved.get("made_from", {}).get("weights")
            earlier = scored is not None and record.is_file() and read_json(record) != scored
            scores = {key: float(saved["scores"][key]) for key in COLUMNS}
            found.append(
                _Scores(
                    path, saved["model"], saved["split"], saved["clips"], scores, dict(saved["signatures"]), earlier
                )
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"{path}: not an evaluation of this version ({error!r}). Delete it and run slt-cache eval again."
            ) from error
    splits, models = list(reversed(SPLITS)), list(MODELS)
    return sorted(found, key=lambda one: (_place(one.split, splits), _place(one.model, models)))


def _place(name: str, order: list[str]) -> int:
    return order.index(name) if name in order else len(order)


def _best(evaluations: Sequence[_Scores]) -> dict[str, dict[str, float]]:
    """The highest score of each column, of the splits that more than one model was scored on."""
    best: dict[str, dict[str, float]] = {}
    for split in {one.split for one in evaluations}:
        rivals = [one.scores for one in evaluations if one.split == split]
        if len(rivals) > 1:
            best[split] = {key: max(scores[key] for scores in rivals) for key in COLUMNS}
    return best


def _signatures(evaluations: Sequence[_Scores]) -> list[dict[str, Any]]:
    """Every signature once, with the rows that it holds for where it does not hold for all."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in evaluations:
        for key, name in COLUMNS.items():
            rows.setdefault((name, one.signatures.get(key, "unknown")), []).append(f"{one.name}, {one.split}")
    return [
        {"name": name, "signature": signature, "rows": [] if len(holds) == len(evaluations) else holds}
        for (name, signature), holds in rows.items()
    ]


def _samples(run: Run, evaluations: Sequence[_Scores], clips: Sequence[Clip]) -> dict[str, Any] | None:
    """The best, the middle and the worst sentences of the model that the run is about; None without an evaluation."""
    with_table = [one for one in evaluations if one.table.is_file()]
    if not with_table:
        return None
    of_model = {one.model: one for one in with_table if one.split == with_table[0].split}
    shown = of_model.get("llm", with_table[0])
    beside = of_model["visual"] if shown.model != "visual" and "visual" in of_model else None
    other = {one.clip_id: one.hypothesis for one in _read_table(beside.table)} if beside else {}
    sentences = _read_table(shown.table)
    preset = PRESETS[preset_of(run.config)]
    scores = _sentence_scores(sentences, preset.bleu_tokenize)
    by_id = {clip.id: clip for clip in clips}

    def sample(index: int) -> dict[str, Any]:
        sentence = sentences[index]
        lines = {shown.short_name: sentence.hypothesis}
        if beside and sentence.clip_id in other:
            lines[beside.short_name] = other[sentence.clip_id]
        compared = {name: compare(sentence.reference, text) for name, text in lines.items()}
        strip = _filmstrip(run, by_id.get(sentence.clip_id), sentence.clip_id)
        return {"sentence": sentence, "score": scores[index], "strip": strip, "lines": compared}

    return {
        "groups": {name: [sample(index) for index in chosen] for name, chosen in _choose(scores).items() if chosen},
        "split": shown.split,
        "model": shown.short_name,
        "tokenizer": preset.bleu_tokenize,
        "clips": len(sentences),
        "exact": sum(one.reference == one.hypothesis for one in sentences),
    }


def _read_table(path: Path) -> list[_Sentence]:
    rows = [line.split("\t", 2) for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    if not rows or any(len(row) != 3 for row in rows):
        raise InputError(f"{path}: not a table of id, reference, hypothesis. Delete it and run slt-cache eval again.")
    return [_Sentence(*row) for row in rows]


def _sentence_scores(sentences: Sequence[_Sentence], tokenize: str) -> list[float]:
    """Sentence BLEU, 0..100; n-grams longer than the sentence are left out of the mean (effective order)."""
    from sacrebleu.metrics import BLEU

    bleu = BLEU(tokenize=tokenize, effective_order=True)
    return [bleu.sentence_score(one.hypothesis, [one.reference]).score for one in sentences]


def _choose(scores: Sequence[float]) -> dict[str, list[int]]:
    """Indices of the best, middle and worst sentences; none twice, equal scores in the order of the split."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    size = min(SAMPLES_A_GROUP, -(-len(order) // 3))
    rest = order[size : max(len(order) - size, size)]
    first = max((len(rest) - size) // 2, 0)
    return {"best": order[:size], "middle": rest[first : first + size], "worst": order[size + len(rest) :]}


def _filmstrip(run: Run, clip: Clip | None, clip_id: str) -> Filmstrip | None:
    """None where the video cannot be read any more, which is said on the terminal too."""
    if clip is None:
        say(f"report: clip {clip_id!r} is not in {run.manifest}; the page shows it without its video.")
        return None
    try:
        return read_filmstrip(clip, run.config.video)
    except (UnreadableVideo, OSError) as error:
        say(f"report: {error} The page shows the clip without its video.")
        return None


def compare(reference: str, hypothesis: str) -> list[Piece]:
    """The hypothesis word by word against the reference; by characters where the reference has no blanks."""
    by_words = any(character.isspace() for character in reference)
    expected, found = (text.split() if by_words else list(text) for text in (reference, hypothesis))
    joiner = " " if by_words else ""
    pieces: list[Piece] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, expected, found, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(Piece(joiner.join(found[c:d]), "same", joiner))
            continue
        if a < b:
            pieces.append(Piece(joiner.join(expected[a:b]), "missing", joiner))
        if c < d:
            pieces.append(Piece(joiner.join(found[c:d]), "extra", joiner))
    return pieces

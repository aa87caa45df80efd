"""Run folders that were only scored: settings, manifest, and sentences with their scores, without any weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.config import load_config, save_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.files import write_text
from slt_cache.hashes import file_sha256, write_signed
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.scores import score

WEATHER = "heute morgen regnet schneit sonne wind norden süden westen osten küste alpen kühl warm stark schwach"
WORDS = WEATHER.split()
REFERENCES = [" ".join(Random(number).choices(WORDS, k=3 + number % 7)) for number in range(60)]
IDS = [f"clip-{number}" for number in range(len(REFERENCES))]


def spoilt(share: float, seed: int, references: Sequence[str] = REFERENCES) -> list[str]:
    """Returns the references, in which this share of the words is another one: independent draws for each seed."""
    random = Random(seed)
    return [
        " ".join(random.choice(WORDS) if random.random() < share else word for word in sentence.split())
        for sentence in references
    ]


def make_scored_run(folder: Path, *settings: str, videos: Mapping[str, str] | None = None) -> Path:
    """Makes a run with settings as for --set, and a manifest: the references as test, half of them as train too, and a
    clip of dev. `videos` are those of some clips, by id."""
    save_config(load_config("avatar", settings), folder / "config.yaml")
    rows = [(f"train-{one}", "train", text) for one, text in zip(IDS[::2], REFERENCES[::2], strict=True)]
    rows += [
        ("dev-0", "dev", "heute regnet es"),
        *((one, "test", text) for one, text in zip(IDS, REFERENCES, strict=True)),
    ]
    named = videos or {}
    clips = [
        Clip(clip_id, split, folder / named.get(clip_id, f"{clip_id}.mp4"), None, None, text)
        for clip_id, split, text in rows
    ]
    write_manifest(folder / "manifest.tsv", clips)
    return folder


def write_evaluation(
    run: Path,
    hypotheses: Sequence[str],
    stem: str = "test",
    model: str = "llm",
    references: Sequence[str] = REFERENCES,
    ids: Sequence[str] = IDS,
    preset: str = "plain",
    bootstrap: int | None = None,
    **also: Any,
) -> Path:
    """Writes eval/STEM.json and its table as `eval` does, with further keys; returns the path of the scores."""
    choices = TextChoices()
    scores = score(hypotheses, references, preset, choices, bootstrap)
    rows = ["\t".join(row) for row in zip(ids, references, hypotheses, strict=True)]
    path = run / "eval" / f"{stem}.json"
    write_text(path.with_suffix(".tsv"), "\n".join(["id\treference\thypothesis", *rows]) + "\n")
    found = {
        "model": model,
        "split": "dev" if stem.startswith("dev") else "test",
        "clips": len(ids),
        "settings": {},
        "made_from": {"preset": preset, "choices": asdict(choices)},
        "scores": {key: round(one.value, 2) for key, one in scores.items()},
        "signatures": {key: one.signature for key, one in scores.items()},
        "table_sha256": file_sha256(path.with_suffix(".tsv")),
        **also,
    }
    write_signed(path, found)
    return path


def write_selected(run: Path, model: str = "llm") -> None:
    """Writes the record of a training whose weights were kept by dev."""
    write_record(run / model / "best", Record("stage 2", {}, best_epoch=2, dev={"bleu4": 40.0}).finish(3, 10.0))

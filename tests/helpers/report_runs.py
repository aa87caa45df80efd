"""Run folders made by hand, as trainings and evaluations write them, for the report."""

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.checkpoints.translator import save_llm
from slt_cache.config import load_config, save_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.features.parts import ClipFeatures
from slt_cache.files import write_text
from slt_cache.hashes import write_signed
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.translators import SignTranslator
from slt_cache.report import write_report
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.caches import DIM, add_split, facts_of, spec_of
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

SENTENCES = [
    ("film", "heute regnet es im norden", "heute regnet es im norden"),
    ("frames", "morgen schneit es in den bergen", "morgen regnet es in den bergen"),
    ("gone", "am freitag scheint die sonne", "dichte wolken"),
    ("<script>alert(1)</script>", "<script>alert(2)</script> & wind", "<script>alert(3)</script> & wind"),
]
"""Clip, reference and hypothesis. One video is missing, and one id and its sentences contain markup."""
SCORES = {"bleu1": 71.23, "bleu2": 62.34, "bleu3": 53.45, "bleu4": 44.56, "chrf": 65.67, "rouge_l": 76.78}
SIGNATURES = dict.fromkeys(SCORES, "nrefs:1|tok:13a")
STEPS = {"film": 5, "frames": 8, "gone": 6, "<script>alert(1)</script>": 1}
"""Number of kept frames of each clip's video, which is N."""


def make_run(folder: Path) -> Run:
    """Makes a run whose records say that both stages are trained and scored; it has no weights and no cache."""
    run = Run(folder, load_config("avatar"))
    save_config(run.config, run.config_file)
    write_film(folder / "film.mp4")
    write_frames(folder / "frames", 30)
    write_frames(folder / "markup", 3)
    videos = ["film.mp4", "frames", "gone.mp4", "markup"]
    clips = [
        Clip(clip_id, "test", folder / video, None, None, reference)
        for (clip_id, reference, _), video in zip(SENTENCES, videos, strict=True)
    ]
    write_manifest(run.manifest, clips)
    train(run, "visual", epochs=3)
    train(run, "llm", epochs=2)
    evaluate(run, "llm", "test", SCORES)
    evaluate(run, "visual", "visual.test", {key: value - 20 for key, value in SCORES.items()})
    return run


def write_film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_frames(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (32, 32), (8 * number, 80, 120)).save(folder / f"{number}.png")


def train(run: Run, stage: str, epochs: int, norms: bool = True, llm_gradient: float = 0.2) -> None:
    """Writes log and record of this many epochs; in joint training the encoder's first gradient is 0.1."""
    lines: list[dict[str, Any]] = []
    modules = {"visual": {"encoder": 0.1}, "joint": {"encoder": 0.1, "translator": llm_gradient}}.get(
        stage, {"llm": 0.1}
    )
    for epoch in range(1, epochs + 1):
        measured = {f"grad_norm/{module}": norm * epoch for module, norm in modules.items() if norms}
        measured |= {f"param_norm/{module}": 10.0 + epoch for module in modules if norms}
        place = {"epoch": epoch, "step": 10 * epoch, "loss": 4 / epoch}
        lines.append({"kind": "step", **place, "lr": 1e-3, **measured})
        lines.append({"kind": "epoch", **place, "seconds": 9, "dev": {"bleu4": 20.0 * epoch}})
    write_text(run.folder / stage / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    record = Record(stage, {}, best_epoch=epochs, dev={"bleu4": 20.0 * epochs}).finish(epochs, 1234.5)
    write_record(run.folder / stage / "best", record)


def evaluate(
    run: Run,
    model: str,
    stem: str,
    scores: dict[str, float],
    sentences: list[tuple[str, str, str]] = SENTENCES,
) -> None:
    found = {"model": model, "split": "test", "clips": len(sentences), "scores": scores, "signatures": SIGNATURES}
    write_signed(run.evaluation / f"{stem}.json", found)
    rows = ["\t".join(sentence) for sentence in sentences]
    write_text(run.evaluation / f"{stem}.tsv", "\n".join(["id\treference\thypothesis", *rows]) + "\n")


def add_model_and_cache(run: Run, family: str = "mbart") -> None:
    """Adds a small MBart, or another LLM, of random weights as stage 2, and features of the test clips."""
    make = make_small_llm if family == "mbart" else make_causal_llm
    make(family, run.folder / "published", [reference for _, reference, _ in SENTENCES])
    tokenizer = load_tokenizer(str(run.folder / "published"), "de_DE")
    seq2seq = load_seq2seq(str(run.folder / "published"), tokenizer=tokenizer)
    model = SignTranslator(DIM, seq2seq, tokenizer.start).eval()
    settings = {"features": spec_of().to_json(), "language": "de_DE", "llm": {"name": "small"}}
    record = Record("stage 2", settings, best_epoch=2, dev={"bleu4": 40.0}).finish(2, 1234.5)
    save_llm(run.llm / "best", model, tokenizer, record)
    random = np.random.default_rng(0)
    features = {clip_id: random.normal(size=(steps, DIM)).astype(np.float16) for clip_id, steps in STEPS.items()}
    rows = [ClipFeatures(clip_id, text, 20, 25.0, features[clip_id]) for clip_id, text, _ in SENTENCES]
    add_split(run.features, rows, facts_of("test"))


def page_of(run: Run) -> str:
    return write_report(run).read_text(encoding="utf-8")


def rows_of(page: str) -> dict[str, str]:
    """Returns the markup of the table of clips, by clip, in the order of the page."""
    found = re.findall(r'<tr data-id="([^"]*)".*?</tr>', page, re.DOTALL)
    parts = re.findall(r'<tr data-id=".*?</tr>', page, re.DOTALL)
    return dict(zip(found, parts, strict=True))

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.config import load_config
from slt_cache.corpora.clips import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError
from slt_cache.files import write_json, write_text
from slt_cache.pipeline.report import Piece, compare, write_report
from slt_cache.pipeline.run import Run

SENTENCES = [
    ("film", "heute regnet es im norden", "heute regnet es im norden"),
    ("frames", "morgen schneit es in den bergen", "morgen regnet es in den bergen"),
    ("gone", "am freitag scheint die sonne", "dichte wolken"),
    ("<script>alert(1)</script>", "<script>alert(2)</script> & wind", "<script>alert(3)</script> & wind"),
]
SCORES = {"bleu1": 71.23, "bleu2": 62.34, "bleu3": 53.45, "bleu4": 44.56, "chrf": 65.67, "rouge_l": 76.78}
SIGNATURES = dict.fromkeys(SCORES, "nrefs:1|tok:13a")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Both stages trained and scored; one video is gone, and one id and sentence hold markup."""
    run = Run(tmp_path / "little", load_config("avatar"))
    run.save_config()
    write_film(run.folder / "film.mp4")
    write_frames(run.folder / "frames", 30)
    write_frames(run.folder / "markup", 3)
    videos = ["film.mp4", "frames", "gone.mp4", "markup"]
    clips = [
        Clip(clip_id, "test", run.folder / video, None, None, reference)
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


def train(run: Run, stage: str, epochs: int) -> None:
    lines = []
    for epoch in range(1, epochs + 1):
        lines.append({"kind": "step", "epoch": epoch, "step": 10 * epoch, "loss": 4 / epoch, "lr": 1e-3})
        dev = {"bleu4": 20.0 * epoch}
        lines.append({"kind": "epoch", "epoch": epoch, "step": 10 * epoch, "loss": 4 / epoch, "seconds": 9, "dev": dev})
    write_text(run.folder / stage / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    record = Record(stage, {}, best_epoch=epochs, dev={"bleu4": 20.0 * epochs}).finish(epochs, 1234.5)
    write_record(run.folder / stage / "best", record)


def evaluate(run: Run, model: str, stem: str, scores: dict[str, float]) -> None:
    found = {"model": model, "split": "test", "clips": len(SENTENCES), "scores": scores, "signatures": SIGNATURES}
    write_json(run.evaluation / f"{stem}.json", found)
    rows = ["\t".join(sentence) for sentence in SENTENCES]
    write_text(run.evaluation / f"{stem}.tsv", "\n".join(["id\treference\thypothesis", *rows]) + "\n")


def page_of(run: Run) -> str:
    return write_report(run).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Every element with its attributes, and the elements that are open at the end."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_says_what_was_run(run: Run) -> None:
    page = page_of(run)
    assert run.report.is_file()
    assert Elements(page).open == []
    for text in ("little", "German", "drawn stand-ins and not sign language", "both stages (MBart from the cache)"):
        assert text in page


def test_the_scores_are_those_of_the_evaluation_and_the_best_is_emphasised(run: Run) -> None:
    page = page_of(run)
    for value in SCORES.values():
        assert re.search(rf'class="best">{value:.2f}</td>', page)
        assert re.search(rf'data-label="[^"]*">{value - 20:.2f}</td>', page)


def test_a_single_row_has_no_best(run: Run) -> None:
    (run.evaluation / "visual.test.json").unlink()
    assert 'class="best"' not in page_of(run)


def test_markup_in_sentences_and_ids_is_escaped(run: Run) -> None:
    page = page_of(run)
    assert "<script" not in page
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page


def test_nothing_is_loaded_from_elsewhere(run: Run) -> None:
    page = page_of(run)
    for tag, attributes in Elements(page).found:
        assert tag not in {"script", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"data:|#|$", attributes.get(name) or ""), (tag, attributes)
    assert not re.search(r"url\((?!#)", page)
    assert "http://" not in page and "https://" not in page


def test_the_drawings_share_no_id_and_no_colour_of_their_own(run: Run) -> None:
    page = page_of(run)
    attributes = [attributes for _, attributes in Elements(page).found]
    ids = [found["id"] for found in attributes if "id" in found]
    assert len(ids) == len(set(ids))
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        used = re.findall(r"""(?:href="|url\()#([^")]+)""", drawing)
        assert used and set(used) <= set(ids)
        assert not re.search(r"(?:stroke|fill): #", drawing)
        assert "var(--curve)" in drawing and "currentColor" in drawing


def test_a_missing_video_is_noted_and_the_page_is_still_written(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    page = page_of(run)
    assert page.count("video not readable") == 1
    assert page.count("data:image/jpeg") == 5 + 8 + 1  # one frame in four of 20, 30 and 3
    assert "'gone'" in capsys.readouterr().err


def test_a_run_without_a_manifest_is_reported_without_videos(run: Run) -> None:
    run.manifest.unlink()
    assert page_of(run).count("video not readable") == len(SENTENCES)


def test_a_filmstrip_has_ten_frames_at_most(run: Run) -> None:
    config = run.config.model_copy(update={"video": run.config.video.model_copy(update={"keep_rate": 1.0})})
    assert "10 of 30 kept frames" in page_of(Run(run.folder, config))


def test_the_page_is_small(run: Run) -> None:
    page_of(run)
    assert run.report.stat().st_size < 200_000


def test_a_run_that_was_only_trained_is_reported(run: Run) -> None:
    for path in run.evaluation.iterdir():
        path.unlink()
    page = page_of(run)
    assert page.count("slt-cache eval") == 2
    assert "<svg" in page


def test_a_run_that_was_only_scored_is_reported(run: Run) -> None:
    for stage in (run.visual, run.llm):
        (stage / "metrics.jsonl").unlink()
        (stage / "best" / "record.json").unlink()
    page = page_of(run)
    assert "<svg" not in page
    assert "44.56" in page
    assert "holds no training of stage 2" in page


def test_a_training_that_goes_on_is_called_not_finished(run: Run) -> None:
    write_record(run.llm / "best", Record("stage 2", {}, best_epoch=1, dev={"bleu4": 20.0}))
    assert page_of(run).count("not finished") == 1


def test_scores_of_earlier_weights_are_called_so(run: Run) -> None:
    path = run.evaluation / "test.json"
    saved = json.loads(path.read_text())
    saved["made_from"] = {"weights": json.loads((run.llm / "best" / "record.json").read_text())}
    write_json(path, saved)
    assert "scored before its last training" not in page_of(run)
    train(run, "llm", epochs=5)
    assert "scored before its last training" in page_of(run)


def test_nothing_to_report_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to report.*slt-cache train-visual"):
        write_report(Run(tmp_path, load_config("avatar")))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_evaluation_is_named(run: Run) -> None:
    write_json(run.evaluation / "dev.json", {"model": "llm"})
    with pytest.raises(InputError, match=r"dev\.json: not an evaluation.*slt-cache eval"):
        write_report(run)


def test_sentences_are_compared_by_words() -> None:
    assert compare("es regnet im norden", "heute regnet es im norden") == [
        Piece("heute regnet", "extra", " "),
        Piece("es", "same", " "),
        Piece("regnet", "missing", " "),
        Piece("im norden", "same", " "),
    ]


def test_sentences_without_blanks_are_compared_by_characters() -> None:
    assert compare("北部下雨", "北部下雪") == [
        Piece("北部下", "same", ""),
        Piece("雨", "missing", ""),
        Piece("雪", "extra", ""),
    ]

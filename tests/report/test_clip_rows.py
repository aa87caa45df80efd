"""The table of clips in the report: their order, their pictures, and what is said where these are missing."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slt_cache.corpora.manifest import read_manifest
from slt_cache.report import build as write_module
from slt_cache.report import clip_rows as clips_module
from slt_cache.report.clip_rows import read_clips, with_pictures
from slt_cache.runs.evaluations import read_evaluations
from slt_cache.runs.run import Run
from tests.helpers.report_runs import (
    SCORES,
    SENTENCES,
    STEPS,
    add_model_and_cache,
    evaluate,
    make_run,
    page_of,
    rows_of,
)

WORDS = ["heute", "regnet", "es", "im", "norden"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "little")


def test_best_and_worst_come_first(run: Run) -> None:
    rows = rows_of(page_of(run))
    assert next(iter(rows)) == "film" and ">best</small>" in rows["film"]
    assert ">worst</small>" in rows["gone"]
    assert {clip_id: re.findall(r'data-kind="(\w+)"', row) for clip_id, row in rows.items()} == {
        clip_id: ["exact" if clip_id == "film" else "other"] for clip_id in rows
    }


def test_what_equals_the_best_is_not_among_the_worst(run: Run) -> None:
    evaluate(run, "llm", "test", SCORES, [(clip_id, text, text) for clip_id, text, _ in SENTENCES])
    page = page_of(run)
    assert ">worst</small>" not in page
    assert "4 of 4 sentences" in page


def test_a_missing_video_is_noted_and_the_page_is_still_written(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    page = page_of(run)
    assert "1 of 4 videos could not be read when this page was made" in page
    assert {clip_id: row.count("data:image/webp") for clip_id, row in rows_of(page).items()} == {
        "film": 1,
        "frames": 1,
        "gone": 0,
        "&lt;script&gt;alert(1)&lt;/script&gt;": 1,
    }
    assert "1 of 4 videos cannot be read, such as 'gone'" in capsys.readouterr().err


def test_a_run_whose_videos_are_all_gone_still_shows_where_words_looked(run: Run) -> None:
    add_model_and_cache(run)
    (run.folder / "film.mp4").unlink()
    for folder in ("frames", "markup"):
        shutil.rmtree(run.folder / folder)
    page = page_of(run)
    assert "None of the videos could be read" in page
    assert "data:image/webp" not in page
    assert page.count("data:image/png") == len(SENTENCES)


def test_a_run_without_a_manifest_is_reported_without_videos(run: Run) -> None:
    run.manifest.unlink()
    assert "None of the videos could be read" in page_of(run)


def test_every_word_is_laid_beside_where_it_looked(run: Run) -> None:
    add_model_and_cache(run)
    row = rows_of(page_of(run))["film"]
    assert re.findall(r"<li>(.*?)</li>", row) == WORDS
    assert f"--columns:{STEPS['film']};--words:{len(WORDS)}" in row
    assert 'data-steps="5"' in row and "5 frames" in row


@pytest.mark.parametrize(
    ("family", "name", "other"),
    [("mbart", "cross-attention", "self-attention"), ("gpt2", "self-attention", "cross-attention")],
)
def test_the_attention_is_called_what_it_is(run: Run, family: str, name: str, other: str) -> None:
    add_model_and_cache(run, family)
    page = page_of(run)
    assert f"below them the {name} of each word" in page and f"the decoder's {name} over the steps" in page
    assert f"frames and {name} of film" in page and f'alt="{name}"' in page and f"frames and {name}</th>" in page
    assert other not in page.lower()
    run.features.unlink()
    assert f"{name.capitalize()} is not shown: this run has no feature cache" in page_of(run)


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda run: run.features.unlink(), "this run has no feature cache; slt-cache extract-features --split all"),
        (lambda run: run.features.write_bytes(b"no cache at all"), "feats.h5"),
        (lambda run: (run.llm / "best" / "config.json").write_text("{"), "config.json: damaged"),
        (lambda run: shutil.rmtree(run.llm / "best"), "no finished training from the cache"),
        (lambda run: evaluate(run, "joint", "test", SCORES), "this model has its own encoder"),
    ],
    ids=["no cache", "broken cache", "broken config", "no model", "end to end"],
)
def test_what_has_no_attention_says_why(run: Run, prepare: object, why: str) -> None:
    add_model_and_cache(run)
    (run.evaluation / "visual.test.json").unlink()
    prepare(run)  # type: ignore[operator]
    page = page_of(run)
    assert "data:image/png" not in page
    assert re.search(rf"(Cross-a|A)ttention is not shown: [^<]*{re.escape(why)}", page)


def test_a_filmstrip_has_ten_frames_at_most(run: Run) -> None:
    config = run.config.model_copy(update={"video": run.config.video.model_copy(update={"keep_rate": 1.0})})
    assert "10 of 30 frames" in page_of(Run(run.folder, config))


@pytest.mark.parametrize(("fit", "sides"), [("crop", False), ("stretch", True)])
def test_a_filmstrip_shows_what_the_encoder_sees(run: Run, fit: str, sides: bool) -> None:
    """A wide picture with white sides: cropped to its middle square the encoder does not see them."""
    folder = run.folder / "frames"
    shutil.rmtree(folder)
    folder.mkdir()
    picture = np.zeros((32, 96, 3), np.uint8)
    picture[:, :24] = picture[:, -24:] = 255
    for number in range(8):
        Image.fromarray(picture).save(folder / f"{number}.png")
    video = run.config.video.model_copy(update={"fit": fit})
    row = rows_of(page_of(Run(run.folder, run.config.model_copy(update={"video": video}))))["frames"]
    uri = re.search(r"data:image/webp;base64,([^\"]+)", row)
    assert uri is not None
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri[1]))))
    assert strip.shape[0] == run.config.video.size
    assert strip.shape[1] == 2 * run.config.video.size  # one frame in four
    assert (strip[:, : run.config.video.size].max() > 200) == sides


def test_the_scale_below_a_map_has_numbers(run: Run) -> None:
    add_model_and_cache(run)
    row = rows_of(page_of(run))["film"]
    assert re.search(r'class="scale"><span>0&nbsp;%</span><span class="bar"></span><span>\d+&nbsp;%', row)


def test_pictures_that_do_not_fit_are_left_out_from_the_middle(run: Run) -> None:
    found = read_clips(run, read_evaluations(run))
    assert found is not None
    evaluation, clips = found
    manifest = {clip.id: clip for clip in read_manifest(run.manifest)}
    sizes = {
        row.clip_id: len(row.picture) for row in with_pictures(run, "no cache", evaluation, clips, manifest, 10**6).rows
    }
    assert sizes["film"] and sizes["frames"] and not sizes["gone"]
    few = with_pictures(run, "no cache", evaluation, clips, manifest, sizes["film"] + 10)
    assert [row.clip_id for row in few.rows if row.picture] == ["film"]
    assert few.pictured == 2  # the best, then the worst, whose video is gone; then the second best


def test_a_page_that_has_no_room_for_pictures_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write_module, "MOST_BYTES", 0)
    page = page_of(run)
    assert "0 of 4 clips have pictures" in page and "data:image" not in page
    assert "pictures of 0 of 4 clips fit" in capsys.readouterr().err


def test_rows_that_are_too_many_are_left_out_from_the_middle(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_module, "MOST_ROWS", 2)
    page = page_of(run)
    assert list(rows_of(page)) == ["film", "gone"]
    assert "The table has the best and the worst 2 of 4 clips." in page

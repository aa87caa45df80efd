"""What a changed corpus costs: clips are known by id, times, sentence and what their videos hold, and the features of
those that did not change are kept."""

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache.checkpoints.record import read_record, save_record
from slt_cache.decoding.search import decode_cached
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.parts import parts_folder
from slt_cache.features.verify import cache_problems
from slt_cache.pipeline import evaluate
from slt_cache.runs import eval_files
from slt_cache.runs.run import open_run
from slt_cache.video.chunks import ChunkReader, ClipView
from tests.helpers.commands import TINY, Ran, slt_cache


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 on videos of one's own, `own`, which lie beside their manifest, and a whole cache of it: `run`."""
    folder = tmp_path_factory.mktemp("reuse")
    assert slt_cache("prepare", "avatar", "--run", folder / "drawn", "--config", TINY).code == 0
    (folder / "drawn" / "corpus" / "videos").rename(make(folder / "own") / "videos")
    lines = (folder / "drawn" / "manifest.tsv").read_text(encoding="utf-8").replace("corpus/videos", "videos")
    (folder / "own" / "manifest.tsv").write_text(lines, encoding="utf-8")
    prepare(folder, "--config", TINY, "--set", "llm.language=de_DE", "--set", "visual_training.epochs=1")
    assert slt_cache("train-visual", "--run", folder / "run").code == 0
    assert extract(folder).code == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy to change; the run still knows the videos at their old place."""
    copied = shutil.copytree(trained, tmp_path / "copy")
    prepare(copied)
    return Path(copied)


def make(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def prepare(folder: Path, *options: str | Path, own: str = "own") -> Ran:
    ran = slt_cache("prepare", "tsv", "--root", folder / own, "--run", folder / "run", *options)
    assert ran.code in (0, 1), ran.err  # 1: the table has problems, and the manifest is written
    return ran


def extract(folder: Path, *options: str | Path) -> Ran:
    return slt_cache("extract-features", "--run", folder / "run", *options)


def edit(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Changes the lines of one's own manifest, and prepares."""
    path = folder / "own" / "manifest.tsv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *change(lines)]) + "\n", encoding="utf-8")
    prepare(folder)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the clips whose videos are read from now on, but for the page of `prepare`."""
    monkeypatch.setattr("slt_cache.report.preparation.write_preparation", lambda run, made: run.folder)
    ids: list[str] = []
    events = ChunkReader.events

    def recording(self: ChunkReader, job: ClipView) -> Iterator[Any]:
        ids.append(job.clip.id)
        yield from events(self, job)

    monkeypatch.setattr(ChunkReader, "events", recording)
    return ids


def features_of(folder: Path, split: str = "train") -> dict[str, np.ndarray]:
    held = FeatureCache(folder / "run" / "feats.h5", split)
    return {clip_id: np.array(held[clip_id]) for clip_id in held}


# --- what did not change


def test_a_corpus_that_moved_makes_no_finished_stage_refuse(folder: Path, read: list[str]) -> None:
    (folder / "own").rename(folder / "renamed")
    prepare(folder, own="renamed")
    ran = slt_cache("train-visual", "--run", folder / "run")
    assert (ran.code, "trained already" in ran.err) == (0, True), ran.err
    ran = extract(folder)
    assert (ran.code, ran.out.count("already exist"), read) == (0, 3, [])


def test_videos_named_by_absolute_paths_under_new_names_are_the_same_clips(folder: Path, read: list[str]) -> None:
    elsewhere = make(folder / "elsewhere")
    for video in (folder / "own" / "videos").iterdir():
        video.rename(elsewhere / f"film-{video.name}")
    edit(folder, lambda lines: [line.replace("videos/", f"{elsewhere}/film-") for line in lines])
    assert "trained already" in slt_cache("train-visual", "--run", folder / "run").err
    assert (extract(folder).code, read) == (0, [])


def test_without_its_videos_a_finished_stage_is_still_finished(folder: Path) -> None:
    shutil.rmtree(folder / "own" / "videos")
    ran = slt_cache("train-visual", "--run", folder / "run")
    assert (ran.code, "trained already" in ran.err) == (0, True), ran.err


# --- what changed


def test_a_video_that_changed_under_its_name_is_noticed_and_read_alone(folder: Path, read: list[str]) -> None:
    before = features_of(folder)
    videos = folder / "own" / "videos"
    shutil.copy(videos / "train-00001.mp4", videos / "train-00002.mp4")
    said = slt_cache("train-llm", "--run", folder / "run", "--set", "llm_training.epochs=1").err
    assert "1 clip has a video ('train-00002') that changed since" in said
    ran = extract(folder)
    assert ran.code == 0, ran.err
    assert set(read) == {"train-00002"}
    assert "train: 18 clips keep their features, 1 are read (0 new, 1 changed)" in ran.err
    after = features_of(folder)
    assert np.array_equal(after.pop("train-00002"), before["train-00001"])
    before.pop("train-00002")
    assert all(np.array_equal(after[clip_id], before[clip_id]) for clip_id in before)
    ran = slt_cache("train-visual", "--run", folder / "run")
    assert (ran.code, "videos_sha256" in ran.err) == (2, True)


def test_added_clips_alone_are_read_and_removed_ones_drop_out(folder: Path, read: list[str]) -> None:
    def change(lines: list[str]) -> list[str]:
        lines = [line for line in lines if not line.startswith(("train-00000\t", "train-00017\t"))]
        return [*lines[:5], "new\ttrain\tvideos/dev-00000.mp4\t\t\tein neuer satz\t", *lines[5:]]

    before = features_of(folder)
    edit(folder, change)
    refused = slt_cache("train-llm", "--run", folder / "run")
    assert refused.code == 2
    assert "1 clip is not in the cache ('new')" in refused.err
    assert "2 clips are no longer in the manifest ('train-00000', 'train-00017')" in refused.err
    ran = extract(folder)
    assert ran.code == 0, ran.err
    assert "train: 17 clips keep their features, 1 are read (1 new, 0 changed); 2 no longer in the manifest" in ran.err
    assert set(read) == {"new"}
    held = FeatureCache(folder / "run" / "feats.h5", "train")
    assert (len(held), held.ids[5]) == (18, "new")
    assert all(np.array_equal(held[clip_id], before[clip_id]) for clip_id in before if clip_id in held)
    assert cache_problems(folder / "run" / "feats.h5") == []
    assert not parts_folder(folder / "run" / "feats.h5").exists()


def test_a_corrected_sentence_reads_no_video(folder: Path, read: list[str]) -> None:
    edit(folder, lambda lines: [lines[0].replace("\t\t\t", "\t\t\tund "), *lines[1:]])
    assert "1 clip has another sentence ('train-00000')" in slt_cache("train-llm", "--run", folder / "run").err
    ran = extract(folder)
    assert (ran.code, read) == (0, [])
    assert "train: 19 clips keep their features, 0 are read" in ran.err
    assert FeatureCache(folder / "run" / "feats.h5", "train").texts[0].startswith("und ")


def test_other_times_are_other_features(folder: Path, read: list[str]) -> None:
    edit(folder, lambda lines: [lines[0].replace("\t\t\t", "\t0.2\t\t", 1), *lines[1:]])
    assert extract(folder).code == 0
    assert set(read) == {"train-00000"}


def test_parts_of_an_unfinished_extraction_are_kept_when_the_manifest_changes(folder: Path, read: list[str]) -> None:
    """A broken clip stops the extraction; taken out of the manifest, as the message advises, it costs the others
    nothing."""
    (folder / "run" / "feats.h5").unlink()
    broken = folder / "own" / "videos" / "train-00003.mp4"
    broken.write_bytes(broken.read_bytes()[:600])
    assert extract(folder).code == 1
    assert "train" not in open_splits(folder / "run" / "feats.h5")
    read.clear()
    edit(folder, lambda lines: [line for line in lines if not line.startswith("train-00003\t")])
    ran = extract(folder)
    assert (ran.code, read) == (0, []), ran.err
    assert len(FeatureCache(folder / "run" / "feats.h5", "train")) == 18


# --- restart


def test_restart_of_one_split_keeps_the_others_and_reads_all_of_its_own(folder: Path, read: list[str]) -> None:
    before = (folder / "run" / "feats.h5").read_bytes()
    assert extract(folder, "--split", "dev", "--restart").code == 0
    assert {clip_id.split("-")[0] for clip_id in read} == {"dev"}
    assert (folder / "run" / "feats.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--device", "cuda"), 2),
        (("--device", "nosuch"), 2),
        (("--set", "features.precision=fp16"), 2),
        (("--split", "nosuch"), 2),
        (("--set", "features.dtype=nosuch"), 2),
    ],
)
def test_restart_with_bad_input_changes_nothing(folder: Path, options: tuple[str, ...], code: int) -> None:
    before = (folder / "run" / "feats.h5").read_bytes()
    ran = extract(folder, "--restart", *options)
    assert (ran.code, ran.out) == (code, "")
    assert (folder / "run" / "feats.h5").read_bytes() == before
    assert not parts_folder(folder / "run" / "feats.h5").exists()


def test_the_old_cache_stays_until_a_restarted_split_is_whole(folder: Path, read: list[str]) -> None:
    cache = folder / "run" / "feats.h5"
    before = cache.read_bytes()
    video = folder / "own" / "videos" / "train-00003.mp4"
    whole = video.read_bytes()
    video.write_bytes(b"not a video")
    assert extract(folder, "--split", "train", "--restart").code == 1
    assert cache.read_bytes() == before
    video.write_bytes(whole)
    read.clear()
    assert extract(folder, "--split", "train").code == 0  # resumes what --restart began, from its parts
    assert 0 < len(read) < 19
    assert cache.read_bytes() == before
    assert not parts_folder(cache).exists()


def test_restart_with_another_encoder_replaces_the_file_and_names_what_is_left_out(folder: Path) -> None:
    assert slt_cache("train-visual", "--run", folder / "run", "--restart", "--seed", "5").code == 0
    refused = extract(folder)
    assert (refused.code, "encoder_sha256" in refused.err) == (2, True)
    ran = extract(folder, "--split", "train", "--restart")
    assert ran.code == 0, ran.err
    assert "dev will be dropped" in ran.err
    assert list(open_splits(folder / "run" / "feats.h5")) == ["train"]
    assert extract(folder).code == 0
    assert list(open_splits(folder / "run" / "feats.h5")) == ["train", "dev", "test"]


def test_restart_replaces_a_damaged_file(folder: Path) -> None:
    cache = folder / "run" / "feats.h5"
    before = cache.read_bytes()
    cache.write_bytes(before[:1000] + b"x" + before[1001:])
    assert extract(folder).code == 2
    assert extract(folder, "--restart").code == 0
    assert cache.read_bytes() == before


# --- another experiment over the same encoder


def test_a_second_experiment_takes_encoder_features_and_llm_of_another_run(folder: Path, read: list[str]) -> None:
    first, second = folder / "run", folder / "second"
    assert slt_cache("llm", "pretrain", "--run", first).code == 0
    begun = ("train-llm", "--features", first / "feats.h5", "--run", second, "--from", first)
    ran = slt_cache(*begun, "--seed", "1", "--set", "llm_training.epochs=1")
    assert ran.code == 0, ran.err
    assert "pre-training: trained already" in ran.err
    assert read == []
    for name in ("visual/best/encoder.safetensors", "visual/best/light_t.safetensors"):
        assert (first / name).samefile(second / name)  # copies nothing large
    ran = slt_cache("eval", "--run", second)
    assert (ran.code, read) == (0, []), ran.err
    assert slt_cache("translate", "--run", second, folder / "own" / "videos" / "test-00000.mp4").code == 0
    assert slt_cache("extract-features", "--run", second).out.count("already exist") == 3
    assert slt_cache("report", "--run", second).code == 0
    assert not (first / "llm" / "best").exists()


def test_a_change_of_the_first_run_changes_no_experiment_that_was_begun_from_it(folder: Path) -> None:
    first, second = folder / "run", folder / "second"
    begun = ("train-llm", "--run", second, "--from", first, "--set", "llm_training.epochs=1")
    assert slt_cache(*begun).code == 0
    weights = second / "visual" / "best" / "encoder.safetensors"
    before = weights.read_bytes()
    assert slt_cache("train-visual", "--run", first, "--restart", "--set", "seed=7").code == 0
    assert weights.read_bytes() == before
    refused = slt_cache(*begun)
    assert refused.code == 2
    assert "has changed since" in refused.err
    assert "visual/best/encoder.safetensors" in refused.err
    assert slt_cache("eval", "--run", second).code == 0


# --- results


@pytest.fixture(scope="module")
def translating(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run after stage 2, with its scores on test."""
    run = Path(shutil.copytree(trained, tmp_path_factory.mktemp("translating") / "copy")) / "run"
    assert slt_cache("train-llm", "--run", run, "--set", "llm_training.epochs=1").code == 0
    assert slt_cache("eval", "--run", run).code == 0
    return run


@pytest.fixture
def scored(translating: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(translating, tmp_path / "scored"))


def pair(run: Path, stem: str = "test") -> tuple[bytes, bytes]:
    return (run / "eval" / f"{stem}.json").read_bytes(), (run / "eval" / f"{stem}.tsv").read_bytes()


def test_results_of_other_beams_or_scoring_lie_beside_those_of_the_run(scored: Path) -> None:
    before = pair(scored)
    ran = slt_cache("eval", "--run", scored, "--set", "generation.num_beams=1", "--set", "scoring.lowercase=true")
    assert ran.code == 0, ran.err
    assert "test.num_beams-1.lowercase-True.tsv" in ran.out
    assert pair(scored) == before
    settings = json.loads(pair(scored, "test.num_beams-1.lowercase-True")[0])["settings"]
    assert settings == {"generation.num_beams": 1, "scoring.lowercase": True}
    assert slt_cache("report", "--run", scored).code == 0
    assert slt_cache("eval", "--run", scored, "--set", "generation.num_beams=3").code == 0  # the run's own
    assert len(list((scored / "eval").iterdir())) == 4


def test_scores_of_weights_that_were_replaced_meanwhile_are_filed_under_those(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, best = pair(scored), scored / "llm" / "best"

    def retrained(*arguments: Any) -> Any:
        record = read_record(best)
        assert record is not None
        save_record(best, replace(record, finished_at="2030-01-01T00:00:00+00:00"))
        return decode_cached(*arguments)

    monkeypatch.setattr(evaluate, "decode_cached", retrained)
    ran = slt_cache("eval", "--run", scored)
    assert (ran.code, "trained again while" in ran.err) == (1, True), ran.err
    assert pair(scored) == before
    used = json.loads(pair(scored, "test.earlier")[0])["made_from"]["weights"]["finished_at"]
    assert used == json.loads(before[0])["made_from"]["weights"]["finished_at"]
    assert not eval_files.is_of_these_weights(open_run(scored, None), "llm", "test")
    assert f"score the new ones: slt-cache eval --model llm --run {scored}" in ran.err


def test_weights_that_are_scored_on_dev_once_more_are_the_same_weights(scored: Path) -> None:
    best = scored / "llm" / "best"
    record = read_record(best)
    assert record is not None
    save_record(best, replace(record, dev={"bleu4": 1.0}, dev_beams=7))
    assert eval_files.is_of_these_weights(open_run(scored, None), "llm", "test")


def test_a_disk_that_fills_between_table_and_scores_leaves_both_as_they_were(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pair(scored)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(eval_files, "write_signed", full)
    ran = slt_cache("eval", "--run", scored)
    assert ran.code == 1, ran.err
    assert pair(scored) == before


def test_scores_next_to_the_table_of_another_evaluation_are_no_scores(scored: Path) -> None:
    table = scored / "eval" / "test.tsv"
    assert eval_files.is_of_these_weights(open_run(scored, None), "llm", "test")
    table.write_text(table.read_text(encoding="utf-8") + "more\tx\ty\n", encoding="utf-8")
    assert not eval_files.is_of_these_weights(open_run(scored, None), "llm", "test")


# --- explicit settings


@pytest.mark.parametrize(
    ("command", "setting", "values"),
    [
        ("extract-features", "video.keep_rate=0.5", ("0.25", "0.5")),
        ("extract-features", "video.fit=crop", ("stretch", "crop")),
        ("extract-features", "encoder.dim=64", ("32", "64")),
        ("extract-features", "light_t.size=base", ("tiny", "base")),
        ("eval", "video.keep_rate=0.5", ("0.25", "0.5")),
        ("eval", "features.level=frame", ("sign", "frame")),
        ("eval", "llm.name=other", ("small-mbart", "other")),
        ("cache verify", "video.keep_rate=0.5", ("0.25", "0.5")),
    ],
)
def test_a_setting_that_a_trained_model_overrides_is_refused_with_both_values(
    translating: Path, command: str, setting: str, values: tuple[str, str]
) -> None:
    ran = slt_cache(*command.split(), "--run", translating, "--set", setting)
    assert ran.code == 2, ran.out
    assert all(value in ran.err for value in values), ran.err


def test_an_option_and_a_setting_that_contradict_each_other_are_refused(translating: Path) -> None:
    ran = slt_cache("extract-features", "--run", translating, "--level", "sign", "--set", "features.level=frame")
    assert (ran.code, "--level" in ran.err or "features.level" in ran.err) == (2, True), ran.err

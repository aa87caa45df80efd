"""Stage 1 as a command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slt_cache.checkpoints.record import read_record, save_record
from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import load_config
from slt_cache.corpora.fraction import chosen_ids
from slt_cache.corpora.manifest import read_manifest
from slt_cache.errors import InputError
from slt_cache.hashes import read_signed
from slt_cache.metrics.video_gap import GAP, HIGH, LOW, SWAPPED
from slt_cache.pipeline.train_visual import train_visual
from slt_cache.runs.run import Run
from slt_cache.training.logs import read_metrics
from tests.helpers.commands import TINY, brief_config, slt_cache
from tests.helpers.killed import killed_after
from tests.helpers.tiny_run import succeed
from tests.helpers.toy_training import assert_same


def test_kept_epochs_are_encoders_of_their_own_and_the_last_is_the_end_of_training(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep = ("--set", "visual_training.keep_epochs=[1, 2]")
    succeed("train-visual", "--run", run, "--config", TINY, *keep)
    first, last = (load_visual(run / "visual" / "epochs" / epoch) for epoch in ("1", "2"))
    assert first.sha256("sign") != last.sha256("sign")
    assert [one.record.best_epoch for one in (first, last)] == [1, 2]
    best = load_visual(run / "visual" / "best")
    assert best.sha256("sign") in {first.sha256("sign"), last.sha256("sign")}
    other = tmp_path / "other"
    succeed("train-visual", "--run", other, "--config", TINY)
    assert load_visual(other / "visual" / "best").sha256("sign") == best.sha256("sign")
    again = succeed("train-visual", "--run", run, "--set", "visual_training.keep_epochs=[1]")
    assert "trained already" in again.err  # what is kept decides nothing


def test_a_stage_1_that_does_not_see_says_so_and_so_does_a_stage_2_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slt_cache.metrics.video_gap.FEWEST_CLIPS", 2)  # the tiny corpus has few
    run, said = tmp_path / "run", "its weights hardly see the video"
    trained = succeed("train-visual", "--run", run, "--config", brief_config(tmp_path), "--json")
    [line] = [line for line in read_metrics(run / "visual" / "metrics.jsonl") if line["kind"] == "epoch"]
    answer = json.loads(trained.out)
    for key in (GAP, SWAPPED, LOW, HIGH):
        assert answer[key] == line[key] == load_visual(run / "visual" / "best").record.video_gap[key]
    assert answer["sees_video"] is False and f"video gap {line[GAP]:.3f} (swapped" in trained.err
    assert f"stage 1: {said}" in trained.err and "visual_training.epochs" in trained.err
    assert said in succeed("train-visual", "--run", run).err  # trained already
    succeed("extract-features", "--split", "all", "--run", run)
    stage_2 = succeed("train-llm", "--run", run, "--json")
    assert f"stage 2 reads the features of stage 1: {said}" in stage_2.err and GAP not in json.loads(stage_2.out)
    succeed("report", "--run", run)
    page = run.joinpath("report.html").read_text(encoding="utf-8")
    assert f"Warning: {said}" in page and "video gap (nats per token)" in page
    best = run / "visual" / "best"
    save_record(best, replace(load_visual(best).record, video_gap={}))  # as an earlier version left it
    assert said not in succeed("train-llm", "--run", run).err


EVERYTHING = (
    "visual_training.objective=contrastive,cico,signcl,denoising",
    "visual_training.curriculum=short-first",
    "visual_training.frame_dropout=0.2",
    "visual_training.time_masks=2",
    "visual_training.label_smoothing_end=0.0",
    "visual_training.ema=0.5",
)


def test_a_killed_stage_1_with_every_term_and_regularizer_resumes_to_the_bit_and_keeps_its_average(
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = [word for setting in EVERYTHING for word in ("--set", setting)]
    succeed("train-visual", "--run", whole, "--config", TINY, *settings)
    with killed_after(4):
        slt_cache("train-visual", "--run", killed, "--config", TINY, *settings, "--set", "compute.save_minutes=0")
    succeed("train-visual", "--run", killed)
    logs = [
        [{**line, "seconds": 0} for line in read_metrics(run / "visual" / "metrics.jsonl")] for run in (whole, killed)
    ]
    assert logs[0] == logs[1] and len(logs[0]) >= 2
    averaged = [load_visual(run / "visual" / "best").model.state_dict() for run in (whole, killed)]
    assert_same(*averaged)
    plain = tmp_path / "plain"
    succeed("train-visual", "--run", plain, "--config", TINY, *settings[:-2])
    last = load_visual(plain / "visual" / "best").model.state_dict()
    assert any(not torch.equal(last[name], averaged[0][name]) for name in last)  # the average is kept


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("compute.device=abacus", "abacus"),
        ("encoder.backbone=resnet99", "resnet99.*resnet18"),
        ("corpus.name=tsv", "preset: not set"),
    ],
)
def test_a_mistyped_setting_is_refused_before_the_corpus_is_drawn(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        train_visual(Run(tmp_path / "run", load_config("avatar", [setting])))
    assert list(tmp_path.iterdir()) == []


def test_terms_that_compare_clips_are_refused_for_batches_of_one_before_the_corpus_is_drawn(tmp_path: Path) -> None:
    settings = ["visual_training.objective=cico", "visual_training.batch_size=1"]
    with pytest.raises(InputError, match=r"visual_training.objective cico: compares the clips of a batch"):
        train_visual(Run(tmp_path / "run", load_config("avatar", settings)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_share_of_the_clips_holds_for_both_stages_and_stage_2_may_have_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    brief = ("--config", brief_config(tmp_path), "--set", "compute.keep_state=false")
    succeed("train-visual", "--run", run, *brief, "--set", "corpus.fraction=0.5")
    succeed("extract-features", "--split", "all", "--run", run)
    succeed("train-llm", "--run", run)
    config = load_config(str(run / "config.yaml"))
    manifest = [clip.id for clip in read_manifest(run / "manifest.tsv") if clip.split == "train"]
    visual, llm = (read_record(run / name / "best") for name in ("visual", "llm"))
    assert visual is not None and llm is not None
    assert (config.corpus.fraction, config.llm_training.fraction) == (0.5, None)
    assert visual.settings["corpus.fraction"] == llm.settings["corpus.fraction"] == 0.5
    assert llm.settings["clips"] == len(chosen_ids(manifest, 0.5, config.seed))
    trained_on = read_signed(run / "visual" / "clips.json")["clips"]
    assert set(trained_on) == chosen_ids(manifest, 0.5, config.seed)
    succeed("train-llm", "--run", run, "--set", "corpus.fraction=0.25", "--restart")
    config = load_config(str(run / "config.yaml"))
    assert (config.corpus.fraction, config.llm_training.fraction) == (0.5, 0.25)
    for command, stage in (("train-visual", "stage 1"), ("train-llm", "stage 2")):
        assert f"{stage}: trained already" in succeed(command, "--run", run).err

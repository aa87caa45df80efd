"""A manifest that is no longer the one that a stage was trained on: what differs is named."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.config import Config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import read_manifest
from slt_cache.pipeline.trained_clips import explain_change, write_clips
from slt_cache.runs.run import Run
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.tiny_run import succeed


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("manifests") / "run"
    brief = ("--set", "visual_training.epochs=1", "--set", "corpus.clips=20")
    succeed("train-visual", "--run", run, "--config", TINY, *brief)
    return run


def refused(run: Path) -> str:
    ran = slt_cache("train-visual", "--run", run)
    assert ran.code == 2
    return ran.err


def test_a_flipped_sentence_is_named_and_the_manifest_is_not_as_it_was_prepared(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    clip = next(one for one in read_manifest(run / "manifest.tsv") if one.split == "train")
    manifest = run / "manifest.tsv"
    text = manifest.read_text(encoding="utf-8")
    line = next(one for one in text.splitlines() if one.startswith(f"{clip.id}\t"))
    flipped = line.replace(clip.text, f"{clip.text[:-1]}{chr(ord(clip.text[-1]) ^ 1)}")
    manifest.write_text(text.replace(line, flipped), encoding="utf-8")
    said = refused(run)
    assert f"1 clip has another sentence or other times ({clip.id!r})" in said
    assert f"{manifest} is not as `prepare` wrote it" in said
    assert f"slt-cache prepare avatar --run {run}" in said
    succeed("prepare", "avatar", "--run", run)
    assert "trained already" in succeed("train-visual", "--run", run).err


def test_clips_that_were_added_or_taken_out_are_counted(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    manifest = run / "manifest.tsv"
    header, *lines = manifest.read_text(encoding="utf-8").splitlines()
    train = [line for line in lines if line.split("\t")[1] == "train"]
    gone = [line.split("\t")[0] for line in train[:2]]
    added = train[2].replace(train[2].split("\t")[0], "new", 1)
    manifest.write_text("\n".join([header, *lines[lines.index(train[2]) :], added, ""]), encoding="utf-8")
    said = refused(run)
    assert "1 clip was added ('new')" in said
    assert f"2 clips are gone ({gone[0]!r}, {gone[1]!r})" in said


def test_dev_is_scored_again_when_what_its_videos_hold_has_changed(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    manifest = run / "manifest.tsv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(str(trained), str(run)), encoding="utf-8")
    (run / "prepare.json").unlink()
    assert "dev has changed" not in succeed("train-visual", "--run", run).err
    dev = [clip.video for clip in read_manifest(manifest) if clip.split == "dev"]
    before = dev[0].read_bytes()
    shutil.copyfile(dev[1], dev[0])
    assert "dev has changed since it selected these weights" in succeed("train-visual", "--run", run).err
    assert "dev has changed" not in succeed("train-visual", "--run", run).err
    dev[0].unlink()
    assert "trained already" in succeed("train-visual", "--run", run).err
    dev[0].write_bytes(before)


def test_changes_of_times_and_sentences_are_counted_by_clip(tmp_path: Path) -> None:
    run = Run(tmp_path, Config())
    clips = [Clip(name, "train", tmp_path / "v.mp4", 0.0, 1.0, "ein satz") for name in "abcd"]
    assert explain_change(run, tmp_path, clips) == ""  # nothing is known of the training
    write_clips(tmp_path, clips)
    assert explain_change(run, tmp_path, clips[::-1]) == ""
    now = [replace(clips[0], text="zwei"), replace(clips[1], end=2.0), clips[2], replace(clips[2], id="e")]
    said = explain_change(run, tmp_path, now)
    assert said.startswith("Since then 2 clips have other sentences or times")
    assert "1 clip was added" in said and "1 clip is gone" in said and "'d'" in said

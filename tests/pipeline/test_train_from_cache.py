"""The splits of a cache that a training reads, and what its weights depend on."""

from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.fraction import chosen_ids
from slt_cache.errors import InputError
from slt_cache.features.layout import Failure
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.pipeline.train_from_cache import cache_settings, open_splits
from slt_cache.runs.run import Run
from tests.helpers.caches import DIM, IDS, add_split, facts_of, rows_of

SPEC = FeatureSpec(encoder_sha256=None, level=IMPORTED, dim=DIM, dtype="float16", source="i3d")
OWN = ("features.level=imported", "corpus.name=tsv")


def run_with(folder: Path, *settings: str) -> Run:
    return Run(folder / "run", load_config("avatar", settings))


def cached(folder: Path, *splits: str) -> Path:
    for split in splits:
        add_split(folder / "feats.h5", rows_of(), facts_of(split, SPEC))
    return folder / "feats.h5"


def test_train_and_dev_are_opened_and_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = open_splits(run_with(tmp_path, *OWN), cached(tmp_path, "train", "dev", "test"))
    assert splits.dev is not None
    assert (splits.train.split, splits.dev.split, splits.train.ids) == ("train", "dev", list(IDS))
    assert capsys.readouterr().err == ""


def test_without_dev_the_command_that_adds_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = cached(tmp_path, "train")
    assert open_splits(run_with(tmp_path, *OWN), cache).dev is None
    said = capsys.readouterr().err
    assert "holds no dev split: the last weights will be kept" in said and f"--out {cache}" in said


def test_imported_features_have_to_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds imported features, but features\.level is sign\. Add --set"):
        open_splits(run_with(tmp_path), cached(tmp_path, "train"))


def test_a_split_of_which_nothing_could_be_read_is_refused(tmp_path: Path) -> None:
    cache = cached(tmp_path, "train")
    add_split(cache, [], facts_of("dev", SPEC), (Failure("a", "an empty file"),))
    with pytest.raises(InputError, match="the split dev is empty"):
        open_splits(run_with(tmp_path, *OWN), cache)


def test_the_weights_depend_on_features_clips_sentences_seed_and_language(tmp_path: Path) -> None:
    def settings(folder: str, text: str = "", *changes: str) -> dict[str, object]:
        rows = rows_of()
        rows[0] = replace(rows[0], text=text or rows[0].text)
        held = add_split(tmp_path / folder / "feats.h5", rows, facts_of("train", SPEC))
        return cache_settings(run_with(tmp_path, *OWN, *changes), held)

    plain = settings("a")
    assert settings("b") == plain
    for name, changed in {
        "clips_sha256": settings("c", "ein anderer satz"),
        "seed": settings("d", "", "seed=5"),
        "language": settings("e", "", "llm.language=en_XX"),
    }.items():
        assert {key for key in plain if plain[key] != changed[key]} == {name}


def test_a_share_of_train_is_that_of_the_manifest_and_recorded_and_dev_stays_whole(tmp_path: Path) -> None:
    without = Failure(IDS[2], "an empty file")
    add_split(
        tmp_path / "feats.h5", [row for row in rows_of() if row.clip_id != IDS[2]], facts_of("train", SPEC), (without,)
    )
    run = run_with(tmp_path, *OWN, "corpus.fraction=0.5")
    splits = open_splits(run, cached(tmp_path, "dev"))
    assert splits.dev is not None and len(splits.dev) == len(IDS)
    assert set(splits.train.ids) == chosen_ids(IDS, 0.5, 0) - {IDS[2]}
    assert cache_settings(run, splits.train)["corpus.fraction"] == 0.5
    own = run_with(tmp_path, *OWN, "corpus.fraction=0.5", "llm_training.fraction=1")
    assert open_splits(own, tmp_path / "feats.h5").train.ids == [one for one in IDS if one != IDS[2]]
    assert "corpus.fraction" not in cache_settings(own, open_splits(own, tmp_path / "feats.h5").train)

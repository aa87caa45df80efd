"""The size of a job, before anything of it is done."""

from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError
from slt_cache.estimates.workload import TOKENS, Workload, workload_of
from slt_cache.runs.run import Run
from tests.helpers import official
from tests.helpers.made_up_corpus import CORPUS


def workload(folder: Path, config: str, *settings: str, manifests: tuple[Path, ...] = ()) -> Workload:
    return workload_of(Run(folder, load_config(config, settings)), manifests)


@pytest.mark.parametrize(
    ("config", "clips", "frames"),
    [
        ("phoenix14t", [7_096, 519, 642], [827_354, 55_775, 64_627]),
        ("csl_daily", [18_401, 1_077, 1_176], [2_227_000, 133_900, 152_300]),
        ("how2sign", [31_164, 1_740, 2_356], [5_064_000, 282_800, 382_900]),
    ],
)
def test_an_official_corpus_that_is_not_at_hand_has_its_published_size(
    config: str, clips: list[int], frames: list[int], tmp_path: Path
) -> None:
    found = workload(tmp_path, config)
    assert [amount.clips for amount in found.splits.values()] == clips
    assert [amount.frames for amount in found.splits.values()] == frames
    assert (found.tokens, found.sentences, found.source) == (TOKENS, clips[0], "as published: corpus.root is not set")


def test_an_official_corpus_at_hand_is_counted(tmp_path: Path) -> None:
    root = official.phoenix(tmp_path / "root")
    found = workload(tmp_path, "phoenix14t", f"corpus.root={root}")
    assert {split: amount.clips for split, amount in found.splits.items()} == {"train": 2, "dev": 1, "test": 1}
    assert found.splits["train"].frames == 6
    assert found.source == f"as in {root}"


def test_the_demo_corpus_is_planned_and_a_manifest_goes_before_it(tmp_path: Path) -> None:
    planned = workload(tmp_path, "avatar", "corpus.clips=40")
    assert sum(amount.clips for amount in planned.splits.values()) == 40
    assert planned.source == "to be drawn"
    assert not (tmp_path / "corpus").exists()
    (tmp_path / "clips.txt").write_text("train a ein satz\n")
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, CORPUS.read(load_config("avatar").corpus, tmp_path, lambda: False).clips)
    counted = workload(tmp_path, "avatar", "corpus.clips=40", manifests=(tmp_path / "none.tsv", manifest))
    assert (counted.splits["train"].clips, counted.sentences) == (1, planned.sentences)
    assert counted.source == f"as in {manifest}"


def test_your_own_corpus_without_its_folder_has_no_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.root: not set. Name the folder of manifest\.tsv"):
        workload(tmp_path, "tsv")


def test_a_training_on_a_share_of_the_clips_takes_as_much_less(tmp_path: Path) -> None:
    config = load_config("phoenix14t", ["corpus.fraction=0.25", "llm_training.fraction=0.5"])
    whole = workload_of(Run(tmp_path, config), ())
    for stage_2, share in ((False, 0.25), (True, 0.5)):
        used = whole.used_by(config, stage_2)
        assert used.splits["train"].clips == share * 7_096
        assert used.splits["train"].frames == pytest.approx(share * 827_354)
        assert (used.splits["dev"], used.sentences) == (whole.splits["dev"], whole.sentences)

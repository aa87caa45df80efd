"""The table of clips without features."""

from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.decoding.encode import UnstorableFeatures
from slt_cache.features.layout import Failure
from slt_cache.pipeline.failures import failures_file, what_to_do, write_failures


def test_each_missing_clip_is_one_line_whatever_its_reason_holds(tmp_path: Path) -> None:
    write_failures(tmp_path / "feats.h5", "dev", [Failure("a", "no such\n file\tat all"), Failure("ä", "empty")])
    assert failures_file(tmp_path / "feats.h5", "dev") == tmp_path / "feats.dev.failed.tsv"
    written = (tmp_path / "feats.dev.failed.tsv").read_text(encoding="utf-8")
    assert written == "id\treason\na\tno such file at all\nä\tempty\n"


def test_a_split_without_missing_clips_loses_its_table_and_no_other_does(tmp_path: Path) -> None:
    cache = tmp_path / "feats.h5"
    for split in ("train", "dev"):
        write_failures(cache, split, [Failure("a", "empty")])
    write_failures(cache, "dev", [])
    write_failures(cache, "test", [])
    assert list(tmp_path.iterdir()) == [failures_file(cache, "train")]


LARGE, SMALL = (Failure("a", reason) for reason in UnstorableFeatures.reasons_for("float16"))
LARGER = Failure("a", UnstorableFeatures.reasons_for("float32")[0])
REPAIR = "Repair these videos and run the same command: only they are read again."
WIDE = "features.dtype=float32"
LOST_32 = "of these videos can be read, but float32 cannot hold their features."
LOST = "of these videos can be read, but float16 cannot hold their features."
RANDOM = "The encoder's weights are random (encoder.weights=none): set encoder.weights=imagenet."


@pytest.mark.parametrize(
    ("settings", "failed", "said"),
    [
        ([], [Failure("a", "empty")], [REPAIR]),
        ([], [LARGE], ["1", LOST, "Try --dtype float32, or train stage 1 again."]),
        ([WIDE], [LARGER], ["1", LOST_32, "Train stage 1 again."]),
        ([WIDE, "encoder.name=resnet18"], [LARGER], ["1", LOST_32, "Use another encoder."]),
        ([WIDE, "encoder.name=resnet18", "encoder.weights=none"], [LARGER], ["1", LOST_32, RANDOM]),
        (
            ["encoder.name=resnet18"],
            [SMALL, Failure("b", "empty")],
            ["1", LOST, "Try --dtype float32, or use another encoder.", REPAIR],
        ),
        (["encoder.name=resnet18", "encoder.weights=none"], [SMALL, LARGE], ["2", LOST, RANDOM]),
    ],
)
def test_only_videos_that_cannot_be_read_are_to_be_repaired(
    settings: list[str], failed: list[Failure], said: list[str]
) -> None:
    expected = " ".join([*said, "Or add --allow-missing, and the cache lists them as missing."])
    assert what_to_do(load_config("avatar", settings), failed) == expected

"""A manifest's column `box` crops the frames, and the cache knows that it did."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

from slt_cache.features.cache import FeatureCache
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.tiny_run import succeed

BOX = "\t0.25,0.125,0.75,1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    return path


def frames(folder: Path, rows: slice = slice(None), columns: slice = slice(None)) -> None:
    """Eight frames of noise, of 40 x 64 pixels, or a part of them."""
    folder.mkdir(parents=True)
    for number in range(8):
        picture = np.random.default_rng(number).integers(0, 256, (40, 64, 3), np.uint8)
        Image.fromarray(picture[rows, columns]).save(folder / f"{number}.png")


def extracted(root: Path, weights: Path, fit: str, box: str) -> FeatureCache:
    """The features of a manifest of one clip, with a column `box` if there is one."""
    lines = [f"id\tsplit\tvideo\tstart\tend\ttext{box and chr(9)}{box and 'box'}", f"a\ttrain\tframes\t\t\teins{box}"]
    (root / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert slt_cache("prepare", "tsv", "--root", root, "--run", root / "run", "--config", TINY, "--no-probe").code == 1
    settings = (f"encoder.weights={weights}", f"video.fit={fit}")
    words = [part for setting in settings for part in ("--set", setting)]
    succeed("extract-features", "--encoder", "resnet18", "--run", root / "run", "--split", "train", *words)
    return FeatureCache(root / "run" / "feats.h5", "train")


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_features_of_a_box_are_those_of_frames_that_were_cropped_before(
    tmp_path: Path, weights: Path, fit: str
) -> None:
    frames(tmp_path / "whole" / "frames")
    frames(tmp_path / "cropped" / "frames", slice(5, 40), slice(16, 48))
    boxed = extracted(tmp_path / "whole", weights, fit, BOX)
    cropped = extracted(tmp_path / "cropped", weights, fit, "")
    assert np.array_equal(boxed["a"], cropped["a"])
    assert (boxed.spec.boxes, cropped.spec.boxes) == (True, None)
    assert "boxes" not in json.loads(cropped.spec.to_json())
    assert boxed.sources[0].endswith(" - - 0.25,0.125,0.75,1.0")


def test_features_of_whole_frames_are_refused_for_a_manifest_with_boxes(tmp_path: Path, weights: Path) -> None:
    frames(tmp_path / "frames")
    whole = extracted(tmp_path, weights, "stretch", "")["a"]
    features = tmp_path / "run" / "feats.h5"
    features.rename(tmp_path / "whole.h5")
    boxed = extracted(tmp_path, weights, "stretch", BOX)
    assert not np.array_equal(boxed["a"], whole)
    ran = slt_cache("cache", "verify", tmp_path / "whole.h5", "--run", tmp_path / "run")
    assert (ran.code, "boxes: file None, this run True" in ran.out + ran.err) == (1, True)

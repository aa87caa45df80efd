"""Extraction as its user meets it: killed, in teams, beside another one, on full disks, with bad videos."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.parts import parts_folder
from slt_cache.features.verify import cache_problems
from slt_cache.locks import exclusive
from slt_cache.pipeline import extract as pipeline
from slt_cache.runs.run import open_run
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.commands import TINY, complaints, slt_cache
from tests.helpers.small_disks import file_size_limit
from tests.helpers.team import start_team

KILLS_IN_MAKE_TEST = 3
ALL_KILLS = 50


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder after stage 1, and a whole cache of it."""
    run = tmp_path_factory.mktemp("extraction") / "tiny"
    brief = ("--set", "visual_training.epochs=1", "--set", "compute.keep_state=false")
    assert slt_cache("train-visual", "--run", run, "--config", TINY, *brief).code == 0
    assert slt_cache("extract-features", "--run", run).code == 0
    yield run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to write into, without the cache."""
    copy = Path(shutil.copytree(trained, tmp_path / "tiny"))
    (copy / "feats.h5").unlink()
    return copy


def extract(run: Path, *options: object) -> Any:
    return slt_cache("extract-features", "--run", run, *options)


# --- killed


@pytest.mark.parametrize(
    "count", [KILLS_IN_MAKE_TEST, pytest.param(ALL_KILLS, marks=pytest.mark.slow)], ids=["some", "fifty"]
)
def test_killed_anywhere_and_resumed_the_cache_has_the_same_bytes(trained: Path, tmp_path: Path, count: int) -> None:
    """Four in five at an event, the others at some time, which hits the writing of bytes too."""
    test_only = tmp_path / "test.h5"
    assert extract(trained, "--split", "test", "--features", test_only).code == 0
    draw, points = random.Random(count), []
    for number in range(count):
        moment = {"time": draw.random(), "workers": 2} if number % 5 == 0 else {"event": draw.random(), "workers": 0}
        held = str(test_only) if 2 * number >= count else None
        points.append({"stage": "extract", "signal": signal.SIGKILL, "held": held, **moment})
    assert complaints(trained, tmp_path / "killed", points) == [None] * count


def test_workers_do_not_change_the_bytes(trained: Path, run: Path) -> None:
    assert extract(run, "--set", "compute.workers=3").code == 0
    assert (run / "feats.h5").read_bytes() == (trained / "feats.h5").read_bytes()


def test_splits_one_by_one_in_any_order_give_the_bytes_of_all_at_once(trained: Path, run: Path) -> None:
    for split in ("test", "train", "dev"):
        assert extract(run, "--split", split).code == 0
    assert list(open_splits(run / "feats.h5")) == ["train", "dev", "test"]
    assert (run / "feats.h5").read_bytes() == (trained / "feats.h5").read_bytes()


def test_a_large_cache_becomes_a_folder_with_the_same_clips_and_features(trained: Path, run: Path) -> None:
    assert extract(run, "--set", "features.max_file_gb=0.00002").code == 0
    whole, folder = (open_splits(one / "feats.h5") for one in (trained, run))
    assert (run / "feats.h5").is_dir() and list(folder) == list(whole)
    for split, cache in whole.items():
        assert folder[split].metadata == cache.metadata and folder[split].clips_sha256 == cache.clips_sha256
        assert all(np.array_equal(folder[split][clip_id], cache[clip_id]) for clip_id in cache)
    assert slt_cache("verify", run).code == slt_cache("cache", "verify", "--run", run).code == 0
    before = {path: path.stat().st_mtime_ns for path in (run / "feats.h5").iterdir()}
    assert len(before) > 4
    assert extract(run).code == 0  # there is nothing to do
    assert before == {path: path.stat().st_mtime_ns for path in (run / "feats.h5").iterdir()}


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_team_of_processes_writes_the_same_bytes(trained: Path, run: Path, tmp_path: Path, processes: int) -> None:
    words = ["extract-features", "--run", str(run), "--set", "features.clips_per_part=4"]
    assert start_team(tmp_path / "logs", words, processes) == [0] * processes
    said = "".join(path.read_text() for path in tmp_path.rglob("stdout.log"))
    assert said.count("train: 19 clips") + said.count("of 19 clips") == 1  # one process speaks
    assert extract(trained, "--features", run / "alone.h5", "--set", "features.clips_per_part=4").code == 0
    assert (run / "feats.h5").read_bytes() == (run / "alone.h5").read_bytes()


def test_the_main_process_stays_until_the_others_know_that_there_is_nothing_to_do(trained: Path) -> None:
    from torch._C._distributed_c10d import HashStore

    store, run = HashStore(), open_run(trained)
    with ThreadPoolExecutor(2) as team:
        first = team.submit(pipeline.extract, run, ["dev"], run.features, queue=WorkQueue(0, 2, store))
        while not store.check(["plan"]):
            time.sleep(0.01)
        with pytest.raises(TimeoutError):  # the store that the other reads may be its own
            first.result(timeout=1)
        assert pipeline.extract(run, ["dev"], run.features, queue=WorkQueue(1, 2, store)) == []
        assert [one.fresh for one in first.result(timeout=60)] == [False]


def test_a_second_extraction_into_the_same_file_stops_and_names_the_first(run: Path) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from slt_cache.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'x'): print('held', flush=True); time.sleep(60)"
    )
    lock = parts_folder(run / "feats.h5") / "lock"
    with subprocess.Popen([sys.executable, "-c", holder, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        ran = extract(run)
        other.kill()
    assert ran.code == 2
    assert f"is being written by process {other.pid} on " in ran.err
    assert not (run / "feats.h5").exists()
    assert extract(run).code == 0  # the system has given the lock back


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", "it"):
            1 / 0  # noqa: B018
    assert not (tmp_path / "lock").exists()


# --- no room


@pytest.mark.parametrize(("limit", "kept"), [(9_000, "0 of 5"), (30_000, "5 of 5")], ids=["a part", "the cache"])
def test_a_file_size_limit_is_a_clear_error_that_says_what_is_kept(run: Path, limit: int, kept: str) -> None:
    with file_size_limit(limit):
        ran = extract(run)
    assert ran.code == 1, ran.err
    assert "could not be written (File too large)" in ran.err
    assert f"{kept} parts are kept" in ran.err
    assert "HDF5" not in ran.err
    assert "Traceback" not in ran.err
    assert not (run / "feats.h5").exists()
    assert not list(run.rglob("*.tmp"))
    assert extract(run).code == 0


def test_a_place_that_cannot_be_written_is_refused_before_any_video_is_read(run: Path) -> None:
    (run / "file").write_text("in the way")
    shutil.rmtree(run / "corpus" / "videos")
    ran = extract(run, "--features", run / "file" / "feats.h5")
    assert ran.code == 2
    assert "cannot be written" in ran.err


@pytest.mark.slow
def test_a_video_of_twenty_minutes_is_extracted_within_a_gigabyte_above_the_model(tmp_path: Path) -> None:
    """30,000 frames of 256 pixels, 7,500 of them kept at 224: held at once they would take 1.1 GB, decoded 5.9 GB."""
    import av

    video = tmp_path / "long.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for number in range(30_000):
            picture = np.full((256, 256, 3), number % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    ran = subprocess.run(
        [sys.executable, "-m", "tests.helpers.memory", str(video), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr
    measured = json.loads(ran.stdout)
    assert measured["rows"] == 7_500
    assert measured["most"] - measured["before"] < 1_000


# --- bad videos


@pytest.fixture
def damaged(run: Path) -> Path:
    """Two of the train videos cannot be read."""
    videos = run / "corpus" / "videos"
    (videos / "train-00003.mp4").rename(run / "kept.mp4")
    (videos / "train-00003.mp4").write_bytes(b"not a video")
    (videos / "train-00010.mp4").unlink()
    return run


def test_unreadable_clips_are_listed_and_the_split_is_not_written(damaged: Path) -> None:
    ran = extract(damaged)
    assert ran.code == 1
    assert "failed\ttrain-00003\tit cannot be read" in ran.err
    assert "failed\ttrain-00010\tthere is no such file or folder" in ran.err
    assert list(open_splits(damaged / "feats.h5")) == ["dev", "test"]
    table = (damaged / "feats.train.failed.tsv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "id\treason"
    assert [line.split("\t")[0] for line in table[1:]] == ["train-00003", "train-00010"]
    assert [clip["id"] for clip in json.loads(extract(damaged, "--json").out)["failed"]] == [
        "train-00003",
        "train-00010",
    ]


def test_allow_missing_writes_the_hole_down_and_every_command_says_so(damaged: Path) -> None:
    ran = extract(damaged, "--allow-missing")
    assert ran.code == 0
    assert "2 clips have no features" in ran.err
    cache = FeatureCache(damaged / "feats.h5", "train")
    assert not cache.complete
    assert [failure.clip_id for failure in cache.missing] == ["train-00003", "train-00010"]
    assert len(cache) == 17
    assert cache_problems(damaged / "feats.h5") == []
    ran = slt_cache("train-llm", "--features", "feats.h5", "--run", damaged)
    assert ran.code == 0
    assert "2 clips of train are missing" in ran.err
    assert "2 clips of train are missing" not in slt_cache("eval", "--run", damaged, "--split", "test").err


def test_a_repaired_video_alone_is_read_again_and_the_bytes_are_those_of_a_good_run(
    trained: Path, damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert extract(damaged, "--allow-missing").code == 0
    assert extract(damaged).code == 1  # still a hole
    videos = damaged / "corpus" / "videos"
    (damaged / "kept.mp4").rename(videos / "train-00003.mp4")
    shutil.copy(trained / "corpus" / "videos" / "train-00010.mp4", videos)
    read: set[str] = set()
    events = ChunkReader.events

    def recording(self: ChunkReader, job: ClipView) -> Iterator[Any]:
        read.add(job.clip.id)
        return events(self, job)

    monkeypatch.setattr(ChunkReader, "events", recording)
    assert extract(damaged).code == 0
    assert read == {f"train-{number:05d}" for number in range(16)}  # two parts of eight; the third is kept
    assert (damaged / "feats.h5").read_bytes() == (trained / "feats.h5").read_bytes()
    assert not (damaged / "feats.train.failed.tsv").exists()
    assert not parts_folder(damaged / "feats.h5").exists()


# --- levels and views


def test_the_other_views_are_augmented_and_drawn_from_the_seed_alone(run: Path) -> None:
    options = ("--split", "train", "--views", "3", "--set", "augmentation.rotation=10.0")
    assert extract(run, *options).code == 0
    cache = FeatureCache(run / "feats.h5", "train")
    assert (cache.views, len(cache), cache.rows) == (3, 19, 57)
    assert cache.spec.augmentation is not None
    assert cache.spec.augmentation["rotation"] == 10.0
    assert "hue" not in cache.spec.augmentation  # off; caches that were written before there was hue are not refused
    first = cache.ids[0]
    assert not np.array_equal(cache.view(first, 0), cache.view(first, 1))
    assert not np.array_equal(cache.view(first, 1), cache.view(first, 2))
    again, other = run / "again.h5", run / "other.h5"
    assert extract(run, *options, "--features", again, "--set", "compute.workers=2").code == 0
    assert again.read_bytes() == (run / "feats.h5").read_bytes()
    assert extract(run, *options, "--features", other, "--set", "features.view_seed=1").code == 0
    reseeded = FeatureCache(other, "train")
    assert np.array_equal(reseeded.view(first, 0), cache.view(first, 0))
    assert not np.array_equal(reseeded.view(first, 1), cache.view(first, 1))


def test_view_0_of_several_is_the_only_view_of_one(trained: Path, run: Path) -> None:
    assert extract(run, "--split", "train", "--views", "2").code == 0
    alone, several = FeatureCache(trained / "feats.h5", "train"), FeatureCache(run / "feats.h5", "train")
    for clip_id in alone:
        # Not to the bit: other frames share their passes through the backbone.
        np.testing.assert_allclose(several[clip_id], alone[clip_id], rtol=2e-3, atol=1e-4)


def test_what_was_extracted_is_what_the_run_asks_for_from_then_on(run: Path) -> None:
    assert extract(run, "--level", "hidden", "--dtype", "float32", "--views", "2").code == 0
    features = open_run(run, None).config.features
    assert (features.level, features.dtype, features.views) == ("hidden", "float32", 2)
    assert slt_cache("train-llm", "--features", "feats.h5", "--run", run).code == 0
    assert slt_cache("eval", "--run", run).code == 0


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("features.level", "frame", "level: file sign, this run frame"),
        ("features.dtype", "float32", "dtype: file float16, this run float32"),
        ("features.views", "2", "views: file 1, this run 2"),
        ("features.precision", "bf16", "precision: file fp32, this run bf16"),
    ],
)
def test_a_run_that_asks_for_other_features_is_refused_with_field_and_values(
    trained: Path, setting: str, value: str, said: str
) -> None:
    for command in (("train-llm", "--features", "feats.h5"), ("extract-features",)):
        ran = slt_cache(*command, "--run", trained, "--set", f"{setting}={value}")
        assert ran.code == 2, command
        assert said in ran.err
        assert len(ran.err.splitlines()) <= 2


def test_without_an_encoder_the_settings_are_compared(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "tiny"))
    shutil.rmtree(run / "visual")
    ran = slt_cache("train-llm", "--features", "feats.h5", "--run", run, "--set", "video.keep_rate=0.5")
    assert ran.code == 2
    assert "keep_rate: file 0.25, this run 0.5" in ran.err
    assert slt_cache("train-llm", "--features", "feats.h5", "--run", run).code == 0


def test_live_features_are_those_of_the_cache(trained: Path) -> None:
    """One path for both: the clips of a part, read and encoded as `translate` does, one at a time."""
    from slt_cache.decoding.encode import encode, usable
    from slt_cache.pipeline.encoder import encoder_of, frozen_encoder
    from slt_cache.pipeline.prepare import ensure_clips

    run = open_run(trained, None, device="cpu")
    cache = FeatureCache(trained / "feats.h5", "test")
    visual = encoder_of(run, cache.spec)
    import torch

    encoder = frozen_encoder(visual, cache.spec, torch.device("cpu"), None)
    reader = ChunkReader(visual.video)
    for clip in (clip for clip in ensure_clips(run) if clip.split == "test"):
        events = list(reader.events(ClipView(clip)))
        assert not any(isinstance(event, UnreadableVideo) for event in events)
        assert isinstance(events[-1], ClipEnd)
        [live] = usable(encode(encoder, reader.events(ClipView(clip))))
        np.testing.assert_allclose(live.features.numpy(), cache[clip.id], rtol=2e-3, atol=1e-4)

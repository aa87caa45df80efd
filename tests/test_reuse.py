"""What a changed corpus costs: clips are known by id, times, sentence and what their videos hold, and the features of
those that did not change are kept."""

import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache.corpora.clips import Clip
from slt_cache.corpora.fingerprint import ENDS, fingerprint, sources
from slt_cache.features.cache import FeatureCache, cached_splits
from slt_cache.features.parts import parts_folder
from slt_cache.features.verify import cache_problems
from slt_cache.video.pieces import ClipView, PieceReader
from tests.commands import TINY, Ran, slt_cache


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
    """Ids of the clips whose videos are opened from now on."""
    ids: list[str] = []
    events = PieceReader.events

    def recording(self: PieceReader, job: ClipView) -> Iterator[Any]:
        ids.append(job.clip.id)
        yield from events(self, job)

    monkeypatch.setattr(PieceReader, "events", recording)
    return ids


def features_of(folder: Path, split: str = "train") -> dict[str, np.ndarray]:
    held = FeatureCache(folder / "run" / "feats.h5", split)
    return {clip_id: np.array(held[clip_id]) for clip_id in held}


# --- fingerprints


def test_a_fingerprint_goes_by_content_and_not_by_name_or_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", make(tmp_path / "other") / "b.mp4"
    first.write_bytes(b"x" * 3 * ENDS)
    second.write_bytes(b"x" * 3 * ENDS)
    crc = zlib.crc32(b"x" * ENDS)
    assert fingerprint(first) == fingerprint(second) == f"{3 * ENDS}-{crc:08x}-{crc:08x}"
    for place in (0, 3 * ENDS - 1):
        data = bytearray(b"x" * 3 * ENDS)
        data[place] = 0
        second.write_bytes(data)
        assert fingerprint(first) != fingerprint(second)
    assert fingerprint(tmp_path / "none.mp4") is None


def test_a_folder_of_frames_is_known_by_its_frames_in_their_order(tmp_path: Path) -> None:
    folder = make(tmp_path / "frames")
    for number, size in enumerate((10, 20, 30)):
        (folder / f"{number}.png").write_bytes(b"x" * size)
    before = fingerprint(folder)
    (folder / ".DS_Store").write_bytes(b"finder")
    assert fingerprint(folder) == before == fingerprint(folder.rename(tmp_path / "renamed"))
    folder = tmp_path / "renamed"
    (folder / "0.png").write_bytes(b"x" * 20)
    (folder / "1.png").write_bytes(b"x" * 10)
    assert fingerprint(folder) != before
    (folder / "1.png").unlink()
    assert fingerprint(folder) != before


def test_clips_of_one_video_differ_in_their_times(tmp_path: Path) -> None:
    video = tmp_path / "long.mp4"
    video.write_bytes(b"film")
    clips = [Clip(name, "train", video, start, end, "satz") for name, start, end in (("a", 0.0, 1.0), ("b", 1, None))]
    [first, second] = sources(clips)
    assert (first.split()[1:], second.split()[1:]) == (["0.0", "1.0"], ["1.0", "-"])
    assert first.split()[0] == second.split()[0]


# --- what did not change


def test_a_corpus_that_moved_makes_no_finished_stage_refuse(folder: Path, read: list[str]) -> None:
    (folder / "own").rename(folder / "renamed")
    prepare(folder, own="renamed")
    ran = slt_cache("train-visual", "--run", folder / "run")
    assert (ran.code, "trained already" in ran.err) == (0, True), ran.err
    ran = extract(folder)
    assert (ran.code, ran.out.count("are there already"), read) == (0, 3, [])


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
    assert "train: 17 clips keep their features, 1 are read (1 new, 0 changed); 2 that the manifest" in ran.err
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
    assert "train" not in cached_splits(folder / "run" / "feats.h5")
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
    assert "dev will be left out" in ran.err
    assert cached_splits(folder / "run" / "feats.h5") == ["train"]
    assert extract(folder).code == 0
    assert cached_splits(folder / "run" / "feats.h5") == ["train", "dev", "test"]


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
    assert slt_cache("extract-features", "--run", second).out.count("are there already") == 3
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--run", "new", "--from", "nosuch"), "no run folder"),
        (("--from", "run"), "--run"),
        (("--run", "run", "--from", "run"), "the run itself"),
        (("--run", "own", "--from", "run"), "is not empty"),
        (("--run", "new", "--from", "run", "--features", "nosuch.h5"), "there is no such feature cache"),
    ],
)
def test_an_experiment_that_cannot_begin_makes_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder)
    ran = slt_cache("train-llm", *options)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert not (folder / "new").exists()
    assert not list(folder.glob("*.tmp"))

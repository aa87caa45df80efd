"""Clips read ahead by processes: the same as without them, whatever a video does to its reader."""

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video import reader_pool
from slt_cache.video import stream as stream_module
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, Event, plain
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo

WORKERS = (0, 1, 3)
VIDEO = VideoConfig(keep_rate=1.0, resize=36, size=32)
READER = ChunkReader(VIDEO)
AUGMENTATION = AugmentationConfig(
    shift=0.1, flip=0.5, brightness=0.3, rotation=10.0, contrast=0.3, saturation=0.3, hue=0.1
)
"""Everything on."""
LENGTHS = (5, 1, 9, 2, 60, 3, 7, 1, 4, 12, 6, 2, 8, 3)
"""Frames of each clip; the long one is more than all slots of a ring hold."""
LONG = 4
"""Index of the long clip."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(f"clip {n}", "train", make_video(folder / f"{n}.mp4", length, first=3 * n), None, None, "ein satz")
        for n, length in enumerate(LENGTHS)
    ]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three frames are read at once, and two fit a slot. Reader processes are forked, so it holds for them too."""
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 3 * 48 * 64 * 3)
    monkeypatch.setattr(reader_pool, "SLOT_BYTES", 2 * 3 * 32 * 32)


@dataclass(frozen=True)
class Read:
    """What came of one clip."""

    pieces: list[torch.Tensor]
    end: ClipEnd | UnreadableVideo

    @property
    def clip_id(self) -> str:
        return self.end.clip_id if isinstance(self.end, UnreadableVideo) else self.end.clip.id

    @property
    def images(self) -> torch.Tensor:
        return torch.cat(self.pieces)


def collect(events: Iterator[Event]) -> list[Read]:
    found: list[Read] = []
    pieces: list[torch.Tensor] = []
    for event in events:
        if isinstance(event, torch.Tensor):
            pieces.append(event.clone())  # it is valid until the next event is asked for
        else:
            found.append(Read(pieces, event))
            pieces = []
    assert not pieces, "a clip has no end"
    return found


def read(clips: Sequence[Clip], workers: int, reader: ChunkReader = READER) -> list[Read]:
    found = collect(read_ahead(plain(clips), reader, workers))
    assert [clip.clip_id for clip in found] == [clip.id for clip in clips]
    return found


def assert_intact(found: Read, clip: Clip) -> None:
    """As the clip is read alone, in this process."""
    [expected] = collect(READER.events(ClipView(clip)))
    assert isinstance(found.end, ClipEnd)
    assert found.end == expected.end
    assert torch.equal(found.images, expected.images)


def children() -> set[int]:
    """Processes that this one has started and that have not ended."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    resource_tracker.ensure_running()  # Python's own, which stays
    before = children()
    yield
    assert children() <= before
    assert multiprocessing.active_children() == []


# --- the same with and without processes


@pytest.mark.parametrize("workers", WORKERS)
def test_events_come_in_order_and_are_the_same_to_the_bit(clips: list[Clip], workers: int) -> None:
    for clip, length, found in zip(clips, LENGTHS, read(clips, workers), strict=True):
        assert isinstance(found.end, ClipEnd)
        assert (found.end.clip, found.end.view, found.end.num_frames, found.end.fps) == (clip, 0, length, 25.0)
        assert (found.images.dtype, found.images.shape) == (torch.uint8, (length, 3, 32, 32))
        assert_intact(found, clip)


@pytest.mark.parametrize("workers", WORKERS)
def test_views_do_not_depend_on_the_process_that_reads_them(clips: list[Clip], workers: int) -> None:
    reader = ChunkReader(VideoConfig(keep_rate=0.5, resize=36, size=32), AUGMENTATION, seed=3)
    jobs = [ClipView(clip, view) for clip in clips for view in range(3)]
    found = collect(read_ahead(iter(jobs), reader, workers))
    assert [(one.end.clip.id, one.end.view) for one in found if isinstance(one.end, ClipEnd)] == [
        (job.clip.id, job.view) for job in jobs
    ]
    for one, job in zip(found, jobs, strict=True):
        [alone] = collect(reader.events(job))
        assert torch.equal(one.images, alone.images)
    first, second, third = found[3 * LONG : 3 * LONG + 3]
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(second.images, third.images)


def test_a_view_does_not_depend_on_the_pieces_that_a_clip_comes_in(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for frames in (1, 7, 100):
        monkeypatch.setattr(stream_module, "CHUNK_BYTES", frames * 48 * 64 * 3)
        [one] = collect(ChunkReader(VIDEO, AUGMENTATION, seed=3).events(ClipView(clips[LONG], view=1)))
        found.append(one)
    assert [max(map(len, one.pieces)) for one in found] == [1, 7, 59]
    assert torch.equal(found[0].images, found[2].images)
    assert torch.equal(found[1].images, found[2].images)


def test_the_plain_view_is_the_same_whatever_the_augmentation(clips: list[Clip]) -> None:
    video = VideoConfig(keep_rate=0.25, resize=36, size=32)
    for clip in clips:
        [found] = collect(ChunkReader(video, AUGMENTATION, seed=3).events(ClipView(clip)))
        [plain_one] = collect(ChunkReader(video).events(ClipView(clip)))
        assert torch.equal(found.images, plain_one.images)


def test_a_view_follows_from_seed_clip_and_number_alone(clips: list[Clip]) -> None:
    def images(seed: int, clip: Clip, view: int) -> bytes:
        [found] = collect(ChunkReader(VIDEO, AUGMENTATION, seed).events(ClipView(clip, view)))
        return found.images.numpy().tobytes()

    first = images(1, clips[LONG], 1)
    assert images(1, clips[LONG], 2) != first
    assert images(2, clips[LONG], 1) != first
    assert images(1, clips[LONG], 1) == first
    assert images(1, clips[LONG], 0) == images(2, clips[LONG], 0)


def test_readers_wait_for_a_slow_encoder(clips: list[Clip]) -> None:
    """A piece stays as it is while it is held, however far its reader could be."""
    [expected] = collect(READER.events(ClipView(clips[LONG])))
    first = 0
    for event in read_ahead(plain([clips[LONG], clips[0]]), READER, 1):
        if isinstance(event, ClipEnd):
            break
        assert isinstance(event, torch.Tensor)
        assert len(event) <= 2
        before = event.clone()
        time.sleep(0.02)
        assert torch.equal(event, before)
        assert torch.equal(event, expected.images[first : first + len(event)])
        first += len(event)
    assert first == 60 > 2 * reader_pool.SLOTS


@pytest.mark.parametrize("workers", WORKERS)
def test_without_jobs_there_are_no_events(workers: int) -> None:
    assert list(read_ahead(iter([]), READER, workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_jobs_are_taken_as_they_are_needed(clips: list[Clip], workers: int) -> None:
    taken = 0

    def jobs() -> Iterator[ClipView]:
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield ClipView(clips[n % 4])

    ends = 0
    events = read_ahead(jobs(), READER, workers)
    for event in events:
        ends += isinstance(event, ClipEnd)
        assert taken <= ends + workers * (reader_pool.SLOTS + 1) + 1
        if ends == 30:
            break
    events.close()  # type: ignore[attr-defined]


# --- videos that cannot be read


def zoo(folder: Path, video: Path, frame: np.ndarray) -> dict[str, Clip]:
    """A clip for each way in which a video can be bad."""
    import av

    folder.mkdir()
    found: dict[str, tuple[Path, float | None, float | None]] = {}
    (folder / "text.mp4").write_text("this is no video\n" * 20)
    (folder / "empty.mp4").write_bytes(b"")
    data = video.read_bytes()
    for share in (1, 5, 30, 60, 95):
        (folder / f"cut{share}.mp4").write_bytes(data[: len(data) * share // 100])
    with av.open(str(folder / "audio.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    for path in sorted(folder.glob("*.mp4")):
        found[path.stem] = (path, None, None)
    found["missing"] = (folder / "none.mp4", None, None)
    found["beyond"] = (video, 100.0, 101.0)
    (folder / "empty folder").mkdir()
    found["empty folder"] = (folder / "empty folder", None, None)
    (folder / "broken frame").mkdir()
    for number in range(8):
        Image.fromarray(frame).save(folder / "broken frame" / f"images{number}.png")
    (folder / "broken frame" / "images6.png").write_bytes(b"no picture")
    (folder / "broken frame" / "stray.lprof").write_text("stray")
    found["broken frame"] = (folder / "broken frame", None, None)
    return {name: Clip(name, "train", path, start, end, "ein satz") for name, (path, start, end) in found.items()}


@pytest.mark.parametrize("workers", WORKERS)
def test_each_bad_video_is_unreadable_in_its_place_and_its_neighbours_are_intact(
    clips: list[Clip],
    numbered_video: Path,
    numbered_frame: Callable[[int], np.ndarray],
    tmp_path: Path,
    workers: int,
) -> None:
    bad = zoo(tmp_path / "zoo", numbered_video, numbered_frame(7))
    mixed = [clip for number, one in enumerate(bad.values()) for clip in (one, clips[number])]
    found = read(mixed, workers)
    reasons = {}
    for one, good, clip in zip(found[::2], found[1::2], mixed[1::2], strict=True):
        assert isinstance(one.end, UnreadableVideo)
        assert one.end.video == bad[one.clip_id].video
        assert 0 < len(one.end.reason) < 200
        assert "\n" not in one.end.reason
        assert_intact(good, clip)
        reasons[one.clip_id] = one.end.reason
    assert len(reasons) == 12
    assert "no such file or folder" in reasons["missing"]
    assert "100.0 s" in reasons["beyond"]
    assert "no png or jpg" in reasons["empty folder"]
    assert "images6.png" in reasons["broken frame"]
    assert sum(map(len, found[2 * list(bad).index("broken frame")].pieces)) == 6  # read before the broken one


# --- videos that kill or hang their reader

PLAIN_EVENTS = ChunkReader.events


def die() -> None:
    faulthandler.disable()  # pytest's, which would tell of it
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(1000)


def at(ids: set[str], pieces: int, action: Callable[[], None]) -> Callable[[ChunkReader, ClipView], Iterator[Event]]:
    """ChunkReader.events that does something to itself in some clips, after some pieces."""

    def events(self: ChunkReader, job: ClipView) -> Iterator[Event]:
        for number, event in enumerate(PLAIN_EVENTS(self, job)):
            if job.clip.id in ids and number == pieces:
                action()
            yield event

    return events


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("pieces", [0, 2])
@pytest.mark.parametrize("bad", [{LONG}, {0}, {len(LENGTHS) - 1}, {2, 4, 5}, set(range(len(LENGTHS)))], ids=str)
def test_a_video_that_kills_its_reader_costs_itself_alone(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch, workers: int, pieces: int, bad: set[int]
) -> None:
    monkeypatch.setattr(ChunkReader, "events", at({f"clip {n}" for n in bad}, pieces, die))
    bad = {n for n in bad if LENGTHS[n] > 1 or pieces == 0}  # the others are over before
    bad = {n for n in bad if pieces < len(list(PLAIN_EVENTS(READER, ClipView(clips[n]))))}
    found = read(clips, workers)
    monkeypatch.undo()
    for n, one in enumerate(found):
        if n in bad:
            assert isinstance(one.end, UnreadableVideo)
            assert one.end.reason == "the decoder crashed on it twice (SIGSEGV)"
            assert one.end.video == clips[n].video
        else:
            assert_intact(one, clips[n])


@pytest.mark.parametrize("workers", [1, 3])
def test_a_video_that_kills_its_reader_behind_an_unreadable_one_costs_itself_alone(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    broken = Clip("broken", "train", tmp_path / "none.mp4", None, None, "")
    mixed = [clips[0], broken, clips[1], clips[2], broken, clips[3], clips[LONG], broken, clips[5]]
    monkeypatch.setattr(ChunkReader, "events", at({"clip 1", "clip 3"}, 0, die))
    events = read_ahead(plain(mixed), READER, workers)
    found: list[Read] = []
    pieces: list[torch.Tensor] = []
    for event in events:
        if isinstance(event, torch.Tensor):
            pieces.append(event.clone())
            continue
        found.append(Read(pieces, event))
        pieces = []
        time.sleep(0.05)  # so that readers crash before what they said last is heard
    assert [one.clip_id for one in found] == [clip.id for clip in mixed]
    monkeypatch.undo()
    for one, clip in zip(found, mixed, strict=True):
        if clip.id in ("broken", "clip 1", "clip 3"):
            assert isinstance(one.end, UnreadableVideo)
            assert one.end.reason == (
                "there is no such file or folder" if clip is broken else "the decoder crashed on it twice (SIGSEGV)"
            )
        else:
            assert_intact(one, clip)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("pieces", [0, 2, 7])
def test_a_clip_whose_reader_was_killed_once_is_read_whole_in_a_new_process(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, pieces: int
) -> None:
    def be_killed_once() -> None:
        with suppress(FileExistsError):
            (tmp_path / "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ChunkReader, "events", at({f"clip {LONG}"}, pieces, be_killed_once))
    found = read(clips, workers)
    monkeypatch.undo()
    assert (tmp_path / "killed").exists()
    for one, clip in zip(found, clips, strict=True):
        assert_intact(one, clip)


def test_a_reader_that_is_killed_again_says_by_what_and_that_memory_is_the_usual_cause(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkReader, "events", at({"clip 2"}, 1, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    found = read(clips[:4], 1)
    monkeypatch.undo()
    killed = found.pop(2).end
    assert isinstance(killed, UnreadableVideo)
    assert "killed twice (SIGKILL)" in killed.reason
    assert "memory" in killed.reason
    assert str(killed).endswith("Free memory, or lower compute.workers, and run the same command again.")
    for one, clip in zip(found, (clips[0], clips[1], clips[3]), strict=True):
        assert_intact(one, clip)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("pieces", [0, 2])
def test_a_video_that_hangs_its_reader_is_given_up(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch, workers: int, pieces: int
) -> None:
    monkeypatch.setattr(ChunkReader, "events", at({f"clip {LONG}"}, pieces, hang))
    monkeypatch.setattr(reader_pool, "PATIENCE", 1)
    found = read(clips, workers)
    monkeypatch.undo()
    hung = found.pop(LONG)
    assert isinstance(hung.end, UnreadableVideo)
    assert hung.end.reason == "the decoder gave no frame in 1 seconds"
    for one, clip in zip(found, clips[:LONG] + clips[LONG + 1 :], strict=True):
        assert_intact(one, clip)


@pytest.mark.parametrize("kind", [ValueError, MemoryError])
def test_an_error_that_nobody_foresaw_costs_its_clip_alone(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch, capfd: Any, kind: type[Exception]
) -> None:
    def fail() -> None:
        raise kind("unforeseen")

    monkeypatch.setattr(ChunkReader, "events", at({"clip 2"}, 1, fail))
    found = read(clips, 2)
    monkeypatch.undo()
    assert isinstance(found[2].end, UnreadableVideo)
    for n in {*range(len(clips))} - {2}:
        assert_intact(found[n], clips[n])
    assert "unforeseen" in capfd.readouterr().err  # its traceback, for who looks into it


# --- processes end


@pytest.mark.parametrize("after", [0, 1, 10])
def test_no_process_is_left_when_reading_is_stopped_early(clips: list[Clip], after: int) -> None:
    before = children()
    events = read_ahead(plain(clips * 3), READER, 3)
    assert children() == before  # none before the first event is asked for
    for _ in range(after):
        next(events)
    assert len(children() - before) == (3 if after else 0)
    events.close()  # type: ignore[attr-defined]
    assert children() == before


def test_no_process_is_left_when_the_caller_fails(clips: list[Clip]) -> None:
    before = children()

    def fail() -> None:
        for event in read_ahead(plain(clips), READER, 2):
            if isinstance(event, ClipEnd):
                raise RuntimeError("the encoder failed")

    with pytest.raises(RuntimeError):
        fail()
    assert children() == before


PARENT = """
    import multiprocessing, sys, time
    from pathlib import Path

    from slt_cache.config import VideoConfig
    from slt_cache.corpora.base import Clip
    from slt_cache.video import reader_pool
    from slt_cache.video.chunks import ChunkReader, plain

    reader_pool.SLOT_BYTES = 1  # a frame each
    video, count = Path(sys.argv[1]), int(sys.argv[2])
    clips = [Clip(str(n), "train", video, None, None, "") for n in range(count)]
    events = reader_pool.read_ahead(plain(clips), ChunkReader(VideoConfig(keep_rate=1.0, resize=36, size=32)), 3)
    next(events)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    time.sleep(1000)
"""


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("count", [1, 20], ids=["idle readers", "readers that wait for room"])
def test_readers_end_soon_after_their_parent_was_killed(numbered_video: Path, count: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(numbered_video), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        try:
            assert all(map(lives, pids))
            parent.kill()
            parent.wait(10)
            deadline = time.monotonic() + 6
            while any(map(lives, pids)) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not any(map(lives, pids))
        finally:
            for pid in filter(lives, pids):
                os.kill(pid, signal.SIGKILL)

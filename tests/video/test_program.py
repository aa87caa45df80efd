"""Features that another program makes: how it is called, and what is said of each clip for which it fails."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video.chunks import ClipEnd, ClipView
from slt_cache.video.program import ProgramReader
from slt_cache.video.reader_pool import read_ahead

HEAD = f"""#!{sys.executable}
import os, signal, sys
from pathlib import Path

import numpy as np

listed, out = Path(sys.argv[-2]), Path(sys.argv[-1])
with Path(os.environ["CALLS"]).open("a") as calls:
    calls.write(listed.read_text() + "--\\n")
for line in listed.read_text(encoding="utf-8").splitlines():
    name, video, start, end, *box = line.split("\\t")
    file, features = out / (name + ".npy"), np.full((2, 3), float(name[-1]))
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Function that returns the ids of the clips of each call so far."""
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def so_far() -> list[list[str]]:
        groups = (tmp_path / "calls").read_text().split("--\n")[:-1]
        return [[line.split("\t")[0] for line in group.splitlines()] for group in groups]

    return so_far


@pytest.fixture
def clips(numbered_video: Path) -> list[Clip]:
    return [Clip(f"clip{n}", "train", numbered_video, None, None, "") for n in range(5)]


def reader(folder: Path, code: str, together: int = 64, dim: int = 0) -> ProgramReader:
    program = folder / "program"
    program.write_text(HEAD + "".join(f"    {line}\n" for line in code.splitlines()))
    program.chmod(0o755)
    return ProgramReader(VideoConfig(), arguments=(str(program), "--first"), together=together, dim=dim)


def read(of: ProgramReader, clips: list[Clip], workers: int = 0) -> dict[str, np.ndarray | str]:
    found: dict[str, np.ndarray | str] = {}
    chunk = None
    for event in read_ahead(map(ClipView, clips), of, workers):
        if isinstance(event, torch.Tensor):
            chunk = event.numpy()
        elif isinstance(event, ClipEnd):
            assert chunk is not None and event.num_frames > 0
            found[event.clip.id] = chunk
        else:
            found[event.clip_id] = event.reason
    assert list(found) == [clip.id for clip in clips]
    return found


def test_clips_are_listed_with_id_path_and_times_and_read_from_one_file_each(
    tmp_path: Path, calls: Callable[[], list[list[str]]], numbered_video: Path
) -> None:
    clips = [
        Clip("a/ä 1", "dev", numbered_video, 0.5, 1.25, "text"),
        Clip("b2", "dev", numbered_video, None, None, ""),
        Clip("c3", "dev", numbered_video, None, 2.0, "", box=(0.25, 0.0, 1.0, 0.5)),
    ]
    found = read(reader(tmp_path, "np.save(file, features)", together=2), clips, workers=1)
    for clip_id, value in (("a/ä 1", 1), ("b2", 2), ("c3", 3)):
        np.testing.assert_array_equal(found[clip_id], np.full((2, 3), value, np.float32))
    assert (tmp_path / "calls").read_text() == (
        f"a/ä 1\t{numbered_video}\t0.5\t1.25\nb2\t{numbered_video}\t\t\n--\n"
        f"c3\t{numbered_video}\t\t2.0\t0.25,0.0,1.0,0.5\n--\n"
    )


def test_an_end_has_the_frames_of_the_cut(
    tmp_path: Path, calls: Callable[[], list[list[str]]], numbered_video: Path
) -> None:
    of = reader(tmp_path, "np.save(file, features)")
    events = [*read_ahead([ClipView(Clip("c1", "dev", numbered_video, 0.0, 1.0, ""))], of, 0)]
    assert isinstance(events[-1], ClipEnd)
    assert (events[-1].num_frames, events[-1].fps) == (25, 25.0)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("pass", "the program wrote no file for it"),
        ("file.write_bytes(b'no array')", "clip2.npy cannot be read"),
        ("np.save(file, features); file.write_bytes(file.read_bytes()[:-8])", "clip2.npy cannot be read"),
        ("np.save(file, np.array([{}], object), allow_pickle=True)", "clip2.npy cannot be read"),
        ("np.save(file, features[0])", "clip2.npy contains float64 [3], not numbers [N, C]"),
        ("np.save(file, features[None])", "clip2.npy contains float64 [1, 2, 3], not numbers [N, C]"),
        ("np.save(file, features[:0])", "clip2.npy contains float64 [0, 3], not numbers [N, C]"),
        ("np.save(file, features > 0)", "clip2.npy contains bool [2, 3], not numbers [N, C]"),
        ("np.save(file, features[:, :2])", "clip2.npy contains [2, 2], but C is 3 in this cache"),
        ("np.save(file, features / [1, 0, np.nan])", "clip2.npy contains nan or inf in 4 of 6 values"),
        ("sys.exit('out of\\n   luck')", "the program ended with exit code 1: luck"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the program was killed by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the program was killed by SIGKILL (Usually the machine ran out of"),
    ],
)
def test_what_is_wrong_with_a_clip_is_said_of_it_alone(
    tmp_path: Path, calls: Callable[[], list[list[str]]], clips: list[Clip], code: str, said: str
) -> None:
    found = read(reader(tmp_path, f"if name == 'clip2': {code}\nelse: np.save(file, features)", dim=3), clips)
    reason = found.pop("clip2")
    assert isinstance(reason, str) and reason.startswith(said)
    for clip_id, features in found.items():
        np.testing.assert_array_equal(features, np.full((2, 3), float(clip_id[-1])))


def test_after_a_failure_what_was_written_counts_and_the_rest_is_called_again(
    tmp_path: Path, calls: Callable[[], list[list[str]]], clips: list[Clip]
) -> None:
    read(reader(tmp_path, "if name == 'clip2': sys.exit(3)\nnp.save(file, features)"), clips)
    assert calls() == [[clip.id for clip in clips], ["clip2"], ["clip3", "clip4"]]


def test_a_program_that_fails_after_all_files_is_reported_and_its_features_are_used(
    tmp_path: Path, calls: Callable[[], list[list[str]]], clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    of = reader(tmp_path, "np.save(file, features)\nif name == 'clip4': sys.exit(3)")
    assert all(isinstance(one, np.ndarray) for one in read(of, clips).values())
    assert "ended with exit code 3, although it wrote features of all clips" in capsys.readouterr().err
    assert len(calls()) == 1


def test_ids_and_videos_that_cannot_be_are_not_given_to_the_program(
    tmp_path: Path, calls: Callable[[], list[list[str]]], clips: list[Clip]
) -> None:
    odd = [
        Clip("../1", "dev", clips[0].video, None, None, ""),
        Clip("gone1", "dev", tmp_path / "gone.mp4", None, None, ""),
        clips[1],
    ]
    found = read(reader(tmp_path, "np.save(file, features)"), odd)
    assert found["../1"] == "its id is no name of a file"
    assert found["gone1"] == "there is no such file or folder"
    assert isinstance(found["clip1"], np.ndarray)
    assert calls() == [["clip1"]]
    assert not (tmp_path / "1.npy").exists()


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path, clips: list[Clip]) -> None:
    of = ProgramReader(VideoConfig(), arguments=(str(tmp_path / "gone"),), together=64)
    found = read(of, clips[:1])
    assert found == {"clip0": "the program cannot be started (No such file or directory)"}

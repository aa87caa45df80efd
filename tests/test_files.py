"""Whole files or none."""

import os
import re
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from slt_cache import folders
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import remove_abandoned, replacing, rewriting, scratch_folder, write_json, write_text
from slt_cache.locks import exclusive, require_writable
from slt_cache.reading import read_json
from tests.helpers.small_disks import fill, free, read_only, small_disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_folder(folder: Path, **files: str) -> None:
    with replacing(folder) as temporary:
        temporary.mkdir()
        for name, text in files.items():
            (temporary / name).write_text(text)


def test_a_block_that_ends_well_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.txt"
    write_text(path, "eins")
    write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_a_block_that_raises_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stands_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    write_folder(folder, first="1", second="2")
    write_folder(folder, third="3")
    assert names(folder) == ["third"]
    assert names(tmp_path) == ["best"]


def test_a_folder_whose_block_raises_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    write_folder(folder, first="1")
    with pytest.raises(RuntimeError), replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / "half").write_text("h")
        raise RuntimeError
    assert names(folder) == ["first"]
    assert names(tmp_path) == ["best"]


def test_a_folder_whose_new_one_cannot_take_its_place_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "best"
    write_folder(folder, first="1")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if re.fullmatch(r"best\.\d+-\w+\.tmp", self.name):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    with pytest.raises(SltCacheError):
        write_folder(folder, second="2")
    monkeypatch.undo()
    assert names(folder) == ["first"]
    assert names(tmp_path) == ["best"]


def test_a_folder_that_is_replaced_is_whole_at_every_moment(tmp_path: Path) -> None:
    folder, there, done = tmp_path / "best", set(), threading.Event()

    def replace_it(number: int) -> None:
        with replacing(folder) as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text(str(number))

    def look() -> None:
        while not done.is_set():
            there.add(folder.is_dir())

    replace_it(0)
    reader = threading.Thread(target=look)
    reader.start()
    for number in range(1, 200):
        replace_it(number)
    done.set()
    reader.join()
    assert there == {True}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_system_that_cannot_swap_folders_replaces_them_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    for content in ("old", "new"):
        with replacing(tmp_path / "best") as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text(content)
    assert (tmp_path / "best" / "weights").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.txt.tmp").mkdir()
    (tmp_path / "a.txt.tmp" / "half").write_text("h")
    write_text(tmp_path / "a.txt", "new")
    (tmp_path / "best.tmp").write_text("half")
    write_folder(tmp_path / "best", first="1")
    assert names(tmp_path) == ["a.txt", "best"]


def test_a_folder_that_a_killed_replacement_set_aside_does_not_stay_for_ever(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    write_folder(folder, first="1")
    folder.rename(tmp_path / "best.old.tmp")  # the moment between the two renames
    write_folder(folder, second="2")
    assert names(folder) == ["second"]
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("place", ["file/a.txt", "file/deeper/a.txt"])
def test_a_place_below_a_file_is_the_users_mistake(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written") as refused:
        write_text(tmp_path / place, "new")
    assert str(tmp_path / place) in str(refused.value)
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_where_a_file_is_to_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as refused:
        write_text(tmp_path / "out", "new")
    assert str(tmp_path / "out") in str(refused.value)
    assert names(tmp_path) == ["out"]


def test_a_place_without_permission_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(InputError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "new")


def test_a_full_disk_fails_on_the_way_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(SltCacheError, match="No space left") as failed, replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert not isinstance(failed.value, InputError)
    assert failed.value.exit_code == 1
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"text": "für 今天", "list": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "für 今天" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b'{"half": ', b"\xff\xfe\x00", b""])
def test_broken_json_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(path)


def test_missing_json_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_json(tmp_path / "none.json")


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("x" * 500_000),
    "torch": lambda path: torch.save({"weights": torch.zeros(125_000)}, path),
    "safetensors": lambda path: save_file({"weights": torch.zeros(125_000)}, path),
    "tokenizers": lambda path: Tokenizer(WordLevel({str(n): n for n in range(30_000)}, unk_token="1")).save(str(path)),
    "numpy": lambda path: np.save(path.open("wb"), np.zeros(62_500)),
}
"""Every library that writes for us, with half a megabyte."""


@pytest.mark.parametrize("left", [0, 8192, 200_000])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_fills_up_is_named_whatever_library_writes(tmp_path: Path, writer: str, left: int) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        path = disk / "weights"
        path.write_text("old")
        filler = fill(disk, left)
        with pytest.raises(SltCacheError) as failed, replacing(path) as temporary:
            WRITERS[writer](temporary)
        message = str(failed.value)
        assert message.startswith(f"{path}: could not be written (No space left on device); ")
        assert re.search(r"; \d+(\.\d+)? (bytes|kB) are free, and its previous version is kept\. Free some", message)
        assert "\n" not in message and failed.value.exit_code == 1
        assert path.read_text() == "old"
        assert names(disk) == ["filler", "weights"]
        filler.unlink()
        with replacing(path) as temporary:
            WRITERS[writer](temporary)
        assert path.stat().st_size > 300_000


def test_a_lock_on_a_full_disk_is_one_line_and_free_afterwards(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        filler = fill(disk, 0)
        assert free(disk) == 0
        with (
            pytest.raises(SltCacheError, match=r"lock: could not be written \(No space left"),
            exclusive(disk / "lock", "visual"),
        ):
            pytest.fail("the holder is not named")
        filler.unlink()
        with exclusive(disk / "lock", "visual"):
            assert names(disk) == ["lock"]
        assert names(disk) == []


def test_a_full_disk_is_noticed_before_hours_of_work(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        fill(disk, 0)
        with pytest.raises(SltCacheError, match="No space left") as failed:
            require_writable(disk)
        assert not isinstance(failed.value, InputError)


def test_temporary_files_on_a_full_disk_are_one_line_and_gone(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        full = pytest.raises(SltCacheError, match=r"No space left on device\); \S+ \S+ are free")
        with full as failed, scratch_folder(disk) as folder:
            (folder / "llm").write_bytes(bytes(2 << 20))
        assert "\n" not in str(failed.value) and names(disk) == []
        with scratch_folder(disk) as folder:
            (folder / "llm").write_bytes(b"small")
        assert names(disk) == []


def test_where_no_temporary_file_can_be_made_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SltCacheError, match="TMPDIR"), scratch_folder():
        pytest.fail("there is no such folder")


def test_a_read_only_file_system_is_the_users_choice(tmp_path: Path) -> None:
    write_text(tmp_path / "place" / "a.txt", "old")
    with read_only(tmp_path / "place") as place:
        writers: tuple[Callable[[], object], ...] = (
            lambda: write_text(place / "a.txt", "new"),
            lambda: write_folder(place / "best", first="1"),
            lambda: exclusive(place / "lock", "visual").__enter__(),
            lambda: require_writable(place),
        )
        for write in writers:
            with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\)") as refused:
                write()
            assert "\n" not in str(refused.value)
        assert (place / "a.txt").read_text() == "old"


def test_an_error_of_another_file_is_not_said_of_the_one_that_is_written(tmp_path: Path) -> None:
    with pytest.raises(SltCacheError) as failed, replacing(tmp_path / "out" / "a.txt") as temporary:
        temporary.write_bytes((tmp_path / "source.txt").read_bytes())
    assert str(failed.value).startswith(f"{tmp_path / 'source.txt'}: No such file or directory; ")
    assert str(tmp_path / "out" / "a.txt") in str(failed.value)


def test_every_file_has_the_mode_that_the_user_has_set(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        folder.mkdir()
        save_file({"weights": torch.zeros(3)}, folder / "weights.safetensors")
        (folder / "text").write_text("x")

    with replacing(tmp_path / "best") as temporary:
        write(temporary)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "best").iterdir()}
    write(tmp_path / "plain")
    assert modes == {stat.S_IMODE((tmp_path / "plain" / "text").stat().st_mode)}


def test_two_that_write_one_file_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from slt_cache.files import write_text
        end = time.monotonic() + 1
        while time.monotonic() < end:
            write_text(Path(sys.argv[1]), sys.argv[2] * 1000)
    """)
    path = tmp_path / "report.html"
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), letter], stderr=subprocess.PIPE, text=True)
        for letter in "abc"
    ]
    for writer in writers:
        _, err = writer.communicate(timeout=60)
        assert (writer.returncode, err) == (0, "")
    assert path.read_text() in {letter * 1000 for letter in "abc"}
    assert names(tmp_path) == ["report.html"]


def test_what_a_killed_process_was_writing_is_removed_by_the_next_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from slt_cache.files import replacing
        with replacing(Path(sys.argv[1])) as temporary:
            temporary.write_text("half")
            print("begun", flush=True)
            time.sleep(60)
    """)
    path = tmp_path / "a.txt"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        write_text(path, "new")
        remove_abandoned(tmp_path)
        assert len(names(tmp_path)) == 2
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and still has its number
        write_text(path, "newer")
        assert names(tmp_path) == ["a.txt"]


def test_what_another_machine_writes_is_removed_once_it_has_not_changed_for_an_hour(tmp_path: Path) -> None:
    there = tmp_path / "a.txt.17-0123abcd.tmp"
    there.write_text("half")
    write_text(tmp_path / "a.txt", "new")
    assert there.exists()
    os.utime(there, (time.time() - 4000,) * 2)
    write_text(tmp_path / "a.txt", "newer")
    assert names(tmp_path) == ["a.txt"]


def test_a_clock_that_is_wrong_removes_nothing_that_another_machine_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "a.txt.17-0123abcd.tmp"
    there.write_text("half")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    write_text(tmp_path / "a.txt", "new")
    assert there.exists()


def test_a_folder_is_rewritten_all_at_once_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    write_folder(folder, weights="w", about="1", record="1")
    before = (folder / "weights").stat().st_ino
    with pytest.raises(RuntimeError), rewriting(folder) as temporary:
        write_text(temporary / "about", "2")
        raise RuntimeError
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"weights": "w", "about": "1", "record": "1"}
    with rewriting(folder) as temporary:
        write_text(temporary / "about", "2")
        write_text(temporary / "record", "2")
        assert (folder / "about").read_text() == "1"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"weights": "w", "about": "2", "record": "2"}
    assert (folder / "weights").stat().st_ino == before
    assert names(tmp_path) == ["best"]

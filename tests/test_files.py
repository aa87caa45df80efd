"""Whole files or none."""

from pathlib import Path

import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import read_json, replacing, write_json, write_text


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
        if self.name == "best.tmp":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(SltCacheError):
        write_folder(folder, second="2")
    monkeypatch.undo()
    assert names(folder) == ["first"]
    assert names(tmp_path) == ["best"]


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
    with pytest.raises(InputError, match=r"none\.json: there is no such file"):
        read_json(tmp_path / "none.json")

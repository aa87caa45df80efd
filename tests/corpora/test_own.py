"""`prepare tsv` finds what a training would stumble over, and what makes scores too good."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest

from tests.conftest import write_video
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.small_llms import make_small_llm

HEADER = "id\tsplit\tvideo\tstart\tend\ttext"
LANGUAGE = "llm.language=de_DE"
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds."""
    return write_video(tmp_path_factory.mktemp("videos") / "v.mp4", 50)


def write(folder: Path, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.tsv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def prepare(folder: Path, *more: str, language: str = LANGUAGE) -> Ran:
    run = folder.with_name("run")
    return slt_cache("prepare", "tsv", "--root", folder, "--run", run, "--config", TINY, "--set", language, *more)


def problems(ran: Ran) -> dict[str, list[str]]:
    path = Path(json.loads(ran.out)["report"])
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))["problems"]
    return found


@pytest.fixture
def own(tmp_path: Path, video: Path) -> Path:
    """A clip of each split."""
    folder = tmp_path / "own"
    folder.mkdir()
    for number, split in enumerate(SPLITS):
        write_video(folder / f"{split}.mp4", 20, first=20 * number)
    write(folder, *(f"{split}\t{split}\t{split}.mp4\t\t\tein satz {number}" for number, split in enumerate(SPLITS)))
    return folder


def append(folder: Path, *lines: str) -> None:
    with (folder / "manifest.tsv").open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def test_a_sound_manifest_is_prepared_without_a_word(own: Path) -> None:
    ran = prepare(own)
    assert (ran.code, ran.err) == (0, "")


def test_everything_that_a_training_would_stumble_over_is_in_one_table(own: Path, video: Path) -> None:
    (own / "empty.mp4").touch()
    (own / "cut.mp4").write_bytes(video.read_bytes()[:-2000])
    (own / "text.mp4").write_text("no video")
    shutil.copy(video, own / "whole.mp4")
    append(
        own,
        *(f"{name}\ttrain\t{name}.mp4\t\t\tt" for name in ("empty", "cut", "text", "absent")),
        "late\ttrain\twhole.mp4\t1.0\t7.5\tt",
        "outside\ttrain\twhole.mp4\t3.0\t4.0\tt",
    )
    (own / "manifest.tsv").write_text((own / "manifest.tsv").read_text().replace("\tdev\t", "\ttrain\t"))
    ran = prepare(own)
    assert ran.code == 1
    rows = [line for line in ran.err.splitlines() if line.startswith("  ")]
    for number, name in ((5, "empty"), (6, "cut"), (7, "text")):
        assert any(f"video that cannot be read  line {number}: {name} (" in row for row in rows), ran.err
    assert any("video not found" in row and "line 8: absent" in row for row in rows)
    assert any("line 9: late" in row and "ends at 7.5 s, but the video at 2.00 s" in row for row in rows)
    assert any("line 10: outside" in row and "no frame lies between 3.0 s and 4.0 s" in row for row in rows)
    assert any("split without a clip" in row and row.endswith("dev") for row in rows)
    assert "error: 7 problems to correct" in ran.err
    assert len((own.with_name("run") / "manifest.tsv").read_text().splitlines()) == 10  # written all the same


def test_a_folder_without_a_manifest_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "annotations.csv").touch()
    ran = prepare(tmp_path / "own")
    assert ran.code == 2
    assert "manifest.tsv: there is no such file (found: annotations.csv; expected: UTF-8 text, tab-sep" in ran.err


def test_very_many_bad_lines_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "own", *(f"{number}\tval\tv\t\t\tt" for number in range(1000)))
    ran = prepare(tmp_path / "own")
    assert (ran.code, "1,000 bad lines" in ran.err, "... and 800 more" in ran.err) == (2, True, True)


def test_no_probe_opens_no_video(own: Path) -> None:
    (own / "dev.mp4").write_bytes(b"")
    assert prepare(own).code == 1
    assert prepare(own, "--no-probe").code == 0
    found = json.loads(prepare(own, "--json").out)["problems"]
    assert found == {"video that cannot be read": 1}


@pytest.mark.parametrize(
    ("language", "says"), [("llm.language=null", "not set"), ("llm.language=xx", "no code 'xx'"), (LANGUAGE, "")]
)
def test_a_language_that_the_llm_does_not_know_is_named(own: Path, language: str, says: str) -> None:
    ran = prepare(own, language=language)
    assert (ran.code, says in ran.err) == (bool(says), True)


def test_a_sentence_longer_than_the_llm_is_named_before_anything_is_trained(own: Path) -> None:
    long = " ".join(f"wort{number}" for number in range(300))
    append(own, f"long\ttrain\tdev.mp4\t\t\t{long}", f"also\ttest\tdev.mp4\t\t\t{long}{long}")
    ran = prepare(own, "--json")
    assert ran.code == 1
    found = problems(ran)["sentence longer than the LLM"]
    assert [entry.partition(":")[0] for entry in found] == ["long (train)", "also (test)"]
    assert "too many for the LLM's 512 positions" in found[0]
    assert "sentence longer than the LLM" not in problems(prepare(own, "--json", "--set", "llm.name=small-mt5"))


def test_clips_and_sentences_are_measured_by_the_llm_that_is_named(own: Path, tmp_path: Path) -> None:
    make_small_llm("bart", tmp_path / "bart", max_position_embeddings=16)
    long = "der wind weht schwach bis mäßig an der küste auch stürmisch"
    append(own, f"long\tdev\tdev.mp4\t\t\t{long}")
    settings = (f"llm.name={tmp_path / 'bart'}", "llm.language=null", "scoring.preset=plain", "video.keep_rate=1")
    ran = prepare(own, "--json", *(word for setting in settings for word in ("--set", setting)))
    assert ran.code == 1
    found = problems(ran)
    assert len(found["sentence longer than the LLM"]) == 1
    assert found["sentence longer than the LLM"][0].startswith("long (dev): ")
    steps = found["clip longer than the LLM"]
    assert len(steps) == 4
    assert steps[0] == "line 2: train: 20 kept frames, too many for the LLM's 16 positions"


def test_a_line_of_the_pretraining_text_that_is_too_long_is_named(own: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("kurz\n" + " ".join(f"wort{number}" for number in range(300)) + "\n")
    ran = prepare(own, "--set", f"llm_pretraining.text={tmp_path / 'text.txt'}")
    assert ran.code == 1
    assert "llm_pretraining.text, sentence 2: " in ran.err


def test_text_that_looks_right_and_is_not_is_counted_with_its_lines(own: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "schön")
    append(
        own,
        f"a\ttrain\tdev.mp4\t\t\t{decomposed}",
        "b\ttrain\tdev.mp4\t\t\t10\u00a0Grad",
        f"c\ttest\tdev.mp4\t\t\t{decomposed}",
    )
    ran = prepare(own, "--json")
    found = problems(ran)
    assert ran.code == 0
    assert found["separate letters and accents (NFD; read as NFC)"] == ["line 5: a", "line 7: c"]
    assert found["no-break or other special spaces (read as spaces)"] == ["line 6: b"]
    assert decomposed in (own.with_name("run") / "manifest.tsv").read_text(encoding="utf-8")


def test_quotes_of_a_spreadsheet_are_taken_off_and_said(own: Path) -> None:
    append(own, 'a\ttrain\tdev.mp4\t\t\t"er sagte ""hallo"" und ging"')
    ran = prepare(own)
    assert "warning: quotes of csv, removed: 1 (line 5)" in ran.err
    assert '\ter sagte "hallo" und ging\t' in (own.with_name("run") / "manifest.tsv").read_text()


def test_a_home_folder_is_found_by_its_sign(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own.parent))
    ran = slt_cache(
        "prepare",
        "tsv",
        "--run",
        own.with_name("run"),
        "--config",
        TINY,
        "--set",
        LANGUAGE,
        "--set",
        "corpus.root=~/own",
    )
    assert ran.code == 0, ran.err


def test_prepare_says_what_is_shared_between_splits(own: Path) -> None:
    shutil.copy(own / "train.mp4", own / "copy.mp4")
    append(own, "again\ttest\tcopy.mp4\t\t\tein satz")
    ran = prepare(own)
    assert ran.code == 0
    assert "warning: one video under several names in different splits: 1" in ran.err
    assert "warning: overlapping cuts of one video in different splits: 1 (train (train) and again (test)" in ran.err

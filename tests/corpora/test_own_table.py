"""Tables that users write: with a spreadsheet, with pandas, with other names and separators."""

import csv
import io
import os
import unicodedata
from pathlib import Path

import pytest

from slt_cache.cache_tools.table import read_table
from slt_cache.corpora.manifest import OwnManifest, read_manifest, read_own_manifest
from slt_cache.corpora.own_table import read_sentences
from slt_cache.errors import InputError

COLUMNS = ("id", "split", "video", "start", "end", "text", "signer")
SENTENCES = [
    'er sagte "hallo" und ging',
    "guten abend, liebe zuschauer",
    '"ja", sagte sie',
    "ohne alles",
    'ein " allein',
    '"ganz in anführungszeichen"',
]


def rows_of(sentences: list[str]) -> list[list[str]]:
    return [[f"c{n}", "train", f'v"{n}".mp4', "", "", text, f'"{n}" Mai'] for n, text in enumerate(sentences)]


def by_csv(sentences: list[str], quoting: int) -> str:
    """What pandas writes: its writer is that of csv."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([list(COLUMNS), *rows_of(sentences)])
    return text.getvalue()


def by_excel(sentences: list[str]) -> str:
    """As it saves tab-separated text: values with quotes or commas are quoted."""

    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if set(value) & set('",') else value

    return "\r\n".join("\t".join(map(cell, row)) for row in [list(COLUMNS), *rows_of(sentences)]) + "\r\n"


def own(folder: Path, text: str) -> OwnManifest:
    (folder / "manifest.tsv").write_bytes(text.encode())
    return read_own_manifest(folder / "manifest.tsv")


def table(*rows: list[str]) -> str:
    return "\n".join("\t".join(row) for row in (COLUMNS[:-1], *rows))


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as refused:
        own(folder, text)
    return str(refused.value)


WRITERS = {
    "pandas": lambda sentences: by_csv(sentences, csv.QUOTE_MINIMAL),
    "pandas, everything quoted": lambda sentences: by_csv(sentences, csv.QUOTE_ALL),
    "pandas, text quoted": lambda sentences: by_csv(sentences, csv.QUOTE_NONNUMERIC),
    "Excel": by_excel,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_quotes_of_a_whole_file_are_taken_off_in_every_column(tmp_path: Path, writer: str) -> None:
    read = own(tmp_path, WRITERS[writer](SENTENCES))
    assert [clip.text for clip in read.clips] == SENTENCES
    assert [clip.video.name for clip in read.clips] == [f'v"{n}".mp4' for n in range(len(SENTENCES))]
    assert [clip.signer for clip in read.clips] == [f'"{n}" Mai' for n in range(len(SENTENCES))]
    assert (read.unquoted[-6:], read.doubtful) == ([2, 3, 4, 5, 6, 7], [])


def test_excel_quotes_a_sentence_for_its_comma_alone(tmp_path: Path) -> None:
    text = 'id\tsplit\tvideo\tstart\tend\ttext\na\ttrain\tv\t\t\t"ja, gut"\nb\ttrain\tv\t\t\tnein\n'
    assert [clip.text for clip in own(tmp_path, text).clips] == ["ja, gut", "nein"]


def test_a_column_that_is_quoted_on_every_line_is_unquoted(tmp_path: Path) -> None:
    lines = [f'{name}\ttrain\tv\t\t\t"{text}"' for name, text in (("a", "guten abend"), ("b", "gute nacht"))]
    read = own(tmp_path, "\n".join(["id\tsplit\tvideo\tstart\tend\ttext", *lines]))
    assert [clip.text for clip in read.clips] == ["guten abend", "gute nacht"]
    alone = own(tmp_path, "\n".join(["id\tsplit\tvideo\tstart\tend\ttext", *lines[:1]]))
    assert ([clip.text for clip in alone.clips], alone.doubtful) == (['"guten abend"'], [2])


def test_tabs_and_line_breaks_within_quotes_become_blanks(tmp_path: Path) -> None:
    read = own(tmp_path, by_csv(["eins\nzwei", "drei\tvier", "fünf"], csv.QUOTE_MINIMAL))
    assert [(number, clip.text) for number, clip in read.numbered] == [(2, "eins zwei"), (4, "drei vier"), (5, "fünf")]
    assert read.broken == [2, 4]


@pytest.mark.parametrize("sentences", [SENTENCES, ['"eins', "zwei", 'drei"'], ['"a', 'b"', '"c" d', 'e "f"']])
def test_quotes_of_a_raw_file_stay_where_they_are(tmp_path: Path, sentences: list[str]) -> None:
    rows = [[f"c{n}", "train", "v", "", "", text, ""] for n, text in enumerate(sentences)]
    text = "\n".join("\t".join(row) for row in [list(COLUMNS), *rows])
    assert [clip.text for clip in own(tmp_path, text).clips] == sentences


def test_what_looks_quoted_in_a_file_that_is_not_is_named_by_its_line(tmp_path: Path) -> None:
    texts = ['"er sagte ""hallo"""', 'sie sagte "nein"', '"mit \\"strich\\""', "ohne"]
    rows = [[f"c{n}", "train", "v", "", "", text, ""] for n, text in enumerate(texts)]
    read = own(tmp_path, "\n".join("\t".join(row) for row in [list(COLUMNS), *rows]))
    assert [clip.text for clip in read.clips] == texts
    assert (read.unquoted, read.doubtful) == ([], [2, 4])


def test_a_runs_own_manifest_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_text(by_csv(SENTENCES, csv.QUOTE_MINIMAL))
    assert read_manifest(tmp_path / "manifest.tsv")[0].text == '"er sagte ""hallo"" und ging"'


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("id,split,video,start,end,text", ["separated by commas", "'id,split,video,start,end,text'", "tab-separated"]),
        ("id;split;video;start;end;text", ["separated by semicolons"]),
        ("id split video start end text", ["separated by spaces"]),
        ('"id","split","video"', ["separated by commas"]),
        (
            "name\tsplit\tpath\tbegin\tend\tsentence",
            [
                "lacks id, video, start, text",
                "'name' to id",
                "'path' to video",
                "'begin' to start",
                "'sentence' to text",
            ],
        ),
        ("ID\tSplit\tvideo\tstart\tend\ttext", ["'ID' to id", "'Split' to split"]),
        ("id\tsplit\tvideo\tstart\tend\ttxet", ["'txet' to text"]),
        ("id\tsplit\tvideo\tend\ttext", ["lacks start", "Found: 'id', 'split', 'video', 'end', 'text'"]),
        ("id\tsplit\tvideo\tstart\tend\ttext\ttext", ["names text twice"]),
        ("", ["first line is empty"]),
    ],
)
def test_a_wrong_header_is_shown_with_what_is_expected(tmp_path: Path, header: str, says: list[str]) -> None:
    message = refusal(tmp_path, f"{header}\na\ttrain\tv\t\t\tt\n")
    assert all(part in message for part in says), message


@pytest.mark.parametrize(
    ("split", "meant"),
    [
        ("val", "dev"),
        ("validation", "dev"),
        ("Dev", "dev"),
        ("TRAIN", "train"),
        ("training", "train"),
        (" test", "test"),
    ],
)
def test_a_split_of_another_name_is_refused_with_the_right_one(tmp_path: Path, split: str, meant: str) -> None:
    message = refusal(tmp_path, "\t".join(COLUMNS) + f"\na\t{split}\tv\t\t\tt\t\n")
    assert f"split {split!r} is not one of train, dev, test; write {meant}" in message


def test_text_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_text("id\tsplit\n", encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16"):
        read_own_manifest(tmp_path / "manifest.tsv")
    (tmp_path / "manifest.tsv").write_bytes("id\tsplit\nä\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"line 2: not UTF-8 \("):
        read_own_manifest(tmp_path / "manifest.tsv")


def test_paths_begin_at_home_and_are_found_in_any_form_of_unicode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    decomposed = unicodedata.normalize("NFD", "größe.mp4")
    (tmp_path / decomposed).touch()
    lines = [
        f"{n}\ttrain\t{path}\t\t\tt" for n, path in enumerate(["~/größe.mp4", "größe.mp4", decomposed, "~no-such-user"])
    ]
    read = own(tmp_path, "\n".join(["id\tsplit\tvideo\tstart\tend\ttext", *lines]))
    assert [os.fspath(clip.video) for clip in read.clips[:3]] == [str(tmp_path / decomposed)] * 3
    assert read.clips[3].video == tmp_path / "~no-such-user"


def test_a_path_that_was_written_on_windows_is_found(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    (tmp_path / "b\\c.mp4").touch()
    lines = ["a\ttrain\tvideos\\a.mp4\t\t\tt", "b\ttrain\tb\\c.mp4\t\t\tt", "c\ttrain\tno\\d.mp4\t\t\tt"]
    read = own(tmp_path, "\n".join(["id\tsplit\tvideo\tstart\tend\ttext", *lines]))
    assert [clip.video.is_file() for clip in read.clips] == [True, True, False]


def test_ids_that_differ_in_their_unicode_form_alone_are_the_same(tmp_path: Path) -> None:
    lines = [f"{unicodedata.normalize(form, 'ä')}\ttrain\tv\t\t\tt\t" for form in ("NFC", "NFD")]
    assert "is already on line 2" in refusal(tmp_path, "\n".join(["\t".join(COLUMNS), *lines]))


QUOTED_LINES = [
    ('"er sagte ""hallo"""\nja\n"nein, nie"\n', ['er sagte "hallo"', "ja", "nein, nie"], "removed, on lines 1, 3"),
    ('"eins"\n"zwei"\n', ["eins", "zwei"], "removed, on lines 1, 2"),
    (
        '"er sagte ""hallo"""\n"ja" sagte "sie"\n',
        ['"er sagte ""hallo"""', '"ja" sagte "sie"'],
        "kept as they are, on line 1",
    ),
    ('"eins\nzwei"\n', ['"eins', 'zwei"'], ""),
    ('er sagte "hallo"\n', ['er sagte "hallo"'], ""),
]


@pytest.mark.parametrize(("text", "sentences", "said"), QUOTED_LINES)
def test_sentences_without_video_are_unquoted_likewise(
    tmp_path: Path, text: str, sentences: list[str], said: str
) -> None:
    (tmp_path / "text.txt").write_text(text)
    remarks: list[str] = []
    assert read_sentences(tmp_path / "text.txt", "--text", remarks.append) == sentences
    assert said in "".join(remarks)
    assert bool(said) == bool(remarks)


def test_a_table_of_imported_features_is_unquoted_likewise_unless_an_export_wrote_it(tmp_path: Path) -> None:
    text = 'id\tsplit\ttext\tfile\na\ttrain\t"er sagte ""hallo"""\t~/x.npy\nb\tval\tt\t\n'
    (tmp_path / "features.tsv").write_text(text)
    with pytest.raises(InputError, match="write dev"):
        read_table(tmp_path / "features.tsv", False, lambda remark: None)
    (tmp_path / "features.tsv").write_text(text.replace("val", "dev"))
    remarks: list[str] = []
    [clip] = read_table(tmp_path / "features.tsv", False, remarks.append)["train"]
    assert (clip.text, clip.views[0].file) == ('er sagte "hallo"', Path("~/x.npy").expanduser())
    assert "removed, on line 2" in remarks[0]
    [clip] = read_table(tmp_path / "features.tsv", True, remarks.append)["train"]
    assert clip.text == '"er sagte ""hallo"""'


@pytest.mark.parametrize("other", ["a\u200b", "\u200ea", " a", "a "])
def test_ids_that_look_alike_are_refused(tmp_path: Path, other: str) -> None:
    message = refusal(tmp_path, table(["a", "train", "v", "", "", "eins"], [other, "train", "v", "", "", "zwei"]))
    assert f"1 bad line; correct it:\n  line 3: id {other!r} is already on line 2" in message


@pytest.mark.parametrize("nothing", ["\u200b", " \u200f", "\ufeff"])
def test_what_nobody_sees_is_neither_an_id_nor_a_sentence(tmp_path: Path, nothing: str) -> None:
    message = refusal(tmp_path, table([nothing, "train", "v", "", "", "eins"], ["b", "train", "v", "", "", nothing]))
    assert "line 2: the id is empty\n  line 3: the text is empty" in message


@pytest.mark.parametrize(
    "written", ["\u200ber ging.mp4", " er ging.mp4 ", "er ging.mp4\u00a0", "sub\\er ging.mp4\u200b"]
)
def test_a_video_is_found_though_its_name_was_pasted_with_what_nobody_sees(tmp_path: Path, written: str) -> None:
    (tmp_path / "sub").mkdir()
    for folder in (tmp_path, tmp_path / "sub"):
        (folder / "er ging.mp4").touch()
    [clip] = own(tmp_path, table(["a", "train", written, "", "", "eins"])).clips
    assert clip.video.is_file()
    assert (clip.video.parent == tmp_path) == ("sub" not in written)


def test_quotes_with_a_blank_after_them_are_said(tmp_path: Path) -> None:
    read = own(tmp_path, table(["a", "train", "v", "", "", '"er sagte ""ja""" '], ["b", "train", "v", "", "", "nein"]))
    assert (read.clips[0].text, read.doubtful) == ('"er sagte ""ja""" ', [2])

"""`slt-cache score`: text files in, figures out, and what is refused."""

import csv
import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest

from slt_cache.hashes import file_sha256, write_signed
from slt_cache.pipeline.score_files import score_files
from tests.helpers.commands import slt_cache

REFERENCES = ["im süden regnet es", "im norden scheint die sonne .", "heute schneit es in den bergen"] * 5
HYPOTHESES = ["im süden regnet es", "im norden regnet es .", "heute schneit es stark"] * 5
OTHERS = ["am abend nebel"] * 15
KEYS = {"bleu1", "bleu2", "bleu3", "bleu4", "chrf", "rouge_l", "rouge_l_beta12"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, lines in (("hyp.txt", HYPOTHESES), ("ref.txt", REFERENCES), ("other.txt", OTHERS)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_figures_with_intervals_and_a_comparison(folder: Path) -> None:
    ran = slt_cache("score", "hyp.txt", "ref.txt", "--bootstrap", "50", "--against", "other.txt", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found.keys() == {"clips", "scores", "signatures", "intervals", "against"}
    assert found["clips"] == 15
    for part in ("scores", "signatures", "intervals", "against"):
        assert found[part].keys() == KEYS
    for key, (low, high) in found["intervals"].items():
        assert low < found["scores"][key] < high
    assert found["against"]["bleu1"]["p"] == pytest.approx(1 / 51, abs=1e-5)
    assert found["against"]["bleu1"]["other"] < found["scores"]["bleu1"]
    assert "seed:12345" in found["against"]["bleu1"]["signature"]


def test_without_such_options_there_are_scores_and_signatures_alone(folder: Path) -> None:
    assert json.loads(slt_cache("score", "hyp.txt", "ref.txt", "--json").out).keys() == {
        "clips",
        "scores",
        "signatures",
    }
    found = score_files(folder / "hyp.txt", folder / "ref.txt", "plain")
    assert (found.sentences, set(found.scores), len(found.against)) == (15, KEYS, 0)


def test_a_metric_on_request_is_a_line_and_a_key_more(folder: Path) -> None:
    files = ("hyp.txt", "ref.txt", "--against", "other.txt", "--bootstrap", "40")
    plain, more = (json.loads(slt_cache("score", *files, *ask, "--json").out) for ask in ((), ("--metric", "ter")))
    for part in ("scores", "signatures", "intervals", "against"):
        assert list(more[part]) == [*plain[part], "ter"]
        assert {key: more[part][key] for key in plain[part]} == plain[part]
    printed = slt_cache("score", *files, "--metric", "ter").out
    assert printed.count("  TER  ") == 2 and "  ROUGE-L F1.2  " in printed and "  ROUGE-L F1  " in printed


def test_an_unknown_metric_lists_what_there_is(folder: Path) -> None:
    ran = slt_cache("score", "hyp.txt", "ref.txt", "--metric", "meteor")
    assert ran.code == 2 and "--metric meteor: no such metric. Use bleu1, bleu2" in ran.err


def test_a_protocol_has_its_rules_for_texts_and_says_that_it_knows_no_more(folder: Path) -> None:
    def found(*options: str) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(slt_cache("score", "hyp.txt", "ref.txt", *options, "--json").out)
        return values

    by_name, by_hand = (
        found("--preset", "phoenix14t", *more) for more in (("--protocol", "sltbaselines"), ("--final-dot", "add"))
    )
    assert by_name["scores"] == by_hand["scores"]
    for key, signature in by_name["signatures"].items():
        assert signature == f"{by_hand['signatures'][key]}|protocol:sltbaselines(texts alone)"
    assert found("--protocol", "wmt-slt")["scores"] == found()["scores"]


def test_content_words_are_scored_apart_and_their_rules_printed(folder: Path) -> None:
    ask = ("score", "hyp.txt", "ref.txt", "--content-words", "--language", "de")
    found = json.loads(slt_cache(*ask, "--json").out)
    assert list(found["scores"])[-3:] == ["wer_content", "wer_numbers", "wer_names"]
    assert found["scores"]["wer_content"] == pytest.approx(100 * 3 / 8, abs=0.01)
    assert found["content_words"]["wer_content"]["words"] == 40
    printed = slt_cache(*ask).out
    assert "  WER content words    37.50   errors-per-word|" in printed
    assert "  wer_content: 40 words of the references (language de): words with a letter or digit" in printed
    assert "  wer_numbers: 0 words of the references (language de): words with a digit" in printed


def test_what_is_printed_names_the_interval_and_the_seed(folder: Path) -> None:
    ran = slt_cache("score", "hyp.txt", "ref.txt", "--bootstrap", "100", "--against", "other.txt", "--final-dot", "add")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert len(lines) == 1 + 7 + 1 + 7
    assert "bs:100|seed:12345" in lines[4] and "[" in lines[4] and lines[4].endswith("|final-dot:add")
    assert "other.txt" in lines[8]
    assert "p = 0.0" in lines[9] and "seed:12345" in lines[9]


def test_lines_are_paired_by_id_in_all_three_files(folder: Path) -> None:
    for name, lines in (("hyp.txt", HYPOTHESES), ("ref.txt", REFERENCES), ("other.txt", OTHERS)):
        with_ids = [f"clip{number}|{line}" for number, line in enumerate(lines)]
        turned = reversed(with_ids) if name != "ref.txt" else with_ids
        (folder / f"id.{name}").write_text("\n".join(turned) + "\n", encoding="utf-8")
    by_line = slt_cache("score", "hyp.txt", "ref.txt", "--against", "other.txt", "--json")
    by_id = slt_cache("score", "id.hyp.txt", "id.ref.txt", "--against", "id.other.txt", "--json")
    assert json.loads(by_id.out) == json.loads(by_line.out)


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_do_not_count(folder: Path, ends: str) -> None:
    (folder / "windows.txt").write_bytes(b"\xef\xbb\xbf" + (ends.join(HYPOTHESES) + ends).encode())
    assert (
        slt_cache("score", "windows.txt", "ref.txt", "--json").out
        == slt_cache("score", "hyp.txt", "ref.txt", "--json").out
    )


def write_table(path: Path, hypotheses: list[str], turned: bool = False) -> None:
    rows = [f"c{number}\t{REFERENCES[number]}\t{text}" for number, text in enumerate(hypotheses)]
    rows = rows[::-1] if turned else rows
    path.write_text("\n".join(["id\treference\thypothesis", *rows]) + "\n", encoding="utf-8")


def test_two_tables_of_eval_are_joined_by_id(folder: Path) -> None:
    write_table(folder / "ours.tsv", HYPOTHESES)
    write_table(folder / "theirs.tsv", OTHERS, turned=True)
    by_line = slt_cache("score", "hyp.txt", "ref.txt", "--against", "other.txt", "--json")
    by_id = slt_cache("score", "ours.tsv", "theirs.tsv", "--against", "theirs.tsv", "--json")
    assert json.loads(by_id.out) == json.loads(by_line.out)
    assert (
        slt_cache("score", "ours.tsv", "ours.tsv", "--json").out
        == slt_cache("score", "hyp.txt", "ref.txt", "--json").out
    )
    assert by_id.err == ""


def test_a_table_is_joined_with_id_sentence_lines_too(folder: Path) -> None:
    write_table(folder / "ours.tsv", HYPOTHESES, turned=True)
    (folder / "id.ref").write_text("".join(f"c{n}|{text}\n" for n, text in enumerate(REFERENCES)), encoding="utf-8")
    ran = slt_cache("score", "ours.tsv", "id.ref", "--json")
    assert ran.out == slt_cache("score", "hyp.txt", "ref.txt", "--json").out


def test_tables_of_other_clips_or_other_references_say_so(folder: Path) -> None:
    write_table(folder / "ours.tsv", HYPOTHESES)
    write_table(folder / "fewer.tsv", OTHERS[:-1])
    ran = slt_cache("score", "ours.tsv", "fewer.tsv")
    assert ran.code == 2 and "ours.tsv: 1 of 15 ids are not in fewer.tsv, such as 'c14'" in ran.err
    text = (folder / "ours.tsv").read_text(encoding="utf-8").replace("c3\tim süden", "c3\tIM SÜDEN")
    (folder / "changed.tsv").write_text(text, encoding="utf-8")
    ran = slt_cache("score", "ours.tsv", "changed.tsv")
    assert ran.code == 0
    assert "ours.tsv has other references for 1 of 15 clips, such as 'c3'; those of changed.tsv are used" in ran.err


def test_hypotheses_that_are_all_empty_score_0_and_are_said_to_be_empty(folder: Path) -> None:
    (folder / "blank.txt").write_text("\n" * 15)
    ran = slt_cache("score", "blank.txt", "ref.txt", "--bootstrap", "50", "--json")
    assert ran.code == 0, ran.err
    assert set(json.loads(ran.out)["scores"].values()) == {0.0}
    assert "blank.txt: all 15 hypotheses are empty, so BLEU, chrF and ROUGE-L are 0" in ran.err
    ran = slt_cache("score", "hyp.txt", "blank.txt")
    assert ran.code == 2 and "blank.txt: all 15 references are empty" in ran.err
    (folder / "some.txt").write_text("\n".join(["", *REFERENCES[1:]]), encoding="utf-8")
    ran = slt_cache("score", "hyp.txt", "some.txt")
    assert ran.code == 0 and "some.txt: 1 of 15 references are empty, such as number 1" in ran.err


def test_one_sentence_has_no_interval_worth_the_name_and_is_said_to_have_none(folder: Path) -> None:
    for name in ("hyp.txt", "ref.txt"):
        (folder / name).write_text("heute regnet es\n")
    ran = slt_cache("score", "hyp.txt", "ref.txt", "--bootstrap", "50")
    assert ran.code == 0
    assert "resampling a single sentence always gives that sentence" in ran.err


def test_intervals_of_a_weak_model_are_printed(folder: Path) -> None:
    (folder / "hyp.txt").write_text("heute schneit es\nxx yy\nzz qq\n")
    (folder / "ref.txt").write_text("heute regnet es\nganz anders\nnichts davon\n")
    ran = slt_cache("score", "hyp.txt", "ref.txt", "--preset", "phoenix14t", "--bootstrap", "100", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["scores"]["bleu1"], found["scores"]["chrf"]) == (28.57, 14.3)
    for key, (low, high) in found["intervals"].items():
        assert low <= found["scores"][key] <= high


BAD_FILES = {
    "short": (b"a\nb\n", "2 lines and ref.txt has 15"),
    "long": (b"a\n" * 16, "16 lines and ref.txt has 15"),
    "empty": (b"", "the file is empty"),
    "blank": (b"\n \n", "2 lines and ref.txt has 15"),
    "table alone": (b"id\thypothesis\n1\ta\n", "bad.txt has a column of ids, ref.txt has none"),
    "no hypotheses": (b"id\treference\n1\ta\n", "without a column 'hypothesis' (it has id, reference)"),
    "no rows": (b"id\treference\thypothesis\n", "a table without rows"),
    "a tab too many": (b"id\treference\thypothesis\n1\ta\tb\tc\n", "line 2: 4 columns"),
    "row twice": (b"id\treference\thypothesis\n1\ta\tb\n1\ta\tb\n", "'1' is on two lines, 2 and 3"),
    "latin1": ("a\r\nb\nmäßig\n".encode("latin1"), "line 3: not UTF-8 (byte 0xe4)"),
    "first": (b"\xef\xbb\xbf\xff\n", "line 1: not UTF-8 (byte 0xff)"),
    "cut": ("a\nüb".encode()[:3], "line 2: not UTF-8 (byte 0xc3)"),
    "utf16": ("a\nb\n".encode("utf-16"), "line 1: not UTF-8"),
    "ids": (b"".join(b"%d|a\n" % number for number in range(15)), "has id|sentence lines, ref.txt has none"),
    "half ids": (b"1|a\n2|b\nc\n", "line 3: no id"),
    "trailing line": (b"1|a\n2|b\n\n", "line 3: no id"),
    "twice": (b"1|a\n2|b\n1|c\n", "'1' is on two lines, 1 and 3"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("place", ["hypotheses", "against"])
def test_a_file_that_cannot_be_scored_ends_with_2_and_names_the_line(folder: Path, kind: str, place: str) -> None:
    data, telling = BAD_FILES[kind]
    (folder / "bad.txt").write_bytes(data)
    arguments = ["bad.txt", "ref.txt"] if place == "hypotheses" else ["hyp.txt", "ref.txt", "--against", "bad.txt"]
    ran = slt_cache("score", *arguments)
    assert ran.code == 2, ran.err
    assert telling in ran.err
    assert "bad.txt" in ran.err
    assert len(ran.err.strip().splitlines()) <= 2
    assert not ran.out


@pytest.mark.parametrize(
    ("hypotheses", "named"), [("1|a\n2|b\n3|c\n", "hyp.txt: 1 of 3"), ("1|a\n", "ref.txt: 1 of 2")]
)
def test_ids_in_one_file_only_are_counted_and_named(folder: Path, hypotheses: str, named: str) -> None:
    (folder / "hyp.txt").write_text(hypotheses)
    (folder / "ref.txt").write_text("1|a\n2|b\n")
    ran = slt_cache("score", "hyp.txt", "ref.txt")
    assert ran.code == 2
    assert named in ran.err
    assert "'3'" in ran.err or "'2'" in ran.err


@pytest.mark.parametrize(
    ("option", "telling"),
    [
        (("--final-dot", "drop"), "keep, add, strip"),
        (("--bootstrap", "3"), "40 to 10000"),
        (("--bootstrap", "many"), "--bootstrap"),
        (("--against", "nowhere.txt"), "nowhere.txt"),
        (("--against", "."), "cannot be read"),
        (("--protocol", "sltbaseline"), "Use paper, sltbaselines"),
        (("--protocol", "paper", "--final-dot", "add"), "--final-dot contradicts --protocol paper, which has keep"),
        (("--protocol", "wmt-slt", "--preset", "how2sign"), "--preset contradicts --protocol wmt-slt"),
        (("--metric", "ter=model"), "this metric needs no model"),
    ],
)
def test_a_choice_that_is_none_ends_with_2(folder: Path, option: tuple[str, str], telling: str) -> None:
    ran = slt_cache("score", "hyp.txt", "ref.txt", *option)
    assert ran.code == 2, ran.err
    assert telling in ran.err
    assert not ran.out


def test_ids_are_joined_whatever_form_of_unicode_they_are_stored_in(tmp_path: Path) -> None:
    forms: tuple[tuple[str, Literal["NFC", "NFD"]], ...] = (("hypotheses", "NFC"), ("references", "NFD"))
    for name, form in forms:
        lines = [
            f"{unicodedata.normalize(form, clip)}|{unicodedata.normalize(form, 'ein schöner tag')}" for clip in "äö"
        ]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    ran = slt_cache("score", tmp_path / "hypotheses", tmp_path / "references", "--json")
    assert json.loads(ran.out)["scores"]["bleu1"] == 100


QUOTED = ['er sagte "hallo" und ging', "guten abend, liebe zuschauer", 'ein | strich und ein " allein', "ohne alles"]
WRITTEN_AS_CSV: dict[str, dict[str, Any]] = {
    "pandas": {"quoting": csv.QUOTE_MINIMAL},
    "everything quoted": {"quoting": csv.QUOTE_ALL},
    "Windows": {"quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"},
}


def write_csv(path: Path, rows: list[list[str]], **options: Any) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, **{"delimiter": "\t", "lineterminator": "\n", **options}).writerows(rows)


@pytest.mark.parametrize("how", WRITTEN_AS_CSV)
@pytest.mark.parametrize("kind", ["sentences", "ids", "table"])
def test_the_quotes_of_a_whole_file_of_csv_are_taken_off(folder: Path, kind: str, how: str) -> None:
    options = WRITTEN_AS_CSV[how]
    raw = "\n".join(
        QUOTED if kind in ("sentences", "raw references") else [f"c{n}|{text}" for n, text in enumerate(QUOTED)]
    )
    (folder / "ref.txt").write_text(raw + "\n", encoding="utf-8")
    if kind in ("sentences", "raw references"):
        write_csv(folder / "hyp.tsv", [[text] for text in QUOTED], **options)
    elif kind == "ids":
        write_csv(folder / "hyp.tsv", [[f"c{n}", text] for n, text in enumerate(QUOTED)], **options, delimiter="|")
    else:
        rows = [[f"c{n}", text, text] for n, text in enumerate(QUOTED)]
        write_csv(folder / "hyp.tsv", [["id", "reference", "hypothesis"], *rows], **options)
    for files in (("hyp.tsv", "ref.txt"), ("ref.txt", "hyp.tsv")):
        ran = slt_cache("score", *files, "--preset", "phoenix14t", "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["scores"]["bleu4"] == 100.0
        assert "hyp.tsv: the quotes of csv were removed, on lines " in ran.err
        assert "other references" not in ran.err


def test_quotes_of_raw_sentences_count_and_what_looks_quoted_is_named(folder: Path) -> None:
    lines = ['"er sagte ""hallo"""', 'sie sagte "nein"', "ohne"]
    for name in ("hyp.txt", "ref.txt"):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    ran = slt_cache("score", "hyp.txt", "ref.txt", "--json")
    assert json.loads(ran.out)["scores"]["rouge_l"] == 100.0
    assert "hyp.txt: values look quoted and were kept as they are, on line 1" in ran.err
    (folder / "ref.txt").write_text("\n".join(f"c{n}|{line}" for n, line in enumerate(lines)), encoding="utf-8")
    assert (
        "ref.txt: values look quoted and were kept as they are, on line 1"
        in slt_cache("score", "ref.txt", "ref.txt").err
    )


def test_a_table_that_eval_wrote_is_taken_as_it_is(folder: Path) -> None:
    table = folder / "test.tsv"
    table.write_text('id\treference\thypothesis\na\tja\t"ja, gut"\nb\tnein\tnein\n', encoding="utf-8")
    ran = slt_cache("score", table, table, "--preset", "phoenix14t", "--json")
    assert "the quotes of csv were removed, on line 2" in ran.err
    write_signed(table.with_suffix(".json"), {"table_sha256": file_sha256(table)})
    again = slt_cache("score", table, table, "--preset", "phoenix14t", "--json")
    assert "quotes" not in again.err

"""Broken annotation and subtitle files, from a seed: each ends in an exit code and never in a traceback or a hang. A
few of each kind, and well over a thousand in the slow tier."""

import gzip
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.corpora.empty_splits import LEFT_OUT
from slt_cache.corpora.manifest import read_manifest
from tests.helpers import official, published
from tests.helpers.commands import slt_cache
from tests.helpers.subtitles import eaf, srt, vtt

FEW, MANY = 4, 90
"""Mutated files of each kind."""
PATIENCE = 5
"""Seconds of processor time for one file."""
Mutation = Callable[[bytes, random.Random], bytes]
Kind = Callable[[Path], tuple[str, Path]]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def cut_out(data: bytes, chance: random.Random) -> bytes:
    first, last = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[last:]


def swapped_columns(data: bytes, chance: random.Random) -> bytes:
    """In all lines or in one; in a pickle it swaps bytes around such a sign."""
    sign = chance.choice([s for s in (b"|", b"\t", b",", b"\x94", b"\n") if s in data] or [b"\0"])
    lines = data.split(b"\n")
    chosen = range(len(lines)) if chance.random() < 0.5 else [chance.randrange(len(lines))]
    seed = chance.random()
    for number in chosen:
        values = lines[number].split(sign)
        random.Random(seed).shuffle(values)
        lines[number] = sign.join(values)
    return b"\n".join(lines)


def wrong_encoding(data: bytes, chance: random.Random) -> bytes:
    text = data.decode("utf-8", errors="replace")
    return text.encode(
        chance.choice(["utf-16", "latin-1", "cp1252", "gb18030", "utf-32", "utf-8-sig"]), errors="replace"
    )


def huge_field(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    filler = chance.choice([b"a", b"9", b'"', b"|", b"\t", b"\n", b",", b"../", b"\xc3\xa4", b"]", b"(", b"\x85"])
    return data[:place] + filler * chance.choice([300, 5_000, 200_000]) + data[place:]


def odd_bytes(data: bytes, chance: random.Random) -> bytes:
    odd = [
        b"\0",
        b"\r",
        b"\x1a",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b'"',
        b"nan",
        b"inf",
        b"-1",
        b"1e999",
        b"/",
    ]
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(data) + 1)
        data = data[:place] + chance.choice(odd) + data[place:]
    return data


def flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 3, 30])):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def doubled(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join(lines + chance.choices(lines, k=chance.randint(1, 4)))


def other_type(data: bytes, chance: random.Random) -> bytes:
    """A whole pickle with other values than expected, or one that asks for something, in place of the file."""
    deep: object = "end"
    for _ in range(chance.choice([3, 300])):
        deep = chance.choice([[deep], (deep,), {"info": deep}, {"name": deep}])
    loop: list[object] = []
    loop.append(loop)
    good = official.csl_item("S000000_P0000_T00", "好。")
    odd = [None, 3, -1, 2.5, True, b"\xff", "\ud800", "a\tb\nc", [], {}, deep, loop, ["a", 1], "x" * 100_000, 10**400]
    item = {**good, chance.choice(["name", "text", "label_char", "length", "signer", "imgs_path"]): chance.choice(odd)}
    values = [deep, loop, item, {"info": [item]}, {"info": deep}, {"a": item}, [item], {"info": item}, {1: item}]
    values += [{"info": [Asks()]}, Asks(), {"a": {"name": "a", "text": Asks()}}]
    return pickle.dumps(chance.choice(values), chance.randint(0, pickle.HIGHEST_PROTOCOL))


class Asks:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return eval, ("open('pwned', 'w')",)


MUTATIONS: list[Mutation] = [
    cut,
    cut_out,
    swapped_columns,
    wrong_encoding,
    huge_field,
    odd_bytes,
    flipped,
    doubled,
    other_type,
]


def _phoenix_csv(root: Path) -> tuple[str, Path]:
    official.phoenix(root)
    return "phoenix14t", root / "annotations" / "manual" / "PHOENIX-2014-T.train.corpus.csv"


def _phoenix_labels(root: Path) -> tuple[str, Path]:
    official.phoenix(root)
    items = {
        f"train/{official.phoenix_id('train', n)}": {"text": t, "length": 3, "gloss": "X"} for n, t in enumerate("ab")
    }
    for name, item in items.items():
        item |= {"name": name, "imgs_path": [f"{name}/images0001.png"]}
    (root / "annotations" / "manual" / "PHOENIX-2014-T.train.corpus.csv").unlink()
    return "phoenix14t", official.write_labels(root / "labels.train", items)


def _csl_pickle(root: Path) -> tuple[str, Path]:
    return "csl-daily", official.csl(root) / "sentence_label" / "csl2020ct_v2.pkl"


def _csl_split(root: Path) -> tuple[str, Path]:
    return "csl-daily", official.csl(root) / "sentence_label" / "split_1.txt"


def _csl_map(root: Path) -> tuple[str, Path]:
    labels = official.csl(root) / "sentence_label"
    (labels / "csl2020ct_v2.pkl").unlink()
    rows = [f"{i}|{n}|3|他|{' '.join(t)}|x|n" for i, (n, (_, t)) in enumerate(official.CSL.items())]
    path = labels / "video_map.txt"
    path.write_text("\n".join(["index|name|length|gloss|char|word|postag", *rows]) + "\n", encoding="utf-8")
    return "csl-daily", path


def _how2sign_tab(root: Path) -> tuple[str, Path]:
    official.how2sign(root, "tab-quoted", "\r\n")
    _touched(root, "-aa-8-rgb_front", "bb-8-rgb_front", "cc-8-rgb_front")
    return "how2sign", root / "how2sign_realigned_train.csv"


def _how2sign_comma(root: Path) -> tuple[str, Path]:
    official.how2sign(root, "comma")
    _touched(root, "-aa_0-8-rgb_front", "-aa_1-8-rgb_front", "bb_0-8-rgb_front", "cc_0-8-rgb_front")
    return "how2sign", root / "how2sign_realigned_train.csv"


def _own(root: Path) -> tuple[str, Path]:
    root.mkdir()
    path = root / "manifest.tsv"
    lines = ["id\tsplit\tvideo\tstart\tend\ttext\tsigner", "a\ttrain\ta.mp4\t0.5\t1\tschön\ts", "b\tdev\tb\t\t\tgut\t"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "tsv", path


def _touched(root: Path, *videos: str) -> None:
    """Writes files in the place of videos, which do not open: names and sentences are read all the same."""
    for name in videos:
        (root / f"{name}.mp4").write_bytes(name.encode())


def _published(corpus: str, make: Callable[[Path], Path], file: str, *videos: str) -> Kind:
    def made(root: Path) -> tuple[str, Path]:
        make(root)
        _touched(root, *videos)
        return corpus, root / file

    return made


def _subtitled(suffix: str, text: str) -> Kind:
    def made(root: Path) -> tuple[str, Path]:
        for name in "abc":
            published.written(root / f"{name}.{suffix}", text)
        _touched(root, *"abc")
        return "subtitles", root / f"a.{suffix}"

    return made


CUES = [("00:00:00.100", "00:00:01.000", "<v Bob>Hello"), ("00:00:01.100", "00:00:02.000", "(all) &amp; [x] good.")]
ELAN = eaf({"Text": ("A", [(100, 900, "Guten Tag."), (1000, 1900, "Hallo")]), "None": ("", [])}, origin=10)
YOUTUBE = ("-aBc_dEf012", "bbbbbbbbbbb", "ccccccccccc")
LABELLED = ("a_1-8-rgb_front", "-b_2", "c:3", "d_4")
MOTHS = tuple(f"000000{number}-2022.6.14" for number in range(3))
BOBSL = ("5085344787448740525", "5085", "6")
FOCUS = ("focusnews.043", "focusnews.044", "focusnews.045")
KINDS = {
    **{
        make.__name__.strip("_"): make
        for make in (
            *(_phoenix_csv, _phoenix_labels, _csl_pickle, _csl_split, _csl_map),
            *(_how2sign_tab, _how2sign_comma, _own),
        )
    },
    "openasl": _published("openasl", published.openasl, "data/openasl-v1.0.tsv", *YOUTUBE),
    "openasl_boxes": _published("openasl", published.openasl, "data/bbox-v1.0.json", *YOUTUBE),
    "openasl_labels": _published("openasl", published.uni_sign, "labels.val", *LABELLED),
    "how2sign_labels": _published("how2sign", published.uni_sign, "labels.test", *LABELLED),
    "csl_news": _published("csl-news", published.csl_news, "data/train/CSL_News_Labels.json", *published.CSL_NEWS),
    "dailymoth": _published("dailymoth", published.dailymoth, "manifests/train.tsv", *MOTHS),
    "bobsl": _published("bobsl", published.bobsl, "metadata/subset2episode.json", *BOBSL),
    "bobsl_captions": _published("bobsl", published.bobsl, "subtitles/manually-aligned/5085.vtt", *BOBSL),
    "wmt_slt": _published("wmt-slt", published.wmt_slt, "focusnews/subtitles/focusnews.043.srt", *FOCUS),
    "isign": _published("isign", published.isign, "iSign_v1.1.csv", *published.ISIGN),
    "uni_sign": _published("uni-sign", published.uni_sign, "labels.train", *LABELLED),
    "youtube_asl": _published("youtube-asl", published.youtube_asl, "youtube_asl_video_ids.txt", *YOUTUBE),
    "youtube_rolling": _published("youtube-asl", published.youtube_asl, "videos/ccccccccccc.en-US.vtt", *YOUTUBE),
    "youtube_sl_25": _published("youtube-sl-25", published.youtube_sl_25, "youtube-sl-25-metadata.csv", *YOUTUBE),
    "vtt": _subtitled("vtt", vtt(CUES)),
    "srt": _subtitled("srt", srt(CUES).replace(".100", ",100")),
    "eaf": _subtitled("eaf", ELAN),
}

CAPTIONS = ("vtt", "srt", "eaf", "bobsl_captions", "wmt_slt", "youtube_rolling")
"""Kinds of which one of several caption files is broken; the others are read."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("many", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_broken_annotation_file_ends_in_an_exit_code(
    kind: str, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a thousand of them take longer than all the rest
    monkeypatch.setattr("slt_cache.report.preparation.write_preparation", lambda run, made: run.folder)  # so do pages
    corpus, path = KINDS[kind](tmp_path / "root")
    whole = path.read_bytes()
    packed = whole[:2] == b"\x1f\x8b"
    codes: set[int] = set()
    for number in range(many):
        chance = random.Random(f"{kind} {number}")
        mutate = MUTATIONS[(number + len(kind)) % len(MUTATIONS)]
        within = packed and chance.random() < 0.7
        broken = mutate(gzip.decompress(whole) if within else whole, chance)
        path.write_bytes(gzip.compress(broken, 1) if within else broken)
        began = time.process_time()
        ran = slt_cache("prepare", corpus, "--root", tmp_path / "root", "--run", tmp_path / "run")
        what = f"{mutate.__name__}, number {number}: {ran.err[:500]}"
        assert time.process_time() - began < PATIENCE, what
        assert "Traceback" not in ran.err, what
        if ran.code == 1:  # what the user corrects in a manifest is listed; a table may be whole and lack a split
            lacks_rows = "no clip with a video in" in ran.err and not any(kind in ran.err for kind in LEFT_OUT)
            assert lacks_rows or (corpus == "tsv" and "to correct (see above)" in ran.err), what
        else:
            assert ran.code in (0, 2), what
        assert ran.code != 2 or "error: " in ran.err, what
        if ran.code == 0:
            assert read_manifest(tmp_path / "run" / "manifest.tsv"), what
        codes.add(ran.code)
    assert many == FEW or codes - {0} or kind in CAPTIONS
    assert not (tmp_path / "pwned").exists()

"""Several corpora in one manifest: `prepare merge`, from the command line."""

import json
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.base import MONOLINGUAL_FILE
from slt_cache.corpora.languages import NAMES, NLLB, english_name, short_name
from slt_cache.corpora.manifest import read_manifest
from tests.helpers.commands import slt_cache
from tests.helpers.tiny_run import succeed

HEADER = "id\tsplit\tvideo\tstart\tend\ttext"


def corpus(folder: Path, ids: str = "a b c", text: str = "satz", column: str = "") -> Path:
    """Writes a manifest, of one clip a split, next to videos that nobody opens; `column` is the language of each."""
    folder.mkdir(parents=True)
    lines = [HEADER + ("\tlanguage" if column else "")]
    for number, (name, split) in enumerate(zip(ids.split(), ("train", "dev", "test"), strict=True)):
        (folder / f"{number}.mp4").write_bytes(f"{folder.name} {number}".encode())
        value = f"\t{column.split()[number % len(column.split())]}" if column else ""
        lines.append(f"{name}\t{split}\t{number}.mp4\t\t\t{text} {number}{value}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def prepared(folder: Path, *settings: str, ids: str = "a b c", column: str = "") -> Path:
    """Prepares a run of such a corpus."""
    root = corpus(folder.with_name(f"{folder.name} videos"), ids, folder.name, column)
    chosen = [word for setting in settings for word in ("--set", setting)]
    succeed("prepare", "tsv", "--root", root, "--run", folder, "--no-probe", *chosen)
    return folder


def test_two_runs_become_one_manifest_that_names_corpus_and_language(tmp_path: Path) -> None:
    german = prepared(tmp_path / "german", "llm.language=de_DE", ids="a b c")
    english = prepared(tmp_path / "english", "llm.language=en_XX", ids="d b e")
    run = tmp_path / "both"
    ran = succeed("prepare", "merge", german, english, "--run", run, "--json")
    assert json.loads(ran.out)["counts"] == {"train": 2, "dev": 2, "test": 2}
    clips = read_manifest(run / "manifest.tsv")
    assert [(clip.id, clip.corpus, clip.language) for clip in clips] == [
        ("a", "german", "de"),
        ("german__b", "german", "de"),
        ("c", "german", "de"),
        ("d", "english", "en"),
        ("english__b", "english", "en"),
        ("e", "english", "en"),
    ]
    assert [clip.video for clip in clips[:1]] == [tmp_path / "both" / "../german videos/0.mp4"]
    assert clips[0].video.read_bytes() == b"german videos 0"
    assert not list(run.rglob("*.mp4"))
    config = load_config(str(run / "config.yaml"), ())
    assert (config.corpus.languages, config.llm.language) == (("de", "en"), None)
    again = succeed("prepare", "merge", "--run", run)
    assert "train 2" in again.out
    assert read_manifest(run / "manifest.tsv") == clips


def test_a_manifest_alone_needs_the_column_language(tmp_path: Path) -> None:
    german = prepared(tmp_path / "german", "llm.language=de_DE")
    bare = corpus(tmp_path / "bare")
    ran = slt_cache("prepare", "merge", german, bare, "--run", tmp_path / "both")
    assert ran.code == 2
    assert "the language of 3 of 3 sentences is not known, such as that of 'a'" in ran.err
    assert "column `language`" in ran.err
    assert not (tmp_path / "both").exists()
    named = corpus(tmp_path / "named", column="en zh en")
    succeed("prepare", "merge", german, named / "manifest.tsv", "--run", tmp_path / "both")
    clips = read_manifest(tmp_path / "both" / "manifest.tsv")
    assert [clip.language for clip in clips] == ["de", "de", "de", "en", "zh", "en"]


def test_your_own_manifest_may_have_several_languages(tmp_path: Path) -> None:
    run = prepared(tmp_path / "run", column="de_DE en de")
    assert load_config(str(run / "config.yaml"), ()).corpus.languages == ("de", "en")
    assert [clip.language for clip in read_manifest(run / "manifest.tsv")] == ["de", "en", "de"]
    ran = slt_cache(
        "prepare", "tsv", "--root", corpus(tmp_path / "odd", column="? en de"), "--run", tmp_path / "odd run"
    )
    assert ran.code == 2
    assert "line 2: language '?' is not the code of a language" in ran.err


def test_corpora_of_other_video_settings_are_refused(tmp_path: Path) -> None:
    one = prepared(tmp_path / "one", "llm.language=de_DE", "video.fps=25", "video.size=112", "video.frame_cache=true")
    two = prepared(tmp_path / "two", "llm.language=en_XX", "video.size=112")
    ran = slt_cache("prepare", "merge", one, two, "--run", tmp_path / "both")
    assert ran.code == 2
    assert "different video settings (video.fps: one 25.0, two 0.0)" in ran.err
    assert "--set video.fps=25.0" in ran.err
    succeed("prepare", "merge", one, two, "--run", tmp_path / "both", "--set", "video.fps=12")
    video = load_config(str(tmp_path / "both" / "config.yaml"), ()).video
    assert (video.fps, video.size) == (12.0, 112)


def test_what_cannot_be_merged_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    one = prepared(tmp_path / "one", "llm.language=de_DE")
    two = prepared(tmp_path / "two", "llm.language=en_XX")
    clash = prepared(tmp_path / "clash", "llm.language=en_XX", ids="one__a x y")
    other = prepared(tmp_path / "further" / "one", "llm.language=en_XX")
    before = (one / "manifest.tsv").read_bytes()
    refused = {
        (one,): "Name two or more",
        (one, one): "the same manifest twice",
        (one, tmp_path / "nothing"): "no such run folder or manifest",
        (one, tmp_path): "holds no manifest.tsv",
        (one, other): "is called one, too. Give one another name: NAME=",
        (one, two, clash): "the id 'one__a' would stand for two clips",
    }
    for sources, message in refused.items():
        ran = slt_cache("prepare", "merge", *sources, "--run", tmp_path / "both")
        assert (ran.code, message in ran.err) == (2, True), ran.err
        assert "Traceback" not in ran.err
        assert not (tmp_path / "both").exists()
    ran = slt_cache("prepare", "merge", one, two, "--run", one)
    assert (ran.code, "is the corpus one" in ran.err) == (2, True)
    assert (one / "manifest.tsv").read_bytes() == before
    ran = slt_cache("prepare", "avatar", one, "--run", tmp_path / "both")
    assert (ran.code, "only merge takes these" in ran.err) == (2, True)
    succeed("prepare", "merge", one, f"two={other}", "--run", tmp_path / "both")
    assert {clip.corpus for clip in read_manifest(tmp_path / "both" / "manifest.tsv")} == {"one", "two"}


def test_presets_of_corpora_are_kept_and_sentences_without_video_are_merged(tmp_path: Path) -> None:
    one = prepared(tmp_path / "one", "llm.language=de_DE", "scoring.preset=phoenix14t")
    two = prepared(tmp_path / "two", "llm.language=en_XX")
    (tmp_path / "one videos" / MONOLINGUAL_FILE).write_text("guten abend\nregen\n", encoding="utf-8")
    succeed("prepare", "merge", one, two, "--run", tmp_path / "both")
    corpus = load_config(str(tmp_path / "both" / "config.yaml"), ()).corpus
    assert (corpus.presets, corpus.languages) == ({"one": "phoenix14t"}, ("de", "en"))
    text = (tmp_path / "both" / "corpus" / MONOLINGUAL_FILE).read_text(encoding="utf-8")
    assert text == "de\tguten abend\nde\tregen\nen\ttwo 0\n"


def test_a_changed_corpus_is_noticed(tmp_path: Path) -> None:
    one = prepared(tmp_path / "one", "llm.language=de_DE")
    two = prepared(tmp_path / "two", "llm.language=en_XX")
    run = tmp_path / "both"
    succeed("prepare", "merge", one, two, "--run", run)
    manifest = one / "manifest.tsv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("one 0", "anders"), encoding="utf-8")
    ran = slt_cache("extract-features", "--encoder", "resnet18", "--run", run)
    assert ran.code == 2
    assert "an annotation file has changed since" in ran.err
    assert "prepare merge --run" in ran.err


@pytest.mark.parametrize("code", ["de", "de_DE", "deu_Latn", "__de__"])
def test_every_spelling_of_a_language_has_one_short_name(code: str) -> None:
    assert short_name(code) == "de"
    assert english_name(code) == "German"


def test_languages_have_a_name_and_a_code_of_nllb() -> None:
    assert NLLB.keys() == NAMES.keys()
    assert all(short_name(code) == short for short, code in NLLB.items())

"""LLMs that were made elsewhere through all commands: trimmed first, trained from the cache, scored, translated."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from slt_cache import FeatureCache, SignTranslator
from slt_cache.checkpoints.translator import load_llm
from slt_cache.checkpoints.visual import load_visual
from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.reading import read_json
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

LANGUAGES = {"mbart": "de_DE", "nllb": "deu_Latn", "mt5": None}
PROMPTS = {"gpt2": "Gebärden: {video} Deutsch:", "gemma3_text": "{video}", "llama3": "Übersetze {video}"}
"""Of decoder-only LLMs."""


def slow(family: str) -> Any:
    """A family that goes through all commands elsewhere too, with a smaller model."""
    return pytest.param(family, marks=pytest.mark.slow)


def succeed(*arguments: str | Path) -> Ran:
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    return ran


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the corpus drawn, and nothing trained."""
    run = tmp_path_factory.mktemp("prepared") / "run"
    succeed("prepare", "avatar", "--run", run, "--config", TINY)
    return run


@pytest.fixture(scope="module")
def llm_of(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Small models whose pieces were trained on the corpus and on Chinese, which the corpus does not use."""
    sentences = [clip.text for clip in read_manifest(prepared / "manifest.tsv")]
    chinese = ["今天天气很好我们去公园散步", "明天北方有雪南方有雨气温下降三度"]

    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        make_llm = make_causal_llm if family in PROMPTS else make_small_llm
        make_llm(family, folder, [*sentences, *chinese])
        return folder

    return make


@pytest.mark.parametrize("family", [slow("mbart"), slow("mt5"), "nllb"])
def test_all_commands_work_with_it(prepared: Path, llm_of: Callable[[str], Path], family: str, tmp_path: Path) -> None:
    run, llm = tmp_path / "run", llm_of(family)
    shutil.copytree(prepared, run)
    named = ["--set", f"llm.name={llm}", "--set", f"llm.language={LANGUAGES[family] or 'null'}"]
    brief = ["--set", "visual_training.epochs=1", "--set", "llm_training.epochs=1"]
    if family == "mt5":
        named += ["--set", "corpus.language=de", "--set", "scoring.preset=plain"]
    first = succeed("train-visual", "--run", run, *named, *brief)
    assert f"trimming {llm} to the" in first.err
    succeed("extract-features", "--split", "all", "--run", run)
    second = succeed("train-llm", "--features", "feats.h5", "--run", run)
    assert "trimming" not in second.err
    succeed("eval", "--run", run)
    video = of_split(read_manifest(run / "manifest.tsv"), "test")[0].video
    succeed("translate", "--run", run, video)

    visual, trained = load_visual(run / "visual" / "best"), load_llm(run / "llm" / "best")
    report = read_json(run / "llm" / "trimmed" / "trim.json")
    assert visual.tokenizer.sha256 == trained.tokenizer.sha256
    assert visual.tokenizer.start == trained.tokenizer.start
    assert trained.model.seq2seq.config.vocab_size == report["vocab_after"] < report["vocab_before"]


@pytest.mark.parametrize("family", ["gemma3_text", slow("gpt2"), "llama3"])
def test_all_commands_work_with_a_decoder_only_llm(
    prepared: Path, llm_of: Callable[[str], Path], family: str, tmp_path: Path
) -> None:
    """Its prompt, of words that no sentence has, changes nothing of stage 1 and is cut as by the whole tokenizer."""
    run, llm, prompt = tmp_path / "run", llm_of(family), PROMPTS[family]
    shutil.copytree(prepared, run)
    brief = ("--set", "visual_training.epochs=1", "--set", "llm_training.epochs=1")
    chat = f"llm.chat_template={str(family == 'llama3').lower()}"
    succeed("train-visual", "--run", run, "--set", f"llm.name={llm}", *brief)
    succeed("extract-features", "--split", "all", "--run", run)
    before = (run / "visual" / "best" / "record.json").read_bytes()
    second = succeed(
        "train-llm", "--features", "feats.h5", "--run", run, "--set", f"llm.prompt={prompt}", "--set", chat
    )
    assert ("trimming" in second.err) == (prompt != "{video}")
    assert (run / "visual" / "best" / "record.json").read_bytes() == before
    evaluated = json.loads(succeed("eval", "--run", run, "--json").out)
    clip = of_split(read_manifest(run / "manifest.tsv"), "test")[0]
    translated = json.loads(succeed("translate", "--run", run, clip.video, "--json", "--nbest", "2").out)
    report = succeed("report", "--run", run)
    assert "Cross-attention is not shown" not in report.err

    visual, trained = load_visual(run / "visual" / "best"), load_llm(run / "llm" / "best")
    rows = trained.model.seq2seq.get_input_embeddings().num_embeddings
    assert len(visual.tokenizer) <= rows < read_json(run / "llm" / "trimmed" / "trim.json")["vocab_before"]
    whole, tokenizer = AutoTokenizer.from_pretrained(llm), trained.tokenizer
    words = [tokenizer.inner.convert_ids_to_tokens(list(ids)) for ids in (tokenizer.before, tokenizer.start)]
    begin = whole.eos_token if whole.bos_token is None else whole.bos_token
    if family == "llama3":
        turn = [{"role": "user", "content": prompt}]
        text = str(whole.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
        first, _, last = text.partition("{video}")
        assert words == [whole.tokenize(first), whole.tokenize(last)]
    else:
        first, _, last = prompt.partition("{video}")
        assert words == [whole.tokenize(first), whole.tokenize(last) or [begin]]
    assert tuple(visual.tokenizer.inner.convert_ids_to_tokens(visual.tokenizer.start)) == (begin,)
    saved = SignTranslator.from_pretrained(run / "llm" / "best")
    cache = FeatureCache(run / "feats.h5", "test")
    texts = saved.translate([cache[one] for one in cache.ids])
    written = [line.split("\t")[2] for line in (run / "eval" / "test.tsv").read_text().split("\n")[1:-1]]
    assert [re.sub(r"[\t\r\n]", " ", text) for text in texts] == written
    assert translated["translations"][0]["text"] == texts[cache.ids.index(clip.id)]
    assert evaluated["clips"] == len(texts)


def test_without_trimming_the_vocabulary_stays_whole(
    prepared: Path, llm_of: Callable[[str], Path], tmp_path: Path
) -> None:
    run, llm = tmp_path / "run", llm_of("mbart")
    shutil.copytree(prepared, run)
    named = ("--set", f"llm.name={llm}", "--set", "llm.trim=false", "--set", "visual_training.epochs=1")
    succeed("train-visual", "--run", run, *named)
    assert not (run / "llm" / "trimmed").exists()
    from slt_cache.text.tokenizer import load_tokenizer

    assert load_visual(run / "visual" / "best").tokenizer.sha256 == load_tokenizer(str(llm), "de_DE").sha256


def test_chinese_without_a_language_is_not_scored_by_blanks(prepared: Path, tmp_path: Path) -> None:
    """T5 asks for no language, and then nothing says how sentences are cut into words."""
    clip = of_split(read_manifest(prepared / "manifest.tsv"), "train")[0]
    (tmp_path / "own").mkdir()
    lines = ["id\tvideo\tstart\tend\tsplit\ttext", f"a\t{clip.video}\t\t\ttrain\t今天天气很好"]
    (tmp_path / "own" / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = ("--set", "corpus.name=tsv", "--set", f"corpus.root={tmp_path / 'own'}")
    ran = slt_cache("train-visual", "--run", tmp_path / "run", "--config", TINY, *settings)
    assert ran.code == 2
    assert "scoring.preset: not set, nor is llm.language" in ran.err

"""A run on a cache of two corpora in two languages: training, evaluation by language, and new features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.corpora.base import Origin
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.metrics.scores import score
from slt_cache.models.saved import read_translator
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.caches import facts_of
from tests.helpers.commands import slt_cache
from tests.helpers.imported_run import of_imported
from tests.helpers.tiny_run import succeed

DIM = 8
CLIPS = (
    ("guten abend morgen regnet es im norden", Origin("phoenix", "de")),
    ("ein satz am tag scheint die sonne", Origin("phoenix", "de")),
    ("good evening tomorrow it rains", Origin("h2s", "en")),
    ("今天下雪 有大风", Origin("csl", "zh")),
)
SETTINGS = ("llm.name=light-t", "light_t.size=tiny", "llm_training.epochs=1", "generation.num_beams=2")


def cache_of(path: Path, clips: tuple[tuple[str, Origin], ...] = CLIPS) -> Path:
    random = np.random.default_rng(3)
    spec = FeatureSpec(encoder_sha256=None, level=IMPORTED, dim=DIM, dtype="float16", source="random")
    for split in ("train", "dev", "test"):
        rows = [
            ClipFeatures(
                f"{split} {n}", text, 4 * (n + 2), 25.0, random.normal(size=(n + 2, DIM)).astype("float16"), "", origin
            )
            for n, (text, origin) in enumerate(clips)
        ]
        add_splits(path, [content_of(facts_of(split, spec), rows)])
    return path


def words(run: Path, cache: Path, *settings: str) -> list[str]:
    found = of_imported(run, cache, *SETTINGS, *settings)
    return [word.replace("llm.language=de_DE", "llm.language=de+en+zh") for word in found]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("languages")
    run = folder / "run"
    succeed(*words(run, cache_of(folder / "feats.h5"), "llm_training.temperature=5"))
    return run


def test_a_cache_holds_corpus_and_language_of_each_clip_only_if_they_are_known(run: Path, tmp_path: Path) -> None:
    cache = FeatureCache(run.parent / "feats.h5", "train")
    assert cache.origins == [origin for _, origin in CLIPS]
    assert cache.languages["train 3"] == "zh"
    plain = cache_of(tmp_path / "plain.h5", tuple((text, Origin()) for text, _ in CLIPS))
    assert not {"corpus", "language"} & set(FeatureCache(plain, "train")._places)
    assert FeatureCache(plain, "train").languages == {}


def test_the_saved_model_begins_each_sentence_with_its_language(run: Path) -> None:
    model = read_translator(run / "llm-light-t" / "best" if (run / "llm-light-t").is_dir() else run / "llm" / "best")
    tokenizer = load_tokenizer(str(run / "tokenizer"), "de+en+zh")
    assert model.tokenizer.prefixes == tokenizer.prefixes
    assert [prefix.start for prefix in model.prefixes] == [
        (tokenizer.inner.convert_tokens_to_ids(code),) for code in ("de_DE", "en_XX", "zh_CN")
    ]


def test_scores_of_each_language_and_corpus_stand_beside_the_whole(run: Path) -> None:
    ran = succeed("eval", "--run", run, "--features", run.parent / "feats.h5", "--json")
    found = json.loads(ran.out)
    assert {name: part["clips"] for name, part in found["by_language"].items()} == {"de": 2, "en": 1, "zh": 1}
    assert {name: part["clips"] for name, part in found["by_corpus"].items()} == {"csl": 1, "h2s": 1, "phoenix": 2}
    tokenizers = {name: part["signatures"]["bleu4"] for name, part in found["by_language"].items()}
    assert "tok:13a" in tokenizers["de"]
    assert "tok:13a" in tokenizers["en"]
    assert "tok:char" in tokenizers["zh"]
    assert "tok:zh" in found["signatures"]["bleu4"]
    lines = [line.split("\t") for line in Path(found["hypotheses"]).read_text(encoding="utf-8").splitlines()[1:]]
    german = [line for line in lines if line[1] in {text for text, origin in CLIPS if origin.language == "de"}]
    wanted = score([line[2] for line in german], [line[1] for line in german], "plain")
    assert found["by_language"]["de"]["scores"]["chrf"] == round(wanted["chrf"].value, 2)
    saved = json.loads((run / "eval" / "test.json").read_text(encoding="utf-8"))
    assert (saved["by_language"], saved["by_corpus"]) == (found["by_language"], found["by_corpus"])
    text = succeed("eval", "--run", run, "--features", run.parent / "feats.h5").out
    assert "by language zh, 1 clips" in text
    succeed("report", "--run", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Scores by language" in page
    assert "Scores by corpus" in page
    assert "tok:char" in page


def test_attention_is_exported_in_the_language_of_each_clip(run: Path, tmp_path: Path) -> None:
    succeed("export-attention", "--run", run, "--features", run.parent / "feats.h5", "--out", tmp_path / "out")
    with np.load(tmp_path / "out" / "test%202.npz", allow_pickle=False) as arrays:
        assert str(arrays["reference"]) == "good evening tomorrow it rains"
        assert len(arrays["attention"]) == len(arrays["token"])


def test_a_new_video_is_written_in_the_language_that_is_named(run: Path) -> None:
    folder = run / "llm" / "best"
    features = [np.random.default_rng(0).normal(size=(5, DIM)).astype(np.float32)]
    german, english = read_translator(folder), read_translator(folder)
    assert (german.require_language("de_DE"), english.require_language("en")) == ("de", "en")
    assert german.start != english.start
    assert german.generate(torch.tensor(features[0]), torch.tensor([5])).sequences[0, 0] == german.start[0]
    assert isinstance(english.translate(features)[0], str)
    for arguments in ((), ("--language", "fr")):
        ran = slt_cache("translate", "x.mp4", "--run", run, *arguments)
        assert ran.code == 2


def test_a_cache_of_several_languages_is_refused_by_settings_of_one(tmp_path: Path) -> None:
    cache = cache_of(tmp_path / "feats.h5")
    ran = slt_cache(*of_imported(tmp_path / "run", cache, *SETTINGS))
    assert ran.code == 2
    assert "the sentences are in de, en, zh, but the LLM writes de_DE" in ran.err
    assert "--set llm.language=de+en+zh" in ran.err
    half = cache_of(tmp_path / "half.h5", (*CLIPS[:2], ("ohne", Origin()), CLIPS[3]))
    ran = slt_cache(*words(tmp_path / "run", half))
    assert (ran.code, "some sentences have no language" in ran.err) == (2, True)

"""Metrics that a package computes in a process of its own: what is asked, stated and refused."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.metrics.models import stated
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.registry import METRICS
from slt_cache.metrics.scores import compare, score
from tests.helpers.real_sentences import real_pairs
from tests.helpers.small_encoder import make_encoder

HYPOTHESES, REFERENCES = ["regen", "", "schnee im norden", " "], ["regen im süden", "sonne", "schnee im norden", ""]
COMET = """
from types import SimpleNamespace

def download_model(name):
    raise OSError(f"{name} is not in the cache")

def load_from_checkpoint(path):
    print("a line that is no JSON")
    return Network()

class Network:
    def predict(self, samples, batch_size, gpus, progress_bar):
        assert {one["src"] for one in samples} == {""}
        return SimpleNamespace(scores=[len(one["mt"]) / len(one["ref"]) for one in samples])
"""


@pytest.fixture
def comet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights, for a package that gives the quotient of the lengths of a pair."""
    packages = tmp_path / "packages"
    (packages / "unbabel_comet-9.9.dist-info").mkdir(parents=True)
    (packages / "unbabel_comet-9.9.dist-info" / "METADATA").write_text("Name: unbabel-comet\nVersion: 9.9\n")
    (packages / "comet.py").write_text(COMET)
    (packages / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.ckpt").write_bytes(b"weights")
    return tmp_path / "model"


def test_the_score_is_the_mean_of_the_values_of_the_package_and_empty_sentences_are_not_given_to_it(
    comet: Path,
) -> None:
    choices = TextChoices(models={"comet": str(comet)})
    found = score(HYPOTHESES, REFERENCES, "plain", choices, metrics=["comet"])["comet"]
    assert found.value == pytest.approx(100 * (5 / 14 + 0 + 1 + 1) / 4)
    assert found.signature == (
        f"unbabel-comet|version:9.9|model:{stated(str(comet))}|source:empty|norm:nfc+no-invisible|mean:sentences"
    )
    assert stated(str(comet)).startswith("model@") and len(stated(str(comet))) == len("model@") + 12
    [tested] = compare(REFERENCES, HYPOTHESES, REFERENCES, "plain", choices, 40, metrics=["comet"]).values()
    assert tested.value == pytest.approx(100.0) and tested.is_better


def test_other_weights_of_the_same_name_have_another_signature(comet: Path) -> None:
    before = stated(str(comet))
    (comet / "model.ckpt").write_bytes(b"others")
    assert stated(str(comet)) != before
    assert stated("Unbabel/wmt22-comet-da") == "Unbabel/wmt22-comet-da"


def test_a_model_that_cannot_be_loaded_is_refused_with_how_to_fetch_it(comet: Path) -> None:
    choices = TextChoices(models={"comet": "Unbabel/none"})
    with pytest.raises(InputError, match=r"the model Unbabel/none cannot be loaded \(OSError: .*hf download Unbabel"):
        score(HYPOTHESES, REFERENCES, "plain", choices, metrics=["comet"])


def test_a_package_that_dies_is_named_with_its_last_words(comet: Path) -> None:
    (comet.parent / "packages" / "comet.py").write_text("import os\nprint('no memory')\nos.abort()\n")
    with pytest.raises(SltCacheError, match="was killed by SIGABRT"):
        score(HYPOTHESES, REFERENCES, "plain", TextChoices(models={"comet": str(comet)}), metrics=["comet"])


@pytest.mark.parametrize("key", ["bertscore", "bleurt", "comet"])
def test_a_missing_package_is_refused_with_what_to_install(key: str, tmp_path: Path) -> None:
    modules = {"bertscore": "bert_score", "bleurt": "bleurt_pytorch", "comet": "comet"}
    if find_spec(modules[key]):
        pytest.skip(f"{modules[key]} is installed")
    install = {"bertscore": "bert-score", "bleurt": "bleurt-pytorch", "comet": "unbabel-comet"}[key]
    said = rf"metric {key}: .* has no package for it .*pip install {install}\).*scoring.python={key}/bin/python"
    with pytest.raises(InputError, match=said):
        METRICS[key].check(TextChoices())
    with pytest.raises(InputError, match=said):
        score(HYPOTHESES, REFERENCES, metrics=[key])
    with pytest.raises(InputError, match=r"scoring.python .*nowhere: no such file"):
        METRICS[key].check(TextChoices(python=str(tmp_path / "nowhere")))
    METRICS[key].check(TextChoices(python=sys.executable))


@pytest.mark.slow
def test_bertscore_is_that_of_its_package_on_real_sentences(tmp_path: Path) -> None:
    bert_score = pytest.importorskip("bert_score", reason="bert-score is not installed")
    hypotheses, references = (texts[:100] for texts in real_pairs())
    model = make_encoder(tmp_path / "encoder", [*hypotheses, *references])
    choices = TextChoices(models={"bertscore": f"{model}:1"})
    found = score(hypotheses, references, "phoenix14t", choices, metrics=["bertscore"])["bertscore"]
    scorer = bert_score.BERTScorer(model_type=str(model), num_layers=1)
    scorer._tokenizer.model_max_length = 64
    assert found.value == pytest.approx(100 * float(scorer.score(hypotheses, references)[2].mean()), abs=1e-4)
    assert f"|model:{stated(str(model))}|layer:1|idf:no|rescaled:no|" in found.signature

"""Evidence of the video for each token, in encoder-decoders, decoder-only LLMs and Light-T."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.grounding.evidence import Reader, log_probabilities
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.translators import SignTranslator, make_light_t
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import SENTENCES, make_small_llm

DIM = 16
GERMAN = SENTENCES[0]
KINDS = {"mbart": "de_DE", "t5": None, "llama": None, "gpt2": None, "light-t": "de_DE"}


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SignTranslator, Tokenizer]:
    kind, folder = request.param, tmp_path_factory.mktemp("llm") / "llm"
    family = "mbart" if kind == "light-t" else kind
    (make_causal_llm if kind in ("llama", "gpt2") else make_small_llm)(family, folder)
    tokenizer = load_tokenizer(str(folder), KINDS[kind])
    torch.manual_seed(0)
    if kind == "light-t":
        llm = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, dropout=0.0)
    else:
        llm = load_seq2seq(str(folder), tokenizer=tokenizer)
    return SignTranslator(DIM, llm, tokenizer.start, before=tokenizer.before).eval(), tokenizer


def clip(steps: int, seed: int = 0) -> np.ndarray:
    return 3 * np.random.default_rng(seed).standard_normal((steps, DIM)).astype(np.float16)


def test_log_probabilities_are_those_of_each_token_by_itself(model: tuple[SignTranslator, Tokenizer]) -> None:
    translator, tokenizer = model
    ids = tokenizer.encode("schnee im norden")
    features, lengths = torch.from_numpy(clip(6)).float(), torch.tensor([6])
    expected = []
    with torch.no_grad():
        for place, token in enumerate([*ids, tokenizer.eos]):
            logits = translator(features, lengths, torch.tensor([[*tokenizer.start, *ids[:place]]]))
            expected.append(float(logits[0, -1].log_softmax(-1)[token]))
    [found] = log_probabilities(translator, tokenizer, [clip(6)], [ids])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_batch_gives_what_each_clip_gives_alone(model: tuple[SignTranslator, Tokenizer]) -> None:
    translator, tokenizer = model
    reader = Reader(translator, tokenizer, np.zeros(DIM, np.float16), "de_DE")
    clips, sentences = [clip(5, 1), clip(12, 2), clip(2, 3)], [GERMAN, "", "schnee im norden"]
    together = reader.evidence(clips, sentences)
    for features, sentence, found in zip(clips, sentences, together, strict=True):
        [alone] = reader.evidence([features], [sentence])
        assert [word.text for word in alone.words] == [word.text for word in found.words] == sentence.split()
        np.testing.assert_allclose([word.drop for word in alone.words], [word.drop for word in found.words], atol=1e-3)
    assert together[1].words == () and together[1].reliability == 0


def test_blank_features_are_no_evidence(model: tuple[SignTranslator, Tokenizer]) -> None:
    """As of a model whose videos are all black: nothing drops, whatever the length of the clip."""
    translator, tokenizer = model
    blank = clip(1)[0]
    reader = Reader(translator, tokenizer, blank, "de_DE")
    black, real = reader.evidence([np.repeat(blank[None], 7, 0), clip(7, 5)], [GERMAN, GERMAN])
    assert black.reliability == 0
    np.testing.assert_allclose([word.drop for word in black.words], 0, atol=1e-4)
    assert any(abs(word.drop) > 1e-3 for word in real.words)


def test_streams_have_a_blank_step_each(tmp_path: Path) -> None:
    make_small_llm("mbart", tmp_path / "llm")
    tokenizer = load_tokenizer(str(tmp_path / "llm"), "de_DE")
    translator = SignTranslator(
        (DIM, 4), load_seq2seq(str(tmp_path / "llm")), tokenizer.start, stream_fusion="time"
    ).eval()
    blank = (clip(1)[0], np.ones(4, np.float32))
    reader = Reader(translator, tokenizer, blank, "de_DE")
    streams = (np.repeat(blank[0][None], 5, 0), np.ones((3, 4), np.float32))
    [found] = reader.evidence([streams], [GERMAN])
    np.testing.assert_allclose([word.drop for word in found.words], 0, atol=1e-5)
    [real] = reader.evidence([(clip(5, 1), streams[1])], [GERMAN])
    assert any(abs(word.drop) > 1e-3 for word in real.words)

"""Several languages in one batch: each clip is read and written as by a translator of its language alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.config import GenerationConfig, LlmConfig
from slt_cache.decoding.attention import word_attentions
from slt_cache.decoding.encode import EncodedClips
from slt_cache.decoding.search import decode
from slt_cache.errors import InputError
from slt_cache.grounding.arrays import clip_arrays
from slt_cache.grounding.evidence import Reader
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.translators import SignTranslator
from slt_cache.text.prompt import with_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

DIM = 8
LENGTHS = (5, 9, 2)
LANGUAGES = ("en", "de", "en")
SENTENCES = ("the sun shines", "morgen regnet es im norden", "good night")
CODES = {"mbart": ("de_DE", "en_XX"), "nllb": ("deu_Latn", "eng_Latn"), "gpt2": ("de", "en"), "llama": ("de", "en")}
PROMPT = LlmConfig(name="x", prompt="Am Tag in {language}: {video} Morgen auf {language} regnet:")


def tokenizer_of(name: str, family: str, language: str) -> Tokenizer:
    tokenizer = load_tokenizer(name, language)
    return with_prompt(tokenizer, PROMPT) if family in ("gpt2", "llama") else tokenizer


@pytest.fixture(scope="module", params=CODES)
def translators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[SignTranslator, Tokenizer]]:
    """Translators with the same weights: of both languages, and of each alone."""
    family, folder = request.param, tmp_path_factory.mktemp(request.param) / "llm"
    (make_causal_llm if family in ("gpt2", "llama") else make_small_llm)(family, folder)
    seq2seq = load_seq2seq(str(folder)).eval()
    found = {}
    for label, language in {"both": "de+en", **dict(zip(("de", "en"), CODES[family], strict=True))}.items():
        one = tokenizer_of(str(folder), family, language)
        torch.manual_seed(0)
        made = SignTranslator(DIM, seq2seq, one.start, before=one.before, prefixes=one.prefixes).eval()
        found[label] = made, one
    return found


def clips() -> list[torch.Tensor]:
    return [torch.randn(length, DIM, generator=torch.Generator().manual_seed(length)) for length in LENGTHS]


@torch.no_grad()
def test_logits_are_those_of_each_language_alone(translators: dict[str, tuple[SignTranslator, Tokenizer]]) -> None:
    model, tokenizer = translators["both"]
    targets = make_targets([tokenizer.encode(one) for one in SENTENCES], tokenizer, LANGUAGES)
    found = model(torch.cat(clips()), torch.tensor(LENGTHS), targets.decoder_input_ids, targets.languages)
    for row, (clip, sentence, language) in enumerate(zip(clips(), SENTENCES, LANGUAGES, strict=True)):
        alone, own = translators[language]
        wanted = make_targets([own.encode(sentence)], own)
        logits = alone(clip, torch.tensor([len(clip)]), wanted.decoder_input_ids)[0]
        predicted = logits[(wanted.labels[0] != -100)]
        assert torch.allclose(found[row][targets.labels[row] != -100], predicted, atol=2e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_sentences_are_those_of_each_language_alone(
    translators: dict[str, tuple[SignTranslator, Tokenizer]], beams: int
) -> None:
    model, tokenizer = translators["both"]
    generation = GenerationConfig(num_beams=beams, max_new_tokens=6)
    batch = EncodedClips(("a", "b", "c"), torch.cat(clips()), torch.tensor(LENGTHS), LANGUAGES)
    found = decode(model, [batch], tokenizer, generation)
    for one, clip, language in zip(found, clips(), LANGUAGES, strict=True):
        alone, own = translators[language]
        [wanted] = decode(alone, [EncodedClips((one.clip_id,), clip, torch.tensor([len(clip)]))], own, generation)
        assert one.texts == wanted.texts
        assert one.scores == pytest.approx(wanted.scores, abs=1e-4)


def test_attention_is_that_of_each_language_alone(translators: dict[str, tuple[SignTranslator, Tokenizer]]) -> None:
    model, tokenizer = translators["both"]
    found = word_attentions(model, tokenizer, clips(), SENTENCES, languages=LANGUAGES)
    for one, clip, sentence, language in zip(found, clips(), SENTENCES, LANGUAGES, strict=True):
        [wanted] = word_attentions(*translators[language], [clip], [sentence])
        assert one.words == wanted.words
        assert torch.allclose(torch.from_numpy(one.weights), torch.from_numpy(wanted.weights), atol=1e-4)


def test_exported_arrays_are_those_of_each_language_alone(
    translators: dict[str, tuple[SignTranslator, Tokenizer]],
) -> None:
    blank, features = np.zeros(DIM, np.float32), [one.numpy() for one in clips()]
    found = clip_arrays(Reader(*translators["both"], blank, "de+en"), features, SENTENCES, LANGUAGES)
    for arrays, clip, sentence, language in zip(found, features, SENTENCES, LANGUAGES, strict=True):
        [wanted] = clip_arrays(Reader(*translators[language], blank, language), [clip], [sentence])
        for name in wanted:
            one, other = np.asarray(arrays[name]), np.asarray(wanted[name])
            if one.dtype.kind == "f":
                np.testing.assert_allclose(one, other, atol=2e-4, err_msg=name)
            else:
                np.testing.assert_array_equal(one, other, err_msg=name)


def test_a_translator_of_several_languages_wants_to_know_which(
    translators: dict[str, tuple[SignTranslator, Tokenizer]],
) -> None:
    model, tokenizer = translators["both"]
    with pytest.raises(InputError, match="the model writes de, en"):
        model.generate(torch.cat(clips()), torch.tensor(LENGTHS))
    with pytest.raises(InputError, match="no language, but the LLM writes de, en"):
        make_targets([tokenizer.encode(one) for one in SENTENCES], tokenizer)


def test_the_loss_leaves_out_the_codes(tmp_path: Path) -> None:
    make_small_llm("mbart", tmp_path / "llm")
    tokenizer = load_tokenizer(str(tmp_path / "llm"), "de+en")
    targets = make_targets([tokenizer.encode(one) for one in SENTENCES], tokenizer, LANGUAGES)
    codes = [tokenizer.language_code(one) for one in LANGUAGES]
    assert targets.decoder_input_ids[:, 0].tolist() == codes
    assert not torch.isin(targets.labels, torch.tensor(codes)).any()

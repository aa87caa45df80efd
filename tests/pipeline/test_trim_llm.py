"""A trimmed LLM: the same pieces, the same numbers, fewer rows."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerFast

from slt_cache.errors import InputError
from slt_cache.pipeline.trim_llm import TrimReport, trim_llm
from slt_cache.text.trimmed_tokenizer import decoded, tokenized
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import FAMILIES, SENTENCES, WIDTH, make_small_llm

TRAIN, DEV = SENTENCES[4:], SENTENCES[:4]
LOSSY = [sentence for sentence in TRAIN if set(sentence) & set("，？！：；（）２５")]
every_family = pytest.mark.parametrize("family", FAMILIES)


class Pair:
    """A model before and after trimming to TRAIN."""

    old: Any
    new: Any
    """Tokenizers; transformers types an id as an int or a list."""

    def __init__(self, family: str, folder: Path):
        self.whole, self.out = folder / "whole", folder / "out"
        make_small_llm(family, self.whole)
        before = _digests(self.whole)
        self.report = trim_llm(str(self.whole), TRAIN, {"dev": DEV}, self.out)
        self.source_is_untouched = _digests(self.whole) == before
        self.old, self.new = (AutoTokenizer.from_pretrained(one) for one in (self.whole, self.out))
        self.old_model, self.new_model = (_model(one) for one in (self.whole, self.out))
        ids = json.loads((self.out / "trimmed_ids.json").read_text(encoding="utf-8"))["old_ids"]
        kept = [(new, old) for new, old in enumerate(ids) if old is not None]
        self.new_ids, self.old_ids = (torch.tensor(column) for column in zip(*kept, strict=True))


def _model(folder: Path) -> Any:
    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval()


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    made: dict[str, Pair] = {}

    def pair(family: str) -> Pair:
        if family not in made:
            made[family] = Pair(family, tmp_path_factory.mktemp(family))
        return made[family]

    return pair


@every_family
def test_the_train_text_is_cut_as_before_and_comes_back(family: str, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    kept_as_it_was = set(TRAIN) if family in ("bart", "m2m100") else set(TRAIN) - set(LOSSY)
    for sentence in TRAIN:
        was, ids = tokenized(pair.old, [sentence])[0], tokenized(pair.new, [sentence])[0]
        if sentence in kept_as_it_was:
            assert pair.new.convert_ids_to_tokens(ids) == pair.old.convert_ids_to_tokens(was)
        if family != "m2m100":
            assert decoded(pair.new, ids) == sentence
    framed = [one.convert_ids_to_tokens(one(TRAIN[0])["input_ids"]) for one in (pair.old, pair.new)]
    assert framed[0] == framed[1]
    assert pair.source_is_untouched


@every_family
def test_logits_over_kept_pieces_are_those_of_before(family: str, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    picked = torch.randint(len(pair.new_ids), (3, 7))
    embeds = torch.randn(3, 5, WIDTH)
    with torch.no_grad():
        for inputs in ("ids", "embeds"):
            logits = []
            for model, ids in ((pair.old_model, pair.old_ids), (pair.new_model, pair.new_ids)):
                given = {"input_ids": ids[picked]} if inputs == "ids" else {"inputs_embeds": embeds}
                logits.append(model(**given, decoder_input_ids=ids[picked]).logits[..., ids])
            assert torch.allclose(logits[0], logits[1], atol=1e-5, rtol=0)
            assert logits[0].std() > 0.01


@every_family
def test_it_generates_what_the_whole_model_would_of_kept_pieces(family: str, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    embeds = torch.randn(2, 5, WIDTH)
    dropped = sorted(set(range(pair.report.vocab_before)) - set(pair.old_ids.tolist()))
    added = sorted(set(range(pair.report.vocab_after)) - set(pair.new_ids.tolist()))
    # Greedy: a beam compares sums of log-probabilities, which dropped pieces had a share in.
    options = {"inputs_embeds": embeds, "num_beams": 1, "early_stopping": False, "max_new_tokens": 8}
    was = pair.old_model.generate(**options, suppress_tokens=dropped)
    now = pair.new_model.generate(**options, suppress_tokens=added or None)
    new_of = dict(zip(pair.old_ids.tolist(), pair.new_ids.tolist(), strict=True))
    assert [[new_of[one] for one in row] for row in was.tolist()] == now.tolist()


@every_family
def test_settings_name_the_tokens_that_they_named_before(family: str, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    named = 0
    for kind in ("config", "generation_config"):
        old, new = (getattr(model, kind).to_dict() for model in (pair.old_model, pair.new_model))
        for key in (key for key, value in old.items() if key.endswith("_token_id") and value is not None):
            named += 1
            assert pair.new.convert_ids_to_tokens(new[key]) == pair.old.convert_ids_to_tokens(old[key]), key
    assert named >= 6
    start = pair.new.convert_ids_to_tokens(pair.new_model.config.decoder_start_token_id)
    assert start == {"mbart": "de_DE", "t5": "<pad>", "mt5": "<pad>"}.get(family, "</s>")
    if family == "mbart":
        task = pair.new_model.config.task_specific_params["translation_en_to_de"]
        assert task == {"decoder_start_token_id": pair.new.convert_tokens_to_ids("de_DE")}


@every_family
def test_no_row_is_left_over_and_ties_stay(family: str, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    model = pair.new_model
    ids = json.loads((pair.out / "trimmed_ids.json").read_text(encoding="utf-8"))["old_ids"]
    tokens = pair.new.convert_ids_to_tokens(list(range(len(ids))))
    assert len(set(tokens)) == len(tokens) == model.config.vocab_size == len(model.get_input_embeddings().weight)
    assert pair.new.convert_tokens_to_ids(tokens) == list(range(len(ids)))
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    assert tied == (family != "mt5")
    assert model.get_encoder().embed_tokens.weight is model.get_decoder().embed_tokens.weight


@pytest.mark.parametrize(("family", "codes"), [("mbart", 25), ("mbart50", 52), ("nllb", 202), ("m2m100", 100)])
def test_every_language_code_stays(family: str, codes: int, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    special = [token for token in pair.old.all_special_tokens if "_" in token]
    assert len(special) == codes
    assert pair.new.unk_token_id not in pair.new.convert_tokens_to_ids(special)
    if family == "m2m100":
        assert pair.new.convert_ids_to_tokens(pair.new.get_lang_id("de")) == "__de__"


def test_sentinels_stay(pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of("t5")
    assert pair.new.convert_ids_to_tokens(pair.new("a <extra_id_1> b")["input_ids"]).count("<extra_id_1>") == 1


@pytest.mark.parametrize("family", ["mbart", "mbart50", "mt5", "t5", "nllb"])
def test_full_width_punctuation_gets_pieces_and_begins_like_the_half_width_ones(
    family: str, pair_of: Callable[[str], Pair]
) -> None:
    pair = pair_of(family)
    assert {"，", "！", "？", "：", "；", "（", "）", "２", "５"} <= set(pair.report.added)
    assert all(decoded(pair.old, tokenized(pair.old, [sentence])[0]) != sentence for sentence in LOSSY)
    full, half = pair.new.convert_tokens_to_ids("，"), pair.old.convert_tokens_to_ids(",")
    for layer in ("shared", "lm_head"):
        rows = [dict(model.named_modules()).get(layer) for model in (pair.old_model, pair.new_model)]
        old, new = (
            row or model.model.shared for row, model in zip(rows, (pair.old_model, pair.new_model), strict=True)
        )
        assert torch.equal(new.weight[full], old.weight[half])
    assert pair.report.changed == 0
    for other in ("ﬁ", "Ⅷ"):  # what the text does not have is normalized as before
        assert pair.new.backend_tokenizer.normalizer is None or other not in pair.new.tokenize(f"x{other}")


def test_a_character_that_nothing_stood_for_begins_as_the_mean(tmp_path: Path) -> None:
    make_small_llm("mbart", tmp_path / "whole", SENTENCES[:16])
    report = trim_llm(str(tmp_path / "whole"), ["am tag 雪"], {}, tmp_path / "out")
    assert report.added == ["雪"]
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = _model(tmp_path / "out")
    rows, place = model.get_input_embeddings().weight, tokenizer.convert_tokens_to_ids("雪")
    others = torch.cat([rows[:place], rows[place + 1 :]])
    assert torch.allclose(rows[place], others.mean(0), atol=1e-6)


def test_what_m2m100_loses_is_reported(pair_of: Callable[[str], Pair]) -> None:
    report = pair_of("m2m100").report
    assert report.added == []
    assert report.changed == len(LOSSY)
    assert {"，", "！", "？"} <= set(report.lost)


@pytest.mark.parametrize("family", ["mbart", "nllb", "m2m100"])
def test_trimming_is_deterministic(family: str, tmp_path: Path) -> None:
    make_small_llm(family, tmp_path / "whole")
    for out in ("a", "b"):
        trim_llm(str(tmp_path / "whole"), TRAIN if out == "a" else [*TRAIN, *TRAIN], {}, tmp_path / out)
    a, b = (_digests(tmp_path / out) for out in ("a", "b"))
    assert {name for name in a if a[name] != b[name]} == {"trim.json"}  # it names its folder


@pytest.mark.parametrize("family", ["mbart", "mbart50", "mt5", "t5", "nllb"])
def test_characters_of_the_script_are_kept_on_demand(family: str, tmp_path: Path) -> None:
    make_small_llm(family, tmp_path / "whole")
    unknown, sizes = [], []
    for keep in (False, True):
        report = trim_llm(str(tmp_path / "whole"), ["ab cd 1"], {"dev": SENTENCES[:12]}, tmp_path / "out", keep)
        unknown.append(report.held_out["dev"].unknown)
        sizes.append(report.vocab_after)
        known = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
        assert ("q" in known or "w" in known) == keep
        assert "天" not in known
    assert unknown[0] > unknown[1] == 0
    assert sizes[0] < sizes[1]


def test_the_report_is_true(pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of("mbart")
    report: TrimReport = pair.report
    assert (report.vocab_before, report.vocab_after) == (len(pair.old), len(pair.new))
    counts = [sum(one.numel() for one in model.parameters()) for model in (pair.old_model, pair.new_model)]
    assert [report.parameters_before, report.parameters_after] == counts
    assert counts[0] - counts[1] == (len(pair.old) - len(pair.new)) * WIDTH
    assert report.megabytes_saved == pytest.approx((counts[0] - counts[1]) * 4 / 1e6, abs=1e-3)
    ids = [one for sentence in DEV for one in pair.new(sentence, add_special_tokens=False)["input_ids"]]
    dev = report.held_out["dev"]
    assert (dev.pieces, dev.unknown, dev.unknown_before) == (len(ids), ids.count(pair.new.unk_token_id), 0)
    assert report.train_sentences == len(TRAIN)
    assert json.loads((pair.out / "trim.json").read_text(encoding="utf-8")) == report.to_json()


@every_family
def test_a_trimmed_model_can_be_trimmed_again(family: str, tmp_path: Path, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    same = trim_llm(str(pair.out), TRAIN, {}, tmp_path / "same")
    assert (same.vocab_before, same.vocab_after) == (pair.report.vocab_after, pair.report.vocab_after)
    assert same.added == []
    assert _digests(tmp_path / "same")["model.safetensors"] == _digests(pair.out)["model.safetensors"]
    less = trim_llm(str(pair.out), TRAIN[:6], {}, tmp_path / "less")
    assert less.vocab_after < same.vocab_after


def test_scale_precision_and_lists_of_ids_are_kept(tmp_path: Path) -> None:
    make_small_llm("t5", tmp_path / "whole", scale_decoder_outputs=False)  # T5 1.1
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "whole")
    model = _model(tmp_path / "whole").bfloat16()
    kept, gone = tokenizer.convert_tokens_to_ids(["▁you", "天"])
    model.generation_config.bad_words_ids = [[kept], [gone, kept], [1, kept]]
    model.generation_config.suppress_tokens = [gone, kept]
    model.save_pretrained(tmp_path / "whole")
    trim_llm(str(tmp_path / "whole"), ["thank you for watching"], {}, tmp_path / "out")
    trimmed = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out", dtype="auto")
    you = AutoTokenizer.from_pretrained(tmp_path / "out").convert_tokens_to_ids("▁you")
    assert trimmed.generation_config.bad_words_ids == [[you], [1, you]]
    assert trimmed.generation_config.suppress_tokens == [you]
    assert trimmed.dtype == torch.bfloat16
    assert trimmed.config.scale_decoder_outputs is False


def test_a_tokenizer_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    make_small_llm("bart", tmp_path / "whole")
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>").save_pretrained(
        tmp_path / "whole"
    )
    with pytest.raises(InputError, match=r"WordLevel.*cannot be trimmed"):
        trim_llm(str(tmp_path / "whole"), TRAIN, {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_with_the_tokenizer_of_another_is_refused(tmp_path: Path) -> None:
    make_small_llm("mbart", tmp_path / "whole", SENTENCES[:12])
    make_small_llm("mbart", tmp_path / "other")
    AutoTokenizer.from_pretrained(tmp_path / "other").save_pretrained(tmp_path / "whole")
    with pytest.raises(InputError, match="do not match"):
        trim_llm(str(tmp_path / "whole"), TRAIN, {}, tmp_path / "out")


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_decoder_only_llm_is_trimmed_whole(family: str, tmp_path: Path) -> None:
    make_causal_llm(family, tmp_path / "whole")
    texts, prompts = TRAIN[:12], ["What are you going to do? ", " The weather:"]
    report = trim_llm(str(tmp_path / "whole"), texts, {"dev": DEV}, tmp_path / "out", prompts=prompts)
    old, new = (AutoTokenizer.from_pretrained(tmp_path / one) for one in ("whole", "out"))
    for text in (*texts, *prompts):
        assert new.tokenize(text) == old.tokenize(text)
    whole, model = (AutoModelForCausalLM.from_pretrained(tmp_path / one).eval() for one in ("whole", "out"))
    ids = json.loads((tmp_path / "out" / "trimmed_ids.json").read_text(encoding="utf-8"))["old_ids"]
    assert old.convert_ids_to_tokens(ids) == new.convert_ids_to_tokens(list(range(len(new))))
    embeds = torch.randn(2, 5, WIDTH)
    options = {"inputs_embeds": embeds, "max_new_tokens": 8, "do_sample": False}
    now = model.generate(**options, pad_token_id=model.config.eos_token_id)
    dropped = sorted(set(range(report.vocab_before)) - set(ids))
    was = whole.generate(**options, pad_token_id=whole.config.eos_token_id, suppress_tokens=dropped)
    assert [[ids[one] for one in row] for row in now.tolist()] == was.tolist()
    for kind in ("bos", "eos", "pad"):
        named = [getattr(one.config, f"{kind}_token_id") for one in (whole, model)]
        assert named == [None, None] or old.convert_ids_to_tokens(named[0]) == new.convert_ids_to_tokens(named[1])
    counts = [sum(one.numel() for one in each.parameters()) for each in (whole, model)]
    assert [report.parameters_before, report.parameters_after] == counts
    assert [report.megabytes_before, report.megabytes_after] == [round(count * 4 / 1e6, 3) for count in counts]
    assert report.changed == 0
    again = trim_llm(str(tmp_path / "out"), texts, {}, tmp_path / "again", prompts=prompts)
    assert _digests(tmp_path / "again")["model.safetensors"] == _digests(tmp_path / "out")["model.safetensors"]
    assert again.vocab_before == again.vocab_after == report.vocab_after < report.vocab_before


@pytest.mark.parametrize(
    ("family", "marked"),
    [
        ("llama3", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
        ("gemma3_text", ("<start_of_turn>", "<end_of_turn>")),
        ("qwen2", ("<|im_start|>", "<|im_end|>", "<|vision_start|>")),
    ],
)
def test_tokens_of_turns_stay_without_a_chat_template_and_reserved_ones_go(
    family: str, marked: tuple[str, ...], tmp_path: Path
) -> None:
    """As in the folders of base models, whose tokenizers mark the tokens of turns and the reserved ones as special."""
    make_causal_llm(family, tmp_path / "whole")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "whole")
    tokenizer.chat_template, tokenizer.extra_special_tokens = None, []
    reserved = [one for one in tokenizer.get_vocab() if "unused" in one or "reserved" in one]
    tokenizer.add_tokens([AddedToken(one, special=True) for one in (*reserved, *marked)])
    tokenizer.save_pretrained(tmp_path / "whole")
    (tmp_path / "whole" / "chat_template.jinja").unlink(missing_ok=True)
    trim_llm(str(tmp_path / "whole"), TRAIN[:4], {}, tmp_path / "out")
    new: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert not {*marked} & {*tokenizer.all_special_tokens} - {"<|im_end|>"} and new.chat_template is None
    assert new.get_vocab().keys() >= {*marked} and new.tokenize("".join(marked)) == [*marked]
    assert not new.get_vocab().keys() & {*reserved} and (bool(reserved) == (family != "qwen2"))


def test_an_encoder_decoder_keeps_no_more_than_its_special_tokens(tmp_path: Path) -> None:
    make_small_llm("t5", tmp_path / "whole")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "whole")
    before = trim_llm(str(tmp_path / "whole"), ["ab cd"], {}, tmp_path / "a").vocab_after
    tokenizer.add_tokens([AddedToken("▁you", special=True), AddedToken("▁天", special=True)])
    tokenizer.save_pretrained(tmp_path / "whole")
    assert trim_llm(str(tmp_path / "whole"), ["ab cd"], {}, tmp_path / "b").vocab_after <= before

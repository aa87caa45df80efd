"""A trimmed LLM: the same pieces, the same numbers, fewer rows."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MBartTokenizer, PreTrainedTokenizerFast

from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError, SltCacheError
from slt_cache.models.llm.trimming import trim_model
from slt_cache.pipeline.trim_llm import TrimReport, trim_llm
from slt_cache.text import trimmed_tokenizer as trimming
from slt_cache.text.charsmap import Charsmap
from slt_cache.text.trimmed_tokenizer import cut, decoded, require_same_tokens, trim_tokenizer
from tests.helpers.commands import slt_cache
from tests.helpers.small_llms import FAMILIES, SENTENCES, WIDTH, make_small_llm, train_unigram

TRAIN, DEV = SENTENCES[4:], SENTENCES[:4]
LOSSY = [sentence for sentence in TRAIN if set(sentence) & set("，？！：；（）２５")]
REAL = Path(__file__).parents[3] / "shared" / "real"
PIECE_MODEL = REAL / "tokenizer" / "gfslt_mbart_trimmed.bpe.model"
REAL_TEXT = REAL / "text" / "phoenix14t.train.de.txt"
needs_real = pytest.mark.skipif(
    not (PIECE_MODEL.is_file() and REAL_TEXT.is_file()), reason="no real pieces and sentences beside the project"
)
every_family = pytest.mark.parametrize("family", FAMILIES)


class Pair:
    """A model before and after trimming to TRAIN."""

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
        was, ids = cut(pair.old, [sentence])[0], cut(pair.new, [sentence])[0]
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
            assert torch.allclose(*logits, atol=1e-5, rtol=0)
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
    assert all(decoded(pair.old, cut(pair.old, [sentence])[0]) != sentence for sentence in LOSSY)
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
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "out"), _model(tmp_path / "out")
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


@every_family
def test_any_part_of_the_text_can_be_trimmed_to(family: str, tmp_path: Path, pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(family)
    for number in range(8):
        sentences = [*SENTENCES[number::5], SENTENCES[number].upper(), f"{number}…① Ω"]
        folder = tmp_path / str(number)
        folder.mkdir()
        id_map = trim_tokenizer(pair.old, sentences, [], False, folder)
        changed = require_same_tokens(pair.old, folder, id_map, sentences)  # it raises where one differs
        assert family == "m2m100" or not changed


def test_scale_precision_and_lists_of_ids_are_kept(tmp_path: Path) -> None:
    make_small_llm("t5", tmp_path / "whole", scale_decoder_outputs=False)  # T5 1.1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "whole")
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


def test_settings_that_name_no_token_are_refused_before_anything_changes(tmp_path: Path) -> None:
    make_small_llm("bart", tmp_path / "whole")
    model = _model(tmp_path / "whole")
    model.config.forced_eos_token_id = 50
    with pytest.raises(InputError, match="forced_eos_token_id is 50"):
        trim_model(model, [0, 1, 2, 3], {})
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size > 4


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
    with pytest.raises(InputError, match="do not belong together"):
        trim_llm(str(tmp_path / "whole"), TRAIN, {}, tmp_path / "out")


def test_other_pieces_than_before_are_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_llm("mbart", tmp_path / "whole")
    needed = trimming.needed_tokens
    monkeypatch.setattr(trimming, "needed_tokens", lambda *given: needed(*given) - {"▁you"})
    with pytest.raises(SltCacheError, match="cannot be trimmed safely"):
        trim_llm(str(tmp_path / "whole"), TRAIN, {}, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_kept_character_leaves_the_rest_of_the_table_alone() -> None:
    _, table = train_unigram(SENTENCES)
    charsmap = Charsmap(table)
    assert charsmap.to_bytes() == table
    kept = "，？！２ﬁ…"
    assert all(charsmap.keep(character) for character in kept)
    assert not charsmap.keep("a")
    before, after = (normalizers.Precompiled(one) for one in (table, charsmap.to_bytes()))
    for character in map(chr, [*range(1, 0xD800), *range(0xE000, 0x10000)]):
        expected = character if character in kept else before.normalize_str(character)
        assert after.normalize_str(character) == expected


@needs_real
def test_real_sentences_come_back_with_real_pieces(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_file=str(PIECE_MODEL))
    make_small_llm("mbart", tmp_path / "whole")
    small = json.loads((tmp_path / "whole" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    codes = small[small.index(["ar_AR", 0.0]) :]
    pieces = [[model.id_to_piece(index), model.get_score(index)] for index in range(3, len(model))]
    whole = MBartTokenizer(vocab=[tuple(piece) for piece in (*small[:4], *pieces, *codes)])
    sentences = [line for line in REAL_TEXT.read_text(encoding="utf-8").split("\n") if line]
    assert len(sentences) == 7096
    (tmp_path / "out").mkdir()
    id_map = trim_tokenizer(whole, sentences, [], False, tmp_path / "out")
    assert require_same_tokens(whole, tmp_path / "out", id_map, sentences) == {}
    assert id_map.added == ()
    assert len(id_map.tokens) < len(whole)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "mbart"
    make_small_llm("mbart", folder)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.tsv"
    splits = [*(("train", text) for text in TRAIN), *(("dev", text) for text in DEV), ("test", "Ω")]
    clips = [
        Clip(f"{number}", split, tmp_path / f"{number}.mp4", None, None, text)
        for number, (split, text) in enumerate(splits)
    ]
    write_manifest(path, clips)
    return path


def test_the_command_says_what_it_did(whole: Path, manifest: Path, tmp_path: Path) -> None:
    arguments = ("llm", "trim", "--name", whole, "--text", manifest, "--out", tmp_path / "out")
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    assert "MB saved" in ran.out and "test: 1 of 2 pieces unknown (1 with the whole vocabulary)" in ran.out
    assert "，" in ran.out and f"llm.name={tmp_path / 'out'}" in ran.out
    again = slt_cache(*arguments, "--json")
    report = json.loads(again.out)
    assert report["out"] == str(tmp_path / "out")
    assert report["vocab_after"] < report["vocab_before"]
    assert report["parameters_after"] < report["parameters_before"]
    assert report["held_out"]["test"] == {"pieces": 2, "unknown": 1, "unknown_before": 1}


def test_the_command_takes_a_plain_text(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\ufeffam tag\n\n  die sonne \n", encoding="utf-8")
    ran = slt_cache("llm", "trim", "--name", whole, "--text", tmp_path / "text.txt", "--out", tmp_path / "o", "--json")
    assert json.loads(ran.out)["train_sentences"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        (b" \n", "empty"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_read_is_said(whole: Path, tmp_path: Path, text: bytes | None, said: str) -> None:
    path = tmp_path / "text.txt"
    if text is not None:
        path.write_bytes(text)
    ran = slt_cache("llm", "trim", "--name", whole, "--text", path, "--out", tmp_path / "out")
    assert ran.code == 2
    assert said in ran.err and not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_had_and_a_manifest_without_train_are_said(
    whole: Path, manifest: Path, tmp_path: Path
) -> None:
    ran = slt_cache("llm", "trim", "--name", tmp_path / "none", "--text", manifest, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "HF_HUB_OFFLINE" in ran.err
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("\ttrain\t", "\tdev\t"), encoding="utf-8")
    ran = slt_cache("llm", "trim", "--name", whole, "--text", manifest, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "no clip of train" in ran.err


def test_a_folder_with_something_else_is_not_replaced(whole: Path, manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "other")
    for out in (whole, tmp_path / "other", manifest):
        ran = slt_cache("llm", "trim", "--name", whole, "--text", manifest, "--out", out)
        assert ran.code == 2
        assert "Name another folder" in ran.err
    assert _digests(whole) == _digests(tmp_path / "other")

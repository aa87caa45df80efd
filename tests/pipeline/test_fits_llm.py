"""Sentences and clips against the positions of the LLM, before anything is trained."""

from pathlib import Path

from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.fits_llm import room_of, too_long
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import SENTENCES


def test_a_decoder_only_llm_has_less_room_for_a_sentence_than_positions(tmp_path: Path) -> None:
    folder = tmp_path / "llm"
    make_causal_llm("gpt2", folder, max_position_embeddings=32)
    tokenizer = load_tokenizer(str(folder), None)
    model = SignTranslator(8, load_seq2seq(str(folder), tokenizer=tokenizer), tokenizer.start)
    room = room_of(str(folder))
    assert room is not None
    assert (room.steps, room.of_target(len(tokenizer.start))) == (model.positions, model.target_positions)
    words = " ".join(SENTENCES).split()
    texts = [" ".join(words[:count]) for count in range(1, 20)]
    counts = [len(tokenizer.encode(text)) for text in texts]
    first = next(place for place, count in enumerate(counts) if count > 8)
    fits, over = texts[first - 1 : first + 1]
    run = Run(tmp_path / "run", load_config("avatar", [f"llm.name={folder}", "llm.language=de_DE"]))
    clips = [Clip(name, "train", tmp_path, None, None, text) for name, text in (("fits", fits), ("over", over))]
    assert too_long(run, clips) == [
        f"over (train): {counts[first]} tokens, too many for the 8 of the LLM's 32 positions that are reserved for it"
    ]


def test_an_llm_without_limit_has_room_for_all(tmp_path: Path) -> None:
    make_causal_llm("llama", tmp_path)
    assert room_of(str(tmp_path)) is None

"""The tokens that a text needs, of vocabularies drawn at random."""

import json
from random import Random
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from slt_cache.text.vocabulary import build, needed_tokens, only
from tests.helpers.small_causal_llms import BYTES

LETTERS = "abc▁"


def random_bpe(random: Random) -> Any:
    """Merges in any order, also of tokens that are made later; words that no merges lead to; unknown characters."""
    vocab, merges = [*LETTERS], []
    for _ in range(random.randint(1, 25)):
        merge = (random.choice(vocab), random.choice(vocab))
        if len("".join(merge)) <= 6 and merge not in merges:
            merges.append(merge)
            vocab.append("".join(merge))
    random.shuffle(merges)
    vocab += ["".join(random.choices(LETTERS, k=random.randint(2, 5))) for _ in range(4)]
    has_bytes, fuses, takes_words_whole = (random.random() < 0.5 for _ in range(3))
    tokens = dict.fromkeys(["<unk>", *(BYTES if has_bytes else ()), *vocab])
    ids = {token: index for index, token in enumerate(tokens)}
    options = {"byte_fallback": has_bytes, "fuse_unk": fuses, "ignore_merges": takes_words_whole}
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", random.choice(["merged_with_next", "isolated"]))
    return tokenizer


def test_whatever_the_merges_a_text_is_tokenized_as_before() -> None:
    shorter = 0
    for seed in range(300):
        random = Random(seed)
        whole = random_bpe(random)
        texts = ["".join(random.choices("abc▁é", k=random.randint(0, 12))) for _ in range(3)]
        parsed = json.loads(whole.to_str())
        trimmed = build(only(parsed, needed_tokens(parsed, whole, texts, False) | {"<unk>"}))
        for text in texts:
            assert trimmed.encode(text).tokens == whole.encode(text).tokens
        shorter += trimmed.get_vocab_size() < whole.get_vocab_size()
    assert shorter > 200

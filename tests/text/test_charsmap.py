"""A table of normalization with some characters exempt from it."""

from tokenizers import normalizers

from slt_cache.text.charsmap import Charsmap
from tests.helpers.small_llms import SENTENCES, train_unigram


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

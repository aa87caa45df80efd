"""Which words a video has to decide."""

import pytest

from slt_cache.metrics.content_words import is_content_word


@pytest.mark.parametrize(
    ("language", "content", "others"),
    [
        ("de_DE", "regnet süden montag zwölf 12 3,5 -5 Alpen", "im Der und ist . , … <>"),
        ("deu_Latn", "regnet", "im"),
        ("en_XX", "rain 25 knot well-known", "the I'm n't to ."),
        ("en_XX", "rain's John's let's o'clock", "isn't Can’t won't he's there's it’ll we'd've cannot"),
        ("zh_CN", "今天 下雪 北京 ２５", "的 了 。 ，"),
        (None, "im the 的 ça", ". ?"),
        ("fr_XX", "dans pluie", "!"),
    ],
)
def test_content_is_what_has_letters_or_digits_and_is_no_function_word(
    language: str | None, content: str, others: str
) -> None:
    assert [word for word in content.split() if not is_content_word(word, language)] == []
    assert [word for word in others.split() if is_content_word(word, language)] == []


def test_marks_around_a_word_change_nothing() -> None:
    assert is_content_word("(regen),", "de_DE")
    assert not is_content_word("„und“", "de_DE")

"""A repeatable --features takes its values one after another, in the order of the command line."""

from itertools import pairwise

import pytest

from cli.help import _each_with_option


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--features a b c --run r", "a b c"),
        ("--features a --run r --features b", "a b"),
        ("--run r --features=a b --json", "a b"),
        ("--features a b --set x=1 --features c d", "a b c d"),
        ("--features a", "a"),
        ("--run r", ""),
        ("--features a -v", "a"),
    ],
)
def test_each_value_gets_the_option(words: str, values: str) -> None:
    found = _each_with_option(words.split(), "--features")
    given = [one.removeprefix("--features=") for one in found if one.startswith("--features=")]
    given += [value for option, value in pairwise(found) if option == "--features"]
    assert given == values.split()
    assert [word for word in found if word != "--features"] == [word for word in words.split() if word != "--features"]


def test_what_is_no_value_of_it_stays() -> None:
    assert _each_with_option(["stray", "--features", "a"], "--features") == ["stray", "--features", "a"]

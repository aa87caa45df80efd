"""Writing systems: languages with and without whitespace between words."""

import re
import unicodedata

WITHOUT_SPACES = frozenset(
    ("zh", "zho", "yue", "ja", "jpn", "th", "tha", "lo", "lao", "my", "mya", "km", "khm", "bo", "bod", "dz", "dzo")
)
"""Languages written without whitespace between words, by the codes of MBart, M2M100 and NLLB."""


def has_spaces(language_code: str) -> bool:
    """Returns whether a language, such as zh_CN, jpn_Jpan or __de__, puts whitespace between words."""
    return re.split("[-_]", language_code.strip("_"))[0] not in WITHOUT_SPACES


def is_wide(character: str) -> bool:
    """Returns whether a character is Chinese, Japanese or their punctuation; False for the empty string."""
    return character != "" and unicodedata.east_asian_width(character) in "WF"

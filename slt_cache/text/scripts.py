"""How languages are written: with blanks between words or without."""

import re
import unicodedata

WITHOUT_BLANKS = frozenset(
    ("zh", "zho", "yue", "ja", "jpn", "th", "tha", "lo", "lao", "my", "mya", "km", "khm", "bo", "bod", "dz", "dzo")
)
"""Languages without, by the codes of MBart, M2M100 and NLLB."""


def has_blanks(language_code: str) -> bool:
    """Of zh_CN, jpn_Jpan, __de__: whether blanks part the words of that language."""
    return re.split("[-_]", language_code.strip("_"))[0] not in WITHOUT_BLANKS


def is_wide(character: str) -> bool:
    """Chinese, Japanese, and their punctuation; not the empty string."""
    return character != "" and unicodedata.east_asian_width(character) in "WF"

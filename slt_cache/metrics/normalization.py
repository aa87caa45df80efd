"""What is done to hypotheses and references alike before they are scored. By default no more than what makes the same
letters the same characters (corpora/characters.py)."""

from dataclasses import dataclass
from typing import Literal

from slt_cache.corpora.characters import normalized

FinalDot = Literal["keep", "add", "strip"]
FINAL_DOTS: tuple[FinalDot, ...] = ("keep", "add", "strip")

DOTS = ".。"
OTHER_SENTENCE_ENDS = "!?！？"
BLANK_AND_DOT = " ."
"""The dot as a word of its own, as it stands in the PHOENIX14T text of most repositories."""


@dataclass(frozen=True)
class TextChoices:
    """Changes of the text that a score was asked to be computed after."""

    final_dot: FinalDot = "keep"
    """keep: the text as it is. strip: dots (`.` and `。`) at the end go, with the blanks around them; `!` and `?` carry
    meaning and stay. add: every sentence ends in one dot in the preset's form (` .`, csl-daily `。`), whether it had
    one or not; sentences that end in `!` or `?` and empty ones get none.

    The official PHOENIX14T files have no final punctuation, while some repositories append ` .` to every sentence,
    which gives each of them one word that is always right. In CSL-Daily `。`, `？` and `！` belong to the sentence."""
    lowercase: bool = False

    def applied(self, text: str, dot: str = BLANK_AND_DOT) -> str:
        """The text that is scored; `dot` is what `add` appends."""
        text = normalized(text)
        if self.lowercase:
            text = text.lower()
        return text if self.final_dot == "keep" else _with_final_dot(text, dot if self.final_dot == "add" else "")

    def signature(self, dot: str = BLANK_AND_DOT) -> str:
        """What follows a figure's own signature; empty where nothing was chosen."""
        parts = []
        if self.final_dot != "keep":
            form = f"({dot})" if self.final_dot == "add" and dot != BLANK_AND_DOT else ""
            parts.append(f"|final-dot:{self.final_dot}{form}")
        if self.lowercase:
            parts.append("|lc:yes")
        return "".join(parts)


RAW = TextChoices()


def _with_final_dot(text: str, dot: str) -> str:
    """Ends in `dot` in place of the dots that it has. Neither is done where there is no sentence."""
    end = len(text)
    while end and (text[end - 1] in DOTS or text[end - 1].isspace()):
        end -= 1
    bare = text[:end]
    if not bare or bare[-1] in OTHER_SENTENCE_ENDS:
        dot = ""
    return bare + dot

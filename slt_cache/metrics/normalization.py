"""Normalizes hypotheses and references alike before scoring: by default only equal letters become equal characters
(corpora/characters.py)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from slt_cache.corpora.characters import normalized

FinalDot = Literal["keep", "add", "strip"]
FINAL_DOTS: tuple[FinalDot, ...] = ("keep", "add", "strip")

DOTS = ".。"
OTHER_SENTENCE_ENDS = "!?！？"
SPACE_AND_DOT = " ."
"""Dot as a separate word, as in the PHOENIX14T text of most repositories."""


@dataclass(frozen=True)
class TextChoices:
    """Changes to the text before scoring, and what some metrics must know of it."""

    final_dot: FinalDot = "keep"
    """keep: the text is unchanged. strip: dots (`.` and `。`) at the end are removed with the whitespace around them;
    `!` and `?` carry meaning and stay. add: every sentence ends in one dot in the preset's form (` .`, csl-daily `。`),
    except empty ones and those that end in `!` or `?`.

    The official PHOENIX14T files have no final punctuation, while some repositories append ` .` to every sentence,
    which adds a word that is always right. In CSL-Daily `。`, `？` and `！` belong to the sentence."""
    lowercase: bool = False
    protocol: str = ""
    """End of every signature: the scoring protocol and what it says besides; empty without one."""
    languages: tuple[str, ...] = field(default=(), compare=False)
    """Codes of the languages of the sentences, whose content words, numbers and names count; empty if unknown."""
    models: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Model of each metric that needs one, a folder or hub name, by key; a metric that is missing has a default."""
    python: str | None = field(default=None, compare=False)
    """Interpreter that has the packages of such metrics; None for this process's own."""

    def applied(self, text: str, dot: str = SPACE_AND_DOT) -> str:
        """Returns the text that is scored; `dot` is what `add` appends."""
        text = normalized(text)
        if self.lowercase:
            text = text.lower()
        return text if self.final_dot == "keep" else _with_final_dot(text, dot if self.final_dot == "add" else "")

    def signature(self, dot: str = SPACE_AND_DOT) -> str:
        """Returns what follows a metric's own signature; empty if nothing was chosen."""
        parts = []
        if self.final_dot != "keep":
            form = f"({dot})" if self.final_dot == "add" and dot != SPACE_AND_DOT else ""
            parts.append(f"|final-dot:{self.final_dot}{form}")
        if self.lowercase:
            parts.append("|lc:yes")
        if self.protocol:
            parts.append(f"|protocol:{self.protocol}")
        return "".join(parts)

    def recorded(self) -> dict[str, Any]:
        """Returns the choices that change texts or signatures, as records hold them; the protocol was added later, and
        is omitted without one."""
        texts = {"final_dot": self.final_dot, "lowercase": self.lowercase}
        return {**texts, "protocol": self.protocol} if self.protocol else texts


RAW = TextChoices()


def _with_final_dot(text: str, dot: str) -> str:
    """Returns the text with `dot` in place of the dots at its end; an empty sentence gets none."""
    end = len(text)
    while end and (text[end - 1] in DOTS or text[end - 1].isspace()):
        end -= 1
    bare = text[:end]
    if not bare or bare[-1] in OTHER_SENTENCE_ENDS:
        dot = ""
    return bare + dot

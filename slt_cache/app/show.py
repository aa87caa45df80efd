"""Renders an answer as HTML in the colours of the page. Everything from outside is escaped."""

from functools import cache
from typing import TYPE_CHECKING

from slt_cache.app.answer import Answer
from slt_cache.colours import INK
from slt_cache.report.shades import shade_of
from slt_cache.report.strips import draw_filmstrip, draw_weights, full_weight

if TYPE_CHECKING:
    from jinja2 import Template

STRIP_BYTES = 100_000
"""Largest size of the filmstrip."""


def show_answer(what: str, answer: Answer, reference: str = "") -> str:
    """Renders the answer for the video `what`: sentence, alternatives, speed, attention over the filmstrip, and the
    reference if it is known."""
    found, attention = answer.translation, answer.attention
    strip = draw_filmstrip(answer.frames, STRIP_BYTES)
    return _template("answer.html.jinja").render(
        what=what,
        sentences=list(zip(found.texts, found.scores, strict=True)),
        reference=reference,
        frames=found.frames,
        seconds=found.seconds,
        rate=found.frames / found.seconds,
        length=answer.length,
        cut=found.steps_left_out,
        evidence=found.evidence,
        shade_of=shade_of,
        film=answer.film,
        strip=strip,
        attention=answer.attention_name,
        words=attention.words,
        ink="rgb({} {} {})".format(*INK),
        weights=draw_weights(attention.weights) if attention.words else "",
        full=full_weight(attention.weights),
    )


def show_invitation() -> str:
    """Renders the text that is shown before the first video."""
    return _template("invitation.html.jinja").render()


def show_problem(what: str, reason: str, next_step: str) -> str:
    """Renders why the video `what` has no sentence, and what to do."""
    return _template("problem.html.jinja").render(what=what, reason=reason, next_step=next_step)


@cache
def _template(name: str) -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("slt_cache.app", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template(name)

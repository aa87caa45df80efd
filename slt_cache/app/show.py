"""An answer as HTML, in the colours of the page that it stands in. Everything from outside is escaped."""

import base64
import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.app.answer import Answer

if TYPE_CHECKING:
    from jinja2 import Template

JPEG_QUALITY = 80


def show_answer(what: str, answer: Answer, reference: str = "") -> str:
    """Of the video called `what`: sentence, alternatives, speed, and the words over the filmstrip; with the reference
    where it is known."""
    found, attention = answer.translation, answer.attention
    steps = attention.weights.shape[1]
    starts = range(0, steps, answer.steps_a_picture)
    pictures = [
        (_jpeg(picture), min(answer.steps_a_picture, steps - start))
        for picture, start in zip(answer.pictures, starts, strict=False)
    ]
    return _template("answer.html.jinja").render(
        what=what,
        sentences=list(zip(found.texts, found.scores, strict=True)),
        reference=reference,
        frames=found.frames,
        seconds=found.seconds,
        rate=found.frames / found.seconds,
        length=answer.length,
        steps=steps,
        cut=found.cut,
        pictures=pictures,
        words=[
            (word, _strip(weights), int(weights.argmax()) + 1)
            for word, weights in zip(attention.words, attention.weights, strict=True)
        ],
    )


def show_invitation() -> str:
    """What stands there before anything was given."""
    return _template("invitation.html.jinja").render()


def show_problem(what: str, reason: str, next_step: str) -> str:
    """Why the video called `what` has no sentence, and what to do."""
    return _template("problem.html.jinja").render(what=what, reason=reason, next_step=next_step)


@cache
def _template(name: str) -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("slt_cache.app", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template(name)


def _jpeg(picture: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _strip(weights: np.ndarray) -> str:
    """[N] as a mask N pixels wide and one high: opaque where the weight is the word's largest. The page colours it."""
    from PIL import Image

    alpha = np.rint(255 * weights / max(float(weights.max()), 1e-9)).astype(np.uint8)
    pixels = np.zeros((1, len(alpha), 2), np.uint8)
    pixels[0, :, 1] = alpha
    file = io.BytesIO()
    Image.fromarray(pixels, "LA").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

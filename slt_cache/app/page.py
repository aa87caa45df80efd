"""The page itself, in gradio: its inputs, and what happens with them."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import gradio

from slt_cache.app.answer import Answer, Answerer, TooMuch
from slt_cache.app.limits import Limits
from slt_cache.app.show import show_answer, show_invitation, show_problem
from slt_cache.app.uploads import Uploads
from slt_cache.corpora.base import Clip
from slt_cache.errors import SltCacheError
from slt_cache.progress import log

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Arial", "sans-serif")
"""Fonts of the reader's machine; gradio's would be loaded from Google."""
MONOSPACED = ("ui-monospace", "Menlo", "Consolas", "monospace")
COLUMN_PIXELS = 320
"""Width below which columns are stacked."""
CAMERA_PIXELS = 240
"""Height of the webcam's picture."""
HONESTY = (
    "A research tool. What it writes is fluent and often wrong: not for decisions about deaf people's lives, and no "
    "substitute for an interpreter."
)
DRAWN = " It learned from drawn figures with invented signs, which are no sign language."


def theme() -> Any:
    return gradio.themes.Default(font=list(FONTS), font_mono=list(MONOSPACED), primary_hue="teal")


def make_page(
    answerer: Answerer, name: str, clips: Sequence[Clip], drawn: bool, limits: Limits, uploads: Uploads
) -> Any:
    """Makes the page of a model called `name`. `clips` are a menu to choose from; `drawn`: it was trained on the demo
    corpus. The limits are only displayed here, and enforced elsewhere: on files by the server, on videos by the
    answerer."""
    by_label = {_label(clip): clip for clip in clips}

    def of_upload(path: str | None) -> tuple[str, None, None, None]:
        """Returns the answer, and an empty upload, recording and choice. The file is deleted at once."""
        if path is None:
            return show_invitation(), None, None, None
        try:
            return _html(lambda: answerer.of_upload(Path(path)), Path(path).name), None, None, None
        finally:
            uploads.delete(Path(path))

    def of_clip(label: str | None) -> str:
        clip = by_label.get(label or "")
        return show_invitation() if clip is None else _html(lambda: answerer.of_clip(clip), clip.id, clip.text)

    with gradio.Blocks(title="slt-cache", analytics_enabled=False) as page:
        gradio.Markdown(f"# Sign language translation\n{name}. {HONESTY}{DRAWN if drawn else ''}")
        with gradio.Row():
            with gradio.Column(min_width=COLUMN_PIXELS):
                upload = gradio.File(
                    label=f"A video, at most {limits.megabytes} MB and {limits.seconds:g} s", height=140
                )
            with gradio.Column(min_width=COLUMN_PIXELS):
                recording = gradio.Video(
                    label="Or a recording from your webcam",
                    sources=["webcam"],
                    webcam_options=gradio.WebcamOptions(mirror=False, constraints={"video": True, "audio": False}),
                    include_audio=True,  # else the server would remove the sound that is not there, with ffmpeg
                    height=CAMERA_PIXELS,
                )
            with gradio.Column(min_width=COLUMN_PIXELS, visible=bool(clips)):
                choice = gradio.Dropdown(list(by_label), value=None, label=f"Or one of {len(clips)} test clips")
        answer = gradio.HTML(show_invitation(), container=True)
        # One at a time, for both: there is one model. No API: scripts use slt_cache.Translator.
        how: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "model"}
        emptied = [answer, upload, recording, choice]
        upload.upload(of_upload, upload, emptied, **how)
        choice.input(of_clip, choice, answer, **how)
        recording.stop_recording(of_upload, recording, emptied, **how)
    return page


def questions_of(page: Any, clips: Sequence[Clip]) -> dict[int, Collection[str] | None]:
    """Returns the functions that the page may be asked to call, by number: None for that of an upload, else the
    choices."""
    return {
        number: {_label(clip) for clip in clips} if isinstance(function.inputs[0], gradio.Dropdown) else None
        for number, function in page.fns.items()
    }


def _label(clip: Clip) -> str:
    return f"{clip.id}: {clip.text}"


def _html(answer: Callable[[], Answer], what: str, reference: str = "") -> str:
    """Renders an answer, or its error; unexpected errors are also logged to the terminal."""
    try:
        return show_answer(what, answer(), reference)
    except TooMuch as error:
        return show_problem(what, error.reason, "Use a smaller or shorter one, or start the page with a higher limit.")
    except SltCacheError as error:
        return show_problem(what, str(getattr(error, "reason", error)).rstrip("."), "Use a video, such as mp4 or webm.")
    except Exception as error:
        log(f"{what}: {type(error).__name__}: {error}")
        return show_problem(what, f"something failed here ({type(error).__name__})", "See the terminal.")

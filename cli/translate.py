"""`translate`."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.threads import NONE

from .help import OUTPUT, one_of
from .options import RUN_OPTIONS, BaseOption, LanguageOption, ModelOption, Options, run_or_model, takes

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt_cache.corpora.base import Box
    from slt_cache.corpora.write_cues import SubtitleFiles
    from slt_cache.pipeline.translate import Translation, Untranslated

LIVE_WINDOW = 5.0
"""Seconds of a window of live video, unless --window says otherwise."""
COLUMNS = ("video", "start", "end", "rank", "text", "score", "seconds")
"""Columns of --tsv."""


@takes("translate", *RUN_OPTIONS, "device", "json", spins=NONE)
def translate(
    options: Options,
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            show_default=False,
            help="Video files; folders of frames; folders that hold such files or folders, at any depth. "
            "A name that begins with - needs -- before it.",
        ),
    ] = None,
    nbest: Annotated[int, typer.Option("--nbest", min=1, help="Sentences to show for each video.")] = 1,
    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            metavar="SECONDS",
            help="Split each video into windows of this many seconds and translate each. The remainder is a window of "
            "its own if it is at least half as long, and part of the last window otherwise; with --camera, whose last "
            "sentence is out by then, it is always a window of its own. [default: the whole video; "
            f"with --camera {LIVE_WINDOW:g}]",
        ),
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            "--segment",
            metavar="auto|motion|pose",
            help="Cut each video at the pauses of the signer, and translate each segment: auto finds them by the hands "
            "if MediaPipe is there (encoder.python, or the encoder pose:mediapipe), else by the motion of the frames. "
            "Together with --window, longer segments are split into windows. [default: no cuts]",
            autocompletion=one_of("auto", "motion", "pose"),
        ),
    ] = None,
    pause: Annotated[
        float | None,
        typer.Option("--pause", metavar="SECONDS", help="Shortest pause for --segment. [default: 0.4]"),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            "--box",
            metavar="X0,Y0,X1,Y1",
            help="Read this part of the frames: left, top, right and bottom as shares of width and height, for a model "
            "that was trained on frames cropped to the signer. [default: whole frames]",
        ),
    ] = None,
    find_signer: Annotated[
        bool, typer.Option("--find-signer", help="Find the signer in each video by MediaPipe, in place of --box.")
    ] = False,
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera",
            metavar="SOURCE",
            help="Translate live, in windows as they come: number or path of a camera of this machine, a video file in "
            "its place, or - for a stream on standard input. Ctrl-C ends it. [default: the named videos]",
        ),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Read a file given as --camera at its own speed.")
    ] = False,
    reliability: Annotated[
        bool,
        typer.Option(
            "--reliability",
            help="Show how much of each sentence the video decided, with a warning if that is little "
            "(slt_cache/metrics/README.md).",
        ),
    ] = False,
    srt: Annotated[
        Path | None,
        typer.Option(
            "--srt",
            metavar="OUT.srt",
            help="Write the sentences with their times as SubRip subtitles; of several videos into a folder. Without "
            "--segment and --window, a video is one subtitle. [default: no file]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    vtt: Annotated[
        Path | None,
        typer.Option("--vtt", metavar="OUT.vtt", help="The same as WebVTT. [default: no file]", rich_help_panel=OUTPUT),
    ] = None,
    as_tsv: Annotated[
        bool,
        typer.Option(
            "--tsv",
            help=f"Print a table on stdout, one sentence per line: {', '.join(COLUMNS)}.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    language: LanguageOption = None,
    model: ModelOption = None,
    base: BaseOption = None,
) -> None:
    """Translate videos of any frame rate and size with a trained run, or with a folder of export-model.

    Videos that cannot be read are listed at the end, and do not affect the others. Exits with 1 if there are any, or
    with 2 if nothing was translated.

    Example: slt-cache translate clip.mp4 --nbest 3
    """
    from slt_cache.corpora.write_cues import SubtitleFiles
    from slt_cache.errors import InputError
    from slt_cache.pipeline.live import live
    from slt_cache.pipeline.translate import Translation, Translator, Untranslated
    from slt_cache.video.paths import find_videos
    from slt_cache.video.pauses import PAUSE

    if options.json and as_tsv:
        raise InputError("--json and --tsv: both print to stdout. Choose one.")
    _require_one_source(videos, camera, realtime)
    _require_agreement(segment, pause, camera, box, find_signer)
    part = None if box is None else _parsed(box)
    paths = find_videos(videos or ()) if camera is None else [Path(camera)]
    outputs = [(srt, ".srt"), (vtt, ".vtt")]
    subtitles = [SubtitleFiles(out, suffix, paths) for out, suffix in outputs if out is not None]
    translator = Translator(run_or_model(options, model, base, "translate"), reliability, language)
    if camera is None:
        whole = math.inf if subtitles and segment is None else None  # whole videos, with their times
        longest, shortest = whole if window is None else window, PAUSE if pause is None else pause
        found = translator.translate(paths, nbest, longest, False, segment, shortest, part, find_signer)
    else:
        found = live(translator, camera, LIVE_WINDOW if window is None else window, nbest, realtime, part)
    done: list[Translation] = []
    failed: list[Untranslated] = []
    if as_tsv:
        typer.echo("\t".join((*COLUMNS, *["lag"] * (camera is not None), *["reliability"] * reliability)))
    try:
        for one in found:
            if isinstance(one, Untranslated):
                failed.append(one)
                continue
            done.append(one)
            _output(one, subtitles, None if options.json else _table if as_tsv else _shown)
    finally:  # what is translated is printed and written even if a later video ends the command
        if options.json and (done or failed or camera is not None):
            options.print(
                {"translations": [_to_json(one) for one in done], "failed": [_failure(one) for one in failed]}
            )
        for files in subtitles:
            files.save()
    _end(len(done), failed)


def _output(one: "Translation", subtitles: "list[SubtitleFiles]", shown: "Callable[[Translation], str] | None") -> None:
    """Adds a sentence to the subtitles, and prints it as `shown` says."""
    for files in subtitles:
        files.add(one.video, one.start or 0.0, one.end or 0.0, one.text)
    if shown is not None:
        typer.echo(shown(one))


def _require_one_source(videos: list[Path] | None, camera: str | None, realtime: bool) -> None:
    """Raises InputError, or the usage error of a missing argument, unless there are either videos or a camera."""
    from slt_cache.errors import InputError

    if videos and camera is not None:
        raise InputError(f"--camera {camera}: live video alone is translated. Omit the videos, or the option.")
    if realtime and camera is None:
        raise InputError("--realtime: for a file that stands in for a camera. Give it with --camera FILE.")
    if not videos and camera is None:
        raise InputError("no video: name files or folders, or a camera with --camera. See slt-cache translate --help")


def _parsed(box: str) -> "Box":
    from slt_cache.corpora.manifest import parsed_box
    from slt_cache.errors import InputError

    try:
        return parsed_box(box)
    except ValueError as error:
        raise InputError(f"--{error}") from error


def _require_agreement(
    segment: str | None, pause: float | None, camera: str | None, box: str | None, find_signer: bool
) -> None:
    """Raises InputError for options that need each other, or exclude each other."""
    from slt_cache.errors import InputError

    if segment is not None and camera is not None:
        raise InputError(f"--segment {segment}: live video is cut into windows. Omit the option, or --camera.")
    if pause is not None and segment is None:
        raise InputError(f"--pause {pause:g}: for --segment. Give it with --segment auto.")
    if find_signer and (box is not None or camera is not None):
        other = f"--box {box}" if box is not None else f"--camera {camera}"
        raise InputError(f"--find-signer and {other} exclude each other. Omit one of them.")


def _end(done: int, failed: "list[Untranslated]") -> None:
    """Lists the videos without a sentence, and exits with the code that they call for."""
    from slt_cache.errors import InputError

    if not failed:
        return
    if not done and len(failed) == 1:
        [one] = failed
        raise InputError(f"{_named(one)}: {one.reason}. Give a video file or a folder of png or jpg frames.")
    for one in failed:
        typer.echo(f"failed\t{_named(one)}\t{one.reason}", err=True)
    typer.echo(
        f"error: {len(failed)} of {done + len(failed)} could not be translated; see the reasons above.", err=True
    )
    raise typer.Exit(1 if done else 2)


def _named(one: "Translation | Untranslated") -> str:
    span = _span(one)
    return f"{one.video}\t{span}" if span else str(one.video)


def _span(one: "Translation | Untranslated") -> str:
    """Returns the times of the window; empty if the video was not split."""
    if one.start is None or one.end is None:
        return ""
    return f"{one.start:.1f} to {one.end:.1f} s"


def _shown(one: "Translation") -> str:
    [best, *others] = zip(one.texts, one.scores, strict=True)
    how = f"score {best[1]:.2f}, {one.seconds:.2g} s" + ("" if one.lag is None else f", lag {one.lag:.1f} s")
    how += "" if one.evidence is None else f", reliability {one.evidence.reliability:.2f}"
    lines = [f"{_named(one)}\t{best[0] or '(an empty sentence)'}\t({how})"]
    if one.evidence is not None and one.evidence.warning:
        lines.append(f"\twarning: {one.evidence.warning}")
    return "\n".join([*lines, *(f"\t{text}\t(score {score:.2f})" for text, score in others)])


def _table(one: "Translation") -> str:
    """Returns a line for each sentence, without the tabs and line ends of names and sentences, which would break it."""
    start, end = ("" if second is None else f"{second:.3f}" for second in (one.start, one.end))
    lag = [] if one.lag is None else [f"{one.lag:.3f}"]
    best = [] if one.evidence is None else [f"{one.evidence.reliability:.4f}"]
    rows = [
        (str(one.video), start, end, str(rank), text, f"{score:.4f}", f"{one.seconds:.3f}", *lag, *_of_best(best, rank))
        for rank, (text, score) in enumerate(zip(one.texts, one.scores, strict=True), start=1)
    ]
    return "\n".join("\t".join(re.sub(r"[\t\r\n]", " ", field) for field in row) for row in rows)


def _of_best(fields: list[str], rank: int) -> list[str]:
    """Returns fields that only the best sentence has, empty for the others."""
    return fields if rank == 1 else [""] * len(fields)


def _to_json(one: "Translation") -> dict[str, Any]:
    return {
        "video": str(one.video),
        "start": one.start,
        "end": one.end,
        "text": one.text,
        "nbest": [{"text": text, "score": score} for text, score in zip(one.texts, one.scores, strict=True)],
        "seconds": round(one.seconds, 3),
        "frames": one.frames,
        "steps_left_out": one.steps_left_out,
        **({} if one.lag is None else {"lag": round(one.lag, 3)}),
        **({} if one.evidence is None else {"warning": one.evidence.warning, **one.evidence.to_json()}),
    }


def _failure(one: "Untranslated") -> dict[str, Any]:
    return {"video": str(one.video), "start": one.start, "end": one.end, "reason": one.reason}

"""`prepare`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.advice import CONFIG_FILE
from slt_cache.corpora.registry import CORPORA, corpus_named
from slt_cache.errors import InputError

from .help import one_of
from .interruptions import Interrupted
from .options import RUN_OPTIONS, Options, require_used, takes

if TYPE_CHECKING:
    from slt_cache.pipeline.prepare import Preparation
    from slt_cache.runs.run import Run

MERGE = "merge"
EXAMPLES = 3
"""Examples of each kind of problem that are printed."""
MAX_CHARACTERS = 200
"""Characters of one example on the terminal."""
MAX_ROWS = 60
"""Rows of the table of problems to correct."""


@takes("prepare", *RUN_OPTIONS, "seed", "json", left=Interrupted.RESUMES)
def prepare(
    options: Options,
    corpus: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(CORPORA)}. avatar is drawn, subtitles are your own videos with .vtt, .srt or .eaf files, "
            "tsv is your own manifest.tsv, merge is several prepared corpora in one run.",
            autocompletion=one_of(*CORPORA),
        ),
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A B ...]",
            show_default=False,
            help="merge only: run folders or manifests, as PATH or NAME=PATH; the name of a folder is that of its "
            "corpus. [default: those that the run was merged of]",
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the corpus.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder to write to; the same as --run."),
    ] = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="tsv only: do not open the videos to find those that cannot be read.")
    ] = False,
    find_signer: Annotated[
        bool,
        typer.Option(
            "--find-signer",
            help="Find the signer in each clip by MediaPipe, and read only that part of its frames: the manifest's "
            "column box. The same as --set corpus.find_signer=true.",
        ),
    ] = False,
    shift: Annotated[
        float | None,
        typer.Option("--shift", help="Seconds to add to all times of caption files; default: corpus.shift, 0."),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(
            "--tier",
            help="Tier of ELAN files, or a pattern such as 'Text*'; default: the only one with annotations.",
        ),
    ] = None,
) -> None:
    """Build a run's manifest.tsv from a corpus and report irregularities.

    Exits with 1 if a split of an official corpus has no clip with a video, or if your own manifest has a problem that
    would stop a training, such as a video that cannot be read; with 2 if the annotation is to blame for such a split.
    The run's manifest is written all the same.

    Example: slt-cache prepare phoenix14t --root PHOENIX-2014-T
    """
    from slt_cache.pipeline.prepare import prepare as prepare_run
    from slt_cache.pipeline.probe import find_signers, probe_clips
    from slt_cache.report.preparation import write_preparation

    options = replace(options, run=out or options.run)
    named = {"root": root, "shift": shift, "tier": tier, "find_signer": find_signer or None}
    opened = _opened(options, corpus, sources or (), named)
    require_used(opened, "prepare", saves=True)
    done = prepare_run(opened, None if no_probe else probe_clips, find_signers)
    page = write_preparation(opened, done)
    options.print(
        {
            "manifest": str(done.manifest),
            "counts": done.counts,
            "published": done.published,
            "problems": done.problems,
            "report": str(done.report),
            "statistics": done.statistics.to_json(),
            "page": str(page),
        },
        f"{done.manifest}: {_counts(done)} clips\n{_table(done)}\n{page}: lengths, frequencies and ten random clips",
    )
    if not options.json:
        _print_warnings(done)
    if done.unusable:
        typer.echo(
            f"error: no clip with a video in {', '.join(done.unusable)}{_blame(done)}. See {done.report}.",
            err=True,
        )
    if done.to_correct:
        _print_table(done)
    if done.unusable or done.to_correct:
        raise typer.Exit(2 if done.faults else 1)


def _table(done: "Preparation") -> str:
    """Returns the sizes of the splits, a column for each, and what they share."""
    rows = done.statistics.table
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    leaks = "; ".join(f"{kind}: {many:,}" for kind, many in done.statistics.leaks.items() if many)
    return "\n".join([*lines, f"shared between splits: {leaks or 'nothing'}"])


def _blame(done: "Preparation") -> str:
    """Returns what is wrong with the annotation, if that is why a split cannot be used."""
    return f"; the annotation is damaged or belongs to other videos ({'; '.join(done.faults)})" if done.faults else ""


def _opened(options: Options, corpus: str, sources: Sequence[str], named: dict[str, Any]) -> "Run":
    """Opens the run of a corpus, with the settings that the command's options stand for, and those that its files
    decide. Raises InputError for options that the corpus does not take."""
    kind = corpus_named(corpus, "prepare")
    if sources and corpus != MERGE:
        raise InputError(f"prepare {corpus} {sources[0]}: only merge takes these. Name the corpus' folder with --root.")
    for option in ("shift", "tier"):
        if named[option] is not None and not kind.has_captions:
            raise InputError(f"--{option} {named[option]}: {corpus} has no caption files. Leave the option out.")
    options, default, own = _merged(options, sources) if corpus == MERGE else (options, kind.config, [])
    root = named["root"]
    named = {**named, "root": None if root is None else str(root.absolute())}
    own += [f"corpus.name={corpus}"]
    own += [_setting(f"corpus.{name}", value) for name, value in named.items() if value is not None]
    opened = options.open_run(default=default, own=own, begins=True)
    decided = [_setting(f"corpus.{name}", value) for name, value in kind.decided(opened.config.corpus).items()]
    return options.open_run(default=default, own=[*own, *decided], begins=True) if decided else opened


def _merged(options: Options, given: Sequence[str]) -> tuple[Options, str, list[str]]:
    """Returns the options, the config to start from, and the settings of a run that merges corpora."""
    from slt_cache.corpora.merge import merge_settings

    run = options.run or Path("runs") / MERGE
    options = replace(options, run=run)
    if not given and (run / CONFIG_FILE).is_file():
        return options, MERGE, []
    stated = [one.partition("=")[0].strip() for one in options.settings or ()]
    config, settings = merge_settings(given, run, stated if options.config is None else [*stated, "video"])
    return options, config or MERGE, [_setting(name, value) for name, value in settings.items()]


def _setting(name: str, value: object) -> str:
    return f"{name}={json.dumps(value, ensure_ascii=False)}"


def _counts(done: "Preparation") -> str:
    return ", ".join(f"{split} {count:,}{_published(done, split)}" for split, count in done.counts.items())


def _print_warnings(done: "Preparation") -> None:
    """Prints what is irregular, but would stop no training, with some examples."""
    for kind, entries in done.findings.items():
        if kind in done.to_correct:
            continue
        more = f", and {len(entries) - EXAMPLES:,} more" if len(entries) > EXAMPLES else ""
        examples = "; ".join(entry[:MAX_CHARACTERS] for entry in entries[:EXAMPLES])
        typer.echo(f"warning: {kind}: {len(entries):,} ({examples}{more})", err=True)
    if set(done.findings) - set(done.to_correct):
        typer.echo(f"all of these are listed in {done.report}", err=True)


def _print_table(done: "Preparation") -> None:
    """Prints the problems that would stop a training, up to a number of rows."""
    rows = [(kind, entry) for kind in done.to_correct for entry in done.findings[kind]]
    width = max(len(kind) for kind, _ in rows)
    for kind, entry in rows[:MAX_ROWS]:
        typer.echo(f"  {kind.ljust(width)}  {entry}", err=True)
    if len(rows) > MAX_ROWS:
        typer.echo(f"  ... and {len(rows) - MAX_ROWS:,} more in {done.report}", err=True)
    many = "1 problem" if len(rows) == 1 else f"{len(rows):,} problems"
    typer.echo(f"error: {many} to correct (see above); then run prepare again. {done.manifest} is written.", err=True)


def _published(done: "Preparation", split: str) -> str:
    """Returns the published number, to stand after the one that was found."""
    if split not in done.published:
        return ""
    [rows, *others] = done.published[split]
    return f" (published {done.published_as[split] if others else f'{rows:,}'})"

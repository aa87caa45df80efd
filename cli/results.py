"""`eval`, `score` and `report`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from slt_cache.distributed.processes import is_main_process

from .help import one_of
from .options import (
    ConfigOption,
    DeviceOption,
    FeaturesOption,
    JsonOption,
    RunOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    print_json,
    require_used,
)

MODELS = (
    "llm",
    "visual",
    "control",
    "llm-from-scratch",
    "llm-unfreeze-temporal",
    "llm-unfreeze-all",
    "joint",
    "joint-temporal",
)
PRESETS = ("plain", "phoenix14t", "csl-daily", "how2sign")
"""Both as their pipeline modules have them, which take too long to import for a --help."""

FinalDotOption = Annotated[
    str,
    typer.Option(
        "--final-dot",
        metavar="keep|add|strip",
        help="Of both texts. keep: as they are; add: every sentence ends in one dot (' .', csl-daily '。'), but for "
        "those that end in ! or ?; strip: dots at the end are left out.",
    ),
]
BootstrapOption = Annotated[
    int | None,
    typer.Option(
        "--bootstrap",
        metavar="RESAMPLES",
        help="Print 95 % intervals from so many resamples of the sentences (40 to 10000, such as 1000), seed 12345.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("eval")(guarded(evaluate))
    app.command("score")(guarded(score))
    app.command("report")(guarded(report))


def evaluate(
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="train, dev or test. [default: test; of a --manifest, all clips]",
            show_default=False,
            autocompletion=one_of("train", "dev", "test"),
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            help="Another list of clips to translate and score, from their videos; results go to eval/lists. "
            "[default: the run's own clips]",
            show_default=False,
        ),
    ] = None,
    features: FeaturesOption = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="llm (both stages), visual (stage 1), control, llm-from-scratch, llm-unfreeze-temporal, "
            "llm-unfreeze-all, joint or joint-temporal.",
            autocompletion=one_of(*MODELS),
        ),
    ] = "llm",
    bootstrap: BootstrapOption = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Translate a split with beam search and score it.

    Example: slt-cache eval --split test
    """
    from slt_cache.pipeline.evaluate import evaluate as evaluate_run

    opened = open_run(run, config, settings, device)
    require_used(opened, "eval")
    cache = None if features is None else opened.find_features(features)
    done = evaluate_run(opened, split, cache, model, bootstrap, manifest)
    if not is_main_process():
        return
    if as_json:
        print_json(
            {
                "split": done.split,
                "clips": len(done.references),
                **_figures(done.scores),
                "hypotheses": str(done.table),
            }
        )
        return
    _print_scores(done.scores, f"{manifest or done.split}, {len(done.references)} clips")
    typer.echo(f"hypotheses: {done.table}")


def score(
    hypotheses: Annotated[Path, typer.Argument(help="One sentence a line, or id|sentence.")],
    references: Annotated[Path, typer.Argument(help="One sentence a line, or id|sentence.")],
    preset: Annotated[
        str,
        typer.Option("--preset", help="plain, phoenix14t, csl-daily or how2sign.", autocompletion=one_of(*PRESETS)),
    ] = "plain",
    final_dot: FinalDotOption = "keep",
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase both texts before scoring.")] = False,
    bootstrap: BootstrapOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="HYPOTHESES",
            help="Other hypotheses for the same references: is the difference more than chance? Paired bootstrap, "
            "1000 resamples (or --bootstrap), seed 12345.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Score text files alone, against the raw reference text unless --final-dot or --lowercase is given.

    Example: slt-cache score hypotheses.txt references.txt --preset phoenix14t --bootstrap 1000
    """
    from slt_cache.pipeline.score_files import score_files

    done = score_files(hypotheses, references, preset, _choices(final_dot, lowercase), bootstrap, against)
    if as_json:
        print_json({"clips": done.sentences, **_figures(done.scores), **_against(done.against)})
        return
    _print_scores(done.scores, f"{done.sentences} sentences, preset {preset}")
    if against is not None:
        _print_against(done.against, against)


def report(
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="DIR",
            help="Another run folder, shown side by side with a paired significance test; may be repeated.",
            show_default=False,
        ),
    ] = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write one HTML page about a run: scores, curves, lengths, and clips with the frames that each word looked at.

    Example: slt-cache report --run runs/avatar --compare runs/other
    """
    from slt_cache.report import write_report

    others = [open_run(folder, None, None) for folder in compare or []]
    opened = open_run(run, config, settings)
    require_used(opened, "report")
    page = write_report(opened, others)
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(f"report: {page}")


def _choices(final_dot: str, lowercase: bool) -> Any:
    from slt_cache.errors import InputError
    from slt_cache.metrics.normalization import FINAL_DOTS, TextChoices

    for choice in FINAL_DOTS:
        if final_dot == choice:
            return TextChoices(choice, lowercase)
    raise InputError(f"--final-dot {final_dot}: no such choice. Use {', '.join(FINAL_DOTS)}.")


def _figures(scores: dict[str, Any]) -> dict[str, Any]:
    intervals = {key: found.interval for key, found in scores.items() if found.interval is not None}
    return {
        "scores": {key: round(found.value, 2) for key, found in scores.items()},
        "signatures": {key: found.signature for key, found in scores.items()},
        **(
            {"intervals": {key: [round(end, 2) for end in ends] for key, ends in intervals.items()}}
            if intervals
            else {}
        ),
    }


def _against(compared: dict[str, Any]) -> dict[str, Any]:
    figures = {
        key: {"other": round(found.other, 2), "p": round(found.p, 5), "signature": found.signature}
        for key, found in compared.items()
    }
    return {"against": figures} if figures else {}


def _print_scores(scores: dict[str, Any], what: str) -> None:
    typer.echo(what)
    for found in scores.values():
        ends = "" if found.interval is None else "  [{:.2f}, {:.2f}]".format(*found.interval).ljust(18)
        typer.echo(f"  {found.name:<20}{found.value:6.2f}{ends}   {found.signature}")


def _print_against(compared: dict[str, Any], other: Path) -> None:
    typer.echo(f"against {other}: its figure, the difference, and its p by paired bootstrap")
    for found in compared.values():
        difference = f"{found.value - found.other:+.2f}"
        typer.echo(f"  {found.name:<20}{found.other:6.2f}{difference:>8}   p = {found.p:.4f}   {found.signature}")

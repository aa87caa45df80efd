"""`score`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .help import one_of
from .options import Options, takes
from .output import BootstrapOption, score_lines, scores_to_json

PRESETS = ("plain", "phoenix14t", "csl-daily", "how2sign", "mixed")
"""Those of metrics/, which takes too long to import for a --help."""


@takes("score", "json")
def score(
    options: Options,
    hypotheses: Annotated[Path, typer.Argument(help="One sentence per line, or id|sentence.")],
    references: Annotated[Path, typer.Argument(help="One sentence per line, or id|sentence.")],
    preset: Annotated[
        str,
        typer.Option("--preset", help=f"{', '.join(PRESETS[:-1])} or {PRESETS[-1]}.", autocompletion=one_of(*PRESETS)),
    ] = "plain",
    final_dot: Annotated[
        str,
        typer.Option(
            "--final-dot",
            metavar="keep|add|strip",
            help="Full stops at the end of both texts. keep: as they are; add: every sentence ends in one (' .', "
            "csl-daily '。') unless it ends in ! or ?; strip: they are removed.",
        ),
    ] = "keep",
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase both texts before scoring.")] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="KEY", help="Another metric to compute, such as ter (lower is better); may be repeated."
        ),
    ] = None,
    bootstrap: BootstrapOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="HYPOTHESES",
            help="Other hypotheses for the same references; test whether the difference is significant. Paired "
            "bootstrap, 1000 resamples (or --bootstrap), seed 12345.",
        ),
    ] = None,
) -> None:
    """Score text files, against the raw reference text unless --final-dot or --lowercase is given.

    Example: slt-cache score hypotheses.txt references.txt --preset phoenix14t --bootstrap 1000
    """
    from slt_cache.pipeline.score_files import score_files

    choices = _choices(final_dot, lowercase)
    done = score_files(hypotheses, references, preset, choices, bootstrap, against, metric or ())
    options.print(
        {"clips": done.sentences, **scores_to_json(done.scores), **_against_to_json(done.against)},
        f"{done.sentences} sentences, preset {preset}",
        *score_lines(done.scores),
        *([] if against is None else _against_lines(done.against, against)),
    )


def _choices(final_dot: str, lowercase: bool) -> Any:
    from slt_cache.errors import InputError
    from slt_cache.metrics.normalization import FINAL_DOTS, TextChoices

    for choice in FINAL_DOTS:
        if final_dot == choice:
            return TextChoices(choice, lowercase)
    raise InputError(f"--final-dot {final_dot}: no such choice. Use {', '.join(FINAL_DOTS)}.")


def _against_to_json(compared: dict[str, Any]) -> dict[str, Any]:
    tests = {
        key: {"other": round(found.other, 2), "p": round(found.p, 5), "signature": found.signature}
        for key, found in compared.items()
    }
    return {"against": tests} if tests else {}


def _against_lines(compared: dict[str, Any], other: Path) -> Iterator[str]:
    yield f"against {other}: its score, the difference, and the p-value of a paired bootstrap"
    for found in compared.values():
        difference = f"{found.value - found.other:+.2f}"
        yield f"  {found.name:<20}{found.other:6.2f}{difference:>8}   p = {found.p:.4f}   {found.signature}"

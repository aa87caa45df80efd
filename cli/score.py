"""`score`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .help import one_of
from .options import Options, takes
from .output import BootstrapOption, ContentWordsOption, MetricOption, score_lines, scores_to_json, word_lines

PRESETS = ("plain", "phoenix14t", "csl-daily", "how2sign", "mixed")
PROTOCOLS = ("paper", "sltbaselines", "gfslt-vlp", "wmt-slt")
"""Those of metrics/ and config/, which take too long to import for a --help."""


@takes("score", "json")
def score(
    options: Options,
    hypotheses: Annotated[Path, typer.Argument(help="One sentence per line, or id|sentence.")],
    references: Annotated[Path, typer.Argument(help="One sentence per line, or id|sentence.")],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help=f"{', '.join(PRESETS[:-1])} or {PRESETS[-1]}. [default: plain]",
            autocompletion=one_of(*PRESETS),
        ),
    ] = None,
    final_dot: Annotated[
        str | None,
        typer.Option(
            "--final-dot",
            metavar="keep|add|strip",
            help="Full stops at the end of both texts. keep: as they are; add: every sentence ends in one (' .', "
            "csl-daily '。') unless it ends in ! or ?; strip: they are removed. [default: keep]",
        ),
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase both texts before scoring.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help=f"Scoring protocol whose rules for texts are applied: {', '.join(PROTOCOLS)}. [default: none]",
            autocompletion=one_of(*PROTOCOLS),
        ),
    ] = None,
    metric: MetricOption = None,
    metric_python: Annotated[
        Path | None,
        typer.Option(
            "--metric-python",
            metavar="PYTHON",
            help="Interpreter that has the packages of bertscore, bleurt and comet. [default: this program's own]",
        ),
    ] = None,
    content_words: ContentWordsOption = False,
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            metavar="CODE",
            help="Language of the sentences, such as de, for metrics that look at words; of several, de+en. [default: "
            "that of the preset's corpus]",
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
    from slt_cache.metrics.registry import asked_for
    from slt_cache.pipeline.score_files import choices_for, score_files

    keys, models = asked_for(metric or (), content_words)
    preset, choices = choices_for(preset, protocol, final_dot, lowercase)
    choices = replace(
        choices,
        models=models,
        python=None if metric_python is None else str(metric_python),
        languages=tuple((language or "").split("+")) if language else (),
    )
    done = score_files(hypotheses, references, preset, choices, bootstrap, against, keys)
    words = {"content_words": done.words} if done.words else {}
    options.print(
        {"clips": done.sentences, **scores_to_json(done.scores), **words, **_against_to_json(done.against)},
        f"{done.sentences} sentences, preset {preset}",
        *score_lines(done.scores),
        *word_lines(done.words),
        *([] if against is None else _against_lines(done.against, against)),
    )


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

"""What several commands print: the result of a training, scores, clips without features."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.distributed.processes import is_main_process

from .options import Options

if TYPE_CHECKING:
    from slt_cache.checkpoints.record import Record

BootstrapOption = Annotated[
    int | None,
    typer.Option(
        "--bootstrap",
        metavar="RESAMPLES",
        help="Print 95 % intervals from this many resamples of the sentences (40 to 10000, such as 1000), seed 12345.",
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="KEY[=MODEL]",
        help="Another metric to compute, such as ter (lower is better), or one with its model, a folder or hub name: "
        "embedding=FOLDER; may be repeated.",
    ),
]
ContentWordsOption = Annotated[
    bool,
    typer.Option(
        "--content-words",
        help="Compute the word error rates of content words, of numbers and of names, and print the rule for each.",
    ),
]
"""Options of the commands that score."""
MaxFileOption = Annotated[
    float | None,
    typer.Option(
        "--max-file-gb",
        min=1e-6,
        help="Write a folder of files of at most this size instead of a larger file (as features.max_file_gb does). "
        "[default: one file; a folder stays one]",
    ),
]
"""Option of the commands that write caches without a run."""


def bytes_of(gigabytes: float | None) -> int | None:
    """Returns the value of this option in bytes."""
    return None if gigabytes is None else round(gigabytes * 1e9)


def print_trained(options: Options, record: "Record", folder: Path, then: str) -> None:
    """Prints what a training left in the folder, and the command that comes next."""
    if not is_main_process():
        return
    from slt_cache.metrics.loss import LOSS
    from slt_cache.metrics.video_gap import gap_text, sees_video

    best = folder / "best"
    search = " (greedy)" if record.dev_beams == 1 else f" ({record.dev_beams} beams)"
    is_searched = record.selected_by.key != LOSS.key
    dev = f", dev {record.dev_score}{search if is_searched else ''}" if record.dev else ""
    gap, sees = gap_text(record.video_gap), sees_video(record.video_gap)
    options.print(
        {
            "run": str(folder.parent),
            "best": str(best),
            "epochs": record.epochs,
            "seconds": round(record.seconds, 1),
            "dev": record.dev or {},
            **record.video_gap,
            **({} if sees is None else {"sees_video": sees}),
        },
        f"{record.stage}: best of {record.epochs} epochs is {record.best_epoch}{dev}{gap} ({record.seconds:.0f} s) "
        f"-> {best}",
        f"next: {then}",
    )


def scores_to_json(scores: dict[str, Any]) -> dict[str, Any]:
    """Returns the values, signatures and intervals of scores, as --json has them."""
    intervals = {key: found.interval for key, found in scores.items() if found.interval is not None}
    rounded = {"intervals": {key: [round(end, 2) for end in ends] for key, ends in intervals.items()}}
    return {
        "scores": {key: round(found.value, 2) for key, found in scores.items()},
        "signatures": {key: found.signature for key, found in scores.items()},
        **(rounded if intervals else {}),
    }


def score_lines(scores: dict[str, Any]) -> list[str]:
    """Returns a line for each score: name, value, interval, signature."""
    lines = []
    for found in scores.values():
        ends = "" if found.interval is None else "  [{:.2f}, {:.2f}]".format(*found.interval).ljust(18)
        lines.append(f"  {found.name:<20}{found.value:6.2f}{ends}   {found.signature}")
    return lines


def word_lines(words: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the rule of each word error rate, and how many words of the references it counts."""
    lines = []
    for key, one in words.items():
        language = "+".join(one["languages"]) or "unknown"
        lines.append(f"  {key}: {one['words']} words of the references (language {language}): {one['rule']}")
    return lines


def grounding_lines(scores: dict[str, float], found: dict[str, Any]) -> list[str]:
    """Returns the lines of a grounding: scores without the video, shares, and what predicts the quality of a
    sentence."""
    from slt_cache.metrics.registry import IN_SUMMARY, METRICS

    rows = {"video": scores, **found["scores"]}
    lines = ["", f"{'grounding':<12}" + "".join(f"{METRICS[key].heading:>12}" for key in (*IN_SUMMARY, "chrf"))]
    for name, row in rows.items():
        lines.append(f"  {name:<10}" + "".join(f"{row[key]:12.2f}" for key in (*IN_SUMMARY, "chrf")))
    swap, spread = found["swap"], found["reliability"]
    share = "no clip has features of one with another sentence" if swap["share"] is None else f"{swap['share']:.1%}"
    lines += [
        f"swapped: {swap['other_sentence']} of {swap['clips']} clips get the other clip's sentence ({share})",
        f"reliability: mean {spread['mean']:.3f}, 5 % below {spread['p5']:.3f}, 95 % below {spread['p95']:.3f}; "
        f"the video decided little of {found['little']} sentences (below {found['little_below']:g})",
        f"  share of content tokens that the video makes at least twice as probable; content: {found['content']}",
        f"  without the video: blank steps, {found['blank_step']}",
    ]
    if found["prediction"] is not None:
        lines += _prediction_lines(found["prediction"])
    return [*lines, f"each clip: {found['file']}"]


def _prediction_lines(found: dict[str, Any]) -> list[str]:
    wrong = found["clips"] - found["right"]
    lines = [
        f"does it predict the quality of a sentence? ({wrong} of {found['clips']} are wrong: chrF below "
        f"{found['right_from_chrf']:g})",
        f"  {'':<18}{'rank correlation':<26}AUROC",
    ]
    for name, row in found["predictors"].items():
        cells = [_in_interval(row["rank_correlation"]), _in_interval(row.get("auroc"))]
        lines.append(f"  {name.replace('_', '-'):<18}{cells[0]:<26}{cells[1]}".rstrip())
    if "auroc" not in found["predictors"]["reliability"]:
        lines.append("  AUROC: too few right or too few wrong sentences")
    return lines


def _in_interval(found: dict[str, float] | None) -> str:
    return "-" if found is None else f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def failures_to_json(failed: Iterable[Any]) -> list[dict[str, str]]:
    """Returns the clips that have no features, as --json has them."""
    return [{"id": failure.clip_id, "reason": failure.reason} for failure in failed]


def print_failures(done: Iterable[Any], cache: Path) -> None:
    """Prints the clips of each split that have no features, and where their table is."""
    from slt_cache.pipeline.failures import failures_file

    for one in done:
        for failure in one.failed:
            typer.echo(f"failed\t{failure.clip_id}\t{failure.reason}", err=True)
        if one.failed:
            table = failures_file(cache, one.split)
            typer.echo(f"{one.split}: {len(one.failed)} clips have no features; they are listed in {table}", err=True)

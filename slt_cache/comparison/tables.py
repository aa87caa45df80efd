"""A comparison as a table for a paper, in LaTeX or Markdown.

The table has a row for each configuration, mean and standard deviation over seeds, and in its footnote what a reader
needs to reproduce and to doubt the numbers: signatures, tests, choices made on test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slt_cache.comparison.compare import Comparison
from slt_cache.comparison.measure import GroupTest, ScoredGroup
from slt_cache.metrics.paired import SIGNIFICANT
from slt_cache.metrics.registry import METRICS

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{one: f"\\{one}" for one in "{}$&#_%"},
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": "$<$",
        ">": "$>$",
        **{one: f"{{{one}}}" for one in "[*"},  # after the end of a line they would belong to it
    }
)
MARKDOWN = str.maketrans({one: f"\\{one}" for one in "\\|*_`<>[]"})
"""What the characters with a meaning of their own become."""


@dataclass(frozen=True)
class _Form:
    """Form of a table."""

    escaped: Callable[[str], str]
    code: Callable[[str], str]
    plus_minus: str
    found: str
    """Mark of a score that differs from that of the first row."""
    on_test: str
    """Mark of a row whose choices were made on test."""
    lower: str
    """Mark of a metric of which less is better."""
    smaller: str
    """`p < 0.05` or the like."""


def _latex_code(text: str) -> str:
    return rf"\texttt{{{text.translate(LATEX)}}}".replace("|", r"|\allowbreak ")


_LATEX = _Form(
    lambda text: text.translate(LATEX),
    _latex_code,
    r"\,$\pm$\,",
    r"\textsuperscript{\dag}",
    r"\textsuperscript{\ddag}",
    r"\,$\downarrow$",
    "$<$",
)
_MARKDOWN = _Form(lambda text: text.translate(MARKDOWN), lambda text: f"`{text}`", " ± ", "†", "‡", " ↓", "<")


def latex(compared: Comparison) -> str:
    """Returns a table that needs no package of LaTeX."""
    header, *rows = _cells(compared, _LATEX)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\hline", rf"{' & '.join(header)} \\", r"\hline"]
    lines += [rf"{' & '.join(row)} \\" for row in rows]
    lines += [r"\hline", r"\end{tabular}", "", r"\begin{flushleft}\footnotesize"]
    return "\n".join([*lines, *(rf"{line}\\" for line in _footnote(compared, _LATEX)), r"\end{flushleft}"])


def markdown(compared: Comparison) -> str:
    header, *rows = _cells(compared, _MARKDOWN)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = [f"| {' | '.join(row)} |" for row in lines]
    return "\n".join([*table, "", *(f"{line}  " for line in _footnote(compared, _MARKDOWN))])


def _cells(compared: Comparison, form: _Form) -> list[list[str]]:
    """Returns the rows of the table, its header first."""
    tests = {one.group: one for one in compared.tests}
    header = ["", "runs", *(form.escaped(METRICS[key].label) + _lower(key, form) for key in compared.signatures)]
    rows = [
        [
            form.escaped(one.name) + (form.on_test if one.on_test else ""),
            str(len(one.runs)),
            *(
                score_text(one, key, form.plus_minus) + _found(tests.get(one.name), key, form)
                for key in compared.signatures
            ),
        ]
        for one in compared.groups
    ]
    return [header, *rows]


def _lower(key: str, form: _Form) -> str:
    return form.lower if METRICS[key].lower_is_better else ""


def score_text(group: ScoredGroup, key: str, plus_minus: str = " ± ") -> str:
    """Returns the mean score of a group, with the standard deviation over its runs if there are several."""
    spread = group.spread(key)
    return f"{group.mean(key):.2f}" + ("" if spread is None else f"{plus_minus}{spread:.2f}")


def _found(test: GroupTest | None, key: str, form: _Form) -> str:
    return form.found if test is not None and test.metrics[key].difference.is_significant else ""


def _footnote(compared: Comparison, form: _Form) -> Iterator[str]:
    yield form.escaped(f"Split {compared.split}, {compared.clips:,} clips.") + (
        f" Mean{form.plus_minus}standard deviation over runs with different seeds."
        if any(len(one.runs) > 1 for one in compared.groups)
        else ""
    )
    if len(compared.groups) > 1:
        yield (
            f"{form.found} differs from the first row: two-sided p {form.smaller} {SIGNIFICANT} by paired bootstrap "
            f"and by approximate randomization ({compared.resamples:,} resamples each, seed {compared.seed})."
        )
    for one in compared.groups:
        for run, why in one.on_test.items():
            yield f"{form.on_test} {form.escaped(f'{run}: choices made on test: ' + '; '.join(why))}."
    for note in compared.notes:
        yield form.escaped(f"{note}.")
    of_signature: dict[str, list[str]] = {}
    for key, signature in compared.signatures.items():
        of_signature.setdefault(signature, []).append(METRICS[key].label)
    for signature, labels in of_signature.items():
        yield f"{form.escaped(', '.join(labels))}: {form.code(signature)}"

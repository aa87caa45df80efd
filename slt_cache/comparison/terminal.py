"""A comparison as lines for a terminal."""

from collections.abc import Iterator

from slt_cache.comparison.compare import Comparison
from slt_cache.comparison.measure import GroupTest
from slt_cache.comparison.tables import score_text
from slt_cache.metrics.paired import SIGNIFICANT, Chance
from slt_cache.metrics.registry import METRICS


def lines(compared: Comparison) -> Iterator[str]:
    """Yields the lines for a terminal."""
    heads = [METRICS[key].heading for key in compared.signatures]
    width = max(len(one.name) for one in compared.groups) + 2
    yield f"{compared.split}, {compared.clips:,} clips"
    yield f"{'':{width}}{'seeds':<12}" + "".join(f"{head:>15}" for head in heads)
    for one in compared.groups:
        seeds = ",".join(map(str, one.seeds))
        yield f"{one.name:{width}}{seeds:<12}" + "".join(f"{score_text(one, key):>15}" for key in compared.signatures)
    for one in compared.groups:
        for run, why in one.on_test.items():
            yield f"choices made on test: {run}: {'; '.join(why)}"
    for note in compared.notes:
        yield f"note: {note}"
    for name, values in compared.settings:
        yield f"setting: {name} is {', '.join(values)}"
    for test in compared.tests:
        yield from _test_lines(compared, test)
    yield ""
    for key, signature in compared.signatures.items():
        yield f"{METRICS[key].label}: {signature}"


def _test_lines(compared: Comparison, test: GroupTest) -> Iterator[str]:
    label, decided = METRICS[compared.metric].label, test.metrics[compared.metric]
    verdict = "better" if decided.is_better else "worse"
    yield ""
    yield (
        f"{test.group} against {test.baseline}: "
        f"{verdict if decided.difference.is_significant else 'no difference beyond chance'} in {label} "
        f"(found if both two-sided p are below {SIGNIFICANT})"
    )
    yield f"  {'':<14}difference  {'95 % interval':<18}{'p by bootstrap':<20}{'by randomization':<20}d over seeds"
    for key, one in test.metrics.items():
        low, high = one.difference.interval
        d = "-" if one.seeds_d is None else f"{one.seeds_d:+.2f}"
        yield (
            f"  {METRICS[key].label:<14}{one.difference.value:>+10.2f}  {f'[{low:.2f}, {high:.2f}]':<18}"
            f"{_p(one.difference.bootstrap):<20}{_p(one.difference.randomization):<20}{d}"
        )
    yield f"  p two-sided / one-sided, {compared.resamples:,} resamples, seed {compared.seed}"
    size = "-" if test.effect.d is None else f"{test.effect.d:+.2f}"
    yield (
        f"  sentences (chrF): {test.effect.better:,} better, {test.effect.equal:,} equal, {test.effect.worse:,} worse; "
        f"effect size d = {size}"
    )
    yield f"  {label} by length of the reference ({compared.unit})"
    for length in test.lengths:
        yield f"    {_range(length.least, length.most):<12}{length.clips:>6,} clips  {_pair(*length.scores)}"
    if test.frequencies:
        yield f"  F1 of {compared.unit} by occurrences in train"
    for before, after in test.frequencies:
        yield f"    {_range(before.least, before.most):<12}{before.words:>6,} words  {_pair(before.f1, after.f1)}"
    for changed in test.changed:
        yield f"  {changed.clip_id}: chrF {_pair(*changed.chrf)}"
        yield f"    reference: {changed.reference}"
        for name, hypothesis in zip((test.baseline, test.group), changed.hypotheses, strict=True):
            yield f"    {name}: {hypothesis}"


def _p(chance: Chance) -> str:
    return f"{chance.two_sided:.4f} / {chance.one_sided:.4f}"


def _range(least: int, most: int | None) -> str:
    return f"{least:,} or more" if most is None else f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _pair(before: float, after: float) -> str:
    return f"{before:6.2f} {after:6.2f} {after - before:+7.2f}"

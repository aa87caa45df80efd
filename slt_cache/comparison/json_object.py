"""A comparison as the JSON object of --json."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from slt_cache.comparison.compare import Comparison
from slt_cache.comparison.measure import GroupTest, ScoredGroup
from slt_cache.metrics.paired import Chance


def to_json(compared: Comparison) -> dict[str, Any]:
    """Returns the comparison as --json has it."""
    return {
        "split": compared.split,
        "clips": compared.clips,
        "metric": compared.metric,
        "unit": compared.unit,
        "resamples": compared.resamples,
        "seed": compared.seed,
        "groups": [_group_to_json(one) for one in compared.groups],
        "signatures": dict(compared.signatures),
        "settings": dict(compared.settings),
        "tests": [_test_to_json(one, compared.metric) for one in compared.tests],
        "notes": compared.notes,
    }


def _group_to_json(group: ScoredGroup) -> dict[str, Any]:
    scores = {
        key: {"mean": round(group.mean(key), 2), "sd": _rounded(group.spread(key), 2), "values": _each(values, 2)}
        for key, values in group.scores.items()
    }
    return {
        "name": group.name,
        "model": group.model,
        "runs": group.runs,
        "seeds": group.seeds,
        "scores": scores,
        "choices_on_test": dict(group.on_test),
    }


def _test_to_json(test: GroupTest, metric: str) -> dict[str, Any]:
    found = {
        key: {
            "difference": round(one.difference.value, 4),
            "interval": _each(one.difference.interval, 4),
            "bootstrap": _chance_to_json(one.difference.bootstrap),
            "randomization": _chance_to_json(one.difference.randomization),
            "differs": one.difference.is_significant,
            "better": one.is_better,
            "d_over_seeds": _rounded(one.seeds_d, 4),
        }
        for key, one in test.metrics.items()
    }
    return {
        "group": test.group,
        "baseline": test.baseline,
        "differs": found[metric]["differs"],
        "metrics": found,
        "effect": {"of": "sentence chrF", **asdict(test.effect), "d": _rounded(test.effect.d, 4)},
        "by_length": [
            {"from": one.least, "to": one.most, "clips": one.clips, "scores": _each(one.scores, 2)}
            for one in test.lengths
        ],
        "by_frequency": [
            {"from": one.least, "to": one.most, "words": one.words, "f1": _each((one.f1, other.f1), 2)}
            for one, other in test.frequencies
        ],
        "changed": [
            {
                "id": one.clip_id,
                "reference": one.reference,
                "hypotheses": list(one.hypotheses),
                "chrf": _each(one.chrf, 2),
            }
            for one in test.changed
        ],
    }


def _chance_to_json(chance: Chance) -> dict[str, float]:
    return {"p_two_sided": round(chance.two_sided, 5), "p_one_sided": round(chance.one_sided, 5)}


def _each(values: Sequence[float], digits: int) -> list[float]:
    return [round(one, digits) for one in values]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

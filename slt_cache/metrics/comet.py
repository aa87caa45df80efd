"""COMET (Rei et al. 2020), a model trained on human judgements, by the package unbabel-comet. It is given no source,
since that is a video."""

from slt_cache.metrics.models import package_metric

COMET = package_metric("comet", "COMET", ("comet",), "unbabel-comet")

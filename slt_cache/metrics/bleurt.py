"""BLEURT (Sellam et al. 2020), a model trained on human judgements, by Google's package or its port to PyTorch."""

from slt_cache.metrics.models import package_metric

BLEURT = package_metric("bleurt", "BLEURT", ("bleurt_pytorch", "bleurt"), "bleurt-pytorch")

"""BERTScore (Zhang et al. 2020), the F1 of a greedy matching of contextual embeddings, by the package bert-score. The
model may be followed by the layer to read, as in `FOLDER:9`; otherwise it is the package's choice, or the last one."""

from slt_cache.metrics.models import package_metric

BERTSCORE = package_metric("bertscore", "BERTScore", ("bert_score",), "bert-score")

"""Table of clips without features, next to the cache: id and reason; and what to do about them."""

from collections.abc import Sequence
from pathlib import Path

from slt_cache.config import Config, is_network
from slt_cache.decoding.encode import UnstorableFeatures
from slt_cache.features.layout import Failure
from slt_cache.files import write_text


def failures_file(cache: Path, split: str) -> Path:
    """Returns the path of the table of a split."""
    return cache.with_name(f"{cache.stem}.{split}.failed.tsv")


def write_failures(cache: Path, split: str, missing: Sequence[Failure]) -> None:
    """Writes the table, or deletes an old one if nothing is missing."""
    path = failures_file(cache, split)
    if not missing:
        path.unlink(missing_ok=True)
        return
    rows = [f"{failure.clip_id}\t{' '.join(failure.reason.split())}\n" for failure in missing]
    write_text(path, "id\treason\n" + "".join(rows))


def what_to_do(config: Config, failed: Sequence[Failure]) -> str:
    """Returns what to do about these clips. Not the videos are to blame for features that the cache cannot hold, but
    the encoder."""
    unstorable = UnstorableFeatures.reasons_for(config.features.dtype)
    lost, said = sum(failure.reason in unstorable for failure in failed), []
    if lost:
        own = f"{lost:,} of these videos can be read, but {config.features.dtype} cannot hold their features."
        if is_network(config.encoder.name) and config.encoder.as_named().weights == "none":
            said += [own, "The encoder's weights are random (encoder.weights=none): set encoder.weights=imagenet."]
        else:
            other = "train stage 1 again" if config.encoder.name is None else "use another encoder"
            said += [own, UnstorableFeatures.advice(config.features.dtype, "--dtype ", other)]
    if lost < len(failed):
        said += ["Repair these videos and run the same command: only they are read again."]
    return " ".join([*said, "Or add --allow-missing, and the cache lists them as missing."])

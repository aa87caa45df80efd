"""Label files in circulation instead of the official ones: `labels.SPLIT` or `SPLIT`, a gzipped pickle of {clip: {name,
text, length?, imgs_path?, video_path?, gloss}} or of a list of such items. The gloss is not read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import OTHER_SPLITS, SPLITS, Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.cuts import Cut
from slt_cache.corpora.official import NO_ANNOTATION, UNREADABLE_ROW, Sentence, add_issue, find
from slt_cache.corpora.pickles import load_plain
from slt_cache.corpora.search import name_of
from slt_cache.errors import InputError


def find_labels(root: Path, split: str, problems: Problems, alone: bool) -> Path | None:
    """Returns the label file of a split; None if there is none. A file called just `train` counts only if labels are
    `alone`, without official files."""
    names = [f"labels.{name}" for name in (split, *OTHER_SPLITS[split])]
    return find(root, (*names, split) if alone else names, problems)


def label_cuts(root: Path, problems: Problems) -> tuple[list[Cut], list[Path]]:
    """Returns the clips of the label files of all splits, which are ready cut, and these files."""
    found = {split: find_labels(root, split, problems, alone=False) for split in SPLITS}
    sources = {split: path for split, path in found.items() if path is not None}
    if sources:
        add_issue(problems, NO_ANNOTATION, (f"{split}: labels.{split}" for split in SPLITS if split not in sources))
    sentences = [one for split, path in sources.items() for one in read_labels(path, split, problems)]
    return [Cut(one, ready=(one.video or one.id, one.id)) for one in sentences], list(sources.values())


def read_labels(path: Path, split: str, problems: Problems) -> list[Sentence]:
    """Returns the sentences of a label file. Raises InputError if it holds something else."""
    content = load_plain(path)
    if not isinstance(content, dict | list):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, but labels are a dict of clips. Is this a label file?"
        )
    sentences: list[Sentence] = []
    for number, (key, item) in enumerate(_items(content), start=1):
        place = f"{path.name} item {number}"
        sentence = _sentence(key, item, split, place)
        if sentence is None:
            add_issue(problems, UNREADABLE_ROW, f"{place} ({str(key)[:80]!r}): no name and text")
        else:
            sentences.append(sentence)
    if content and not sentences:
        raise InputError(f"{path}: none of its {len(content):,} items has a name and a text. Is this a label file?")
    return sentences


def _items(content: dict[Any, Any] | list[Any]) -> Iterator[tuple[Any, Any]]:
    if isinstance(content, dict):
        yield from content.items()
    else:
        yield from ((item.get("name") if isinstance(item, dict) else None, item) for item in content)


def _sentence(key: Any, item: Any, split: str, place: str) -> Sentence | None:
    if not isinstance(item, dict):
        return None
    name, text = item.get("name", key), item.get("text")
    if not isinstance(name, str) or not isinstance(text, str):
        return None
    signer, video = item.get("signer", ""), item.get("video_path")
    return Sentence(
        nfc(name.rpartition("/")[2]),  # 'dev/<name>' in PHOENIX14T's
        split,
        text,
        signer if isinstance(signer, str) else "",
        _length(item),
        place,
        nfc(name_of(video)) if isinstance(video, str) else "",
    )


def _length(item: dict[Any, Any]) -> int | None:
    length, paths = item.get("length"), item.get("imgs_path")
    if isinstance(length, int) and not isinstance(length, bool):
        return length
    return len(paths) if isinstance(paths, list) else None

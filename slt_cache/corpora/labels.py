"""Label files in circulation instead of the official ones: `labels.SPLIT` or `SPLIT`, a gzipped pickle of {clip: {name,
text, length, imgs_path?, gloss}} or of a list of such items. The gloss is not read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.official import UNREADABLE_ROW, Sentence, add_issue, find
from slt_cache.corpora.pickles import load_plain
from slt_cache.errors import InputError


def find_labels(root: Path, split: str, problems: Problems, alone: bool) -> Path | None:
    """Returns the label file of a split; None if there is none. A file called just `train` counts only if labels are
    `alone`, without official files."""
    return find(root, (f"labels.{split}", split) if alone else (f"labels.{split}",), problems)


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
    signer = item.get("signer", "")
    return Sentence(
        nfc(name.rpartition("/")[2]),  # 'dev/<name>' in PHOENIX14T's
        split,
        text,
        signer if isinstance(signer, str) else "",
        _length(item),
        place,
    )


def _length(item: dict[Any, Any]) -> int | None:
    length, paths = item.get("length"), item.get("imgs_path")
    if isinstance(length, int) and not isinstance(length, bool):
        return length
    return len(paths) if isinstance(paths, list) else None

"""Names of files that hold one clip each."""

import hashlib
import re
from urllib.parse import quote

MAX_NAME = 200
"""Longest file name without suffix, in bytes; file systems allow 255."""


def stem_of(clip_id: str, view: int = 0) -> str:
    """Returns the name of a clip's file without suffix: the percent-encoded id, followed by `.view1` etc. for its
    views. Names are unique: a dot that looks like that of a view is encoded, too, and an id that is too long for a file
    system is replaced by its SHA-256."""
    name = re.sub(r"\.(?=view\d+$)", "%2E", quote(clip_id, safe=""))
    if len(name) > MAX_NAME:
        name = hashlib.sha256(clip_id.encode()).hexdigest()
    return f"{name}.view{view}" if view else name

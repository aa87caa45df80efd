"""Videos of the demo corpus, each drawn once in a session of tests and copied from then on."""

import hashlib
import shutil
from collections.abc import Generator
from pathlib import Path

from slt_cache.corpora.avatar import write
from slt_cache.corpora.avatar.plan import PlannedClip


def write_drawn(shared: Path, clips: list[PlannedClip], folder: Path, workers: int) -> Generator[None, None, None]:
    """Writes the videos of the clips below `folder`, as `write._write_videos` does; yields after each.

    Processes that test share the folder `shared`. The drawing itself is tested without it."""
    settings = (folder / write.SETTINGS_FILE).read_bytes()  # everything that decides the content
    kept = shared / hashlib.sha256(settings).hexdigest()
    (kept / "videos").mkdir(parents=True, exist_ok=True)
    for clip in clips:
        video = write.video_path(kept, clip)
        if not video.exists():
            write._write_clip(kept, clip)  # under its name when it is whole
        shutil.copyfile(video, write.video_path(folder, clip))
        yield

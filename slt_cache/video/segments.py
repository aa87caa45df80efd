"""Cuts long videos at the pauses of the signer, each segment a separate clip; pauses.py has the rule."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from slt_cache.corpora.base import Clip
from slt_cache.progress import log, progress_bar
from slt_cache.video.chunks import ClipEnd, plain
from slt_cache.video.movement import MovementReader
from slt_cache.video.pauses import Movement, segments
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo

STILL = "nothing moves in it, so there is no segment to translate; without --segment it is translated as a whole"


def at_pauses(
    clips: Sequence[Clip], reader: MovementReader, workers: int, pause: float, quiet: bool = True
) -> Iterator[list[Clip] | UnreadableVideo]:
    """Yields the segments of each video, or why there are none, in order. The videos are decoded once, by as many
    processes as there are `workers`; pauses last at least `pause` seconds."""
    chunks: list[torch.Tensor] = []
    done = total = 0
    with progress_bar("finding pauses", "frame", quiet) as show:
        for event in read_ahead(plain(clips), reader, min(workers, len(clips))):
            if isinstance(event, torch.Tensor):
                total += 0 if chunks else int(event[0, 2])
                chunks.append(event.clone())
                done += len(event)
                show(done, total)
                continue
            yield _segments(event, torch.cat(chunks), reader, pause) if isinstance(event, ClipEnd) else event
            chunks = []


def _segments(end: ClipEnd, rows: torch.Tensor, reader: MovementReader, pause: float) -> list[Clip] | UnreadableVideo:
    assert end.span is not None
    begin, finish = map(float, end.span)
    movement = Movement(rows[:, 0].numpy(), rows[:, 1].numpy(), reader.visible, end.fps)
    found = segments(movement, pause)
    if not found:
        return UnreadableVideo(end.clip.id, end.clip.video, STILL)
    times = [
        (begin + first / end.fps, finish if last == len(rows) else begin + last / end.fps) for first, last in found
    ]
    log(f"{end.clip.video}: {len(times)} segments, {sum(last - first for first, last in times):.1f} of {finish:.1f} s")
    return [
        replace(end.clip, id=f"{end.clip.id} from {start:g} s", start=round(start, 6), end=round(last, 6))
        for start, last in times
    ]

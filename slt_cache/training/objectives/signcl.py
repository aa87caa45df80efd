"""SignCL: neighbouring frames are close, frames far apart are not (Ye et al., NeurIPS 2024, section 4), against visual
representations that lie too densely to tell signs apart."""

import torch
from torch.nn import functional as F

from slt_cache.device import moved
from slt_cache.encoders.packing import unpadded
from slt_cache.models.translators import IGNORED
from slt_cache.training.objectives.base import Objective, Seen, Setup

MARGIN, CHANNELS = 32.0, 512
"""Distance (L1) that neighbours stay below and frames far apart exceed, for features of so many channels; it grows with
their number."""
SHORTEST = 10
"""Frames of the video: a frame this far away or less is no negative, unless the clip is shorter than twice as long."""
PER_TOKEN = 2.3
"""Negatives are further away than a token of the sentence takes in the clip on average, times this, or than half of
the clip."""


class SignContrast(Objective):
    """Mean over neighbouring frames of softplus(distance - margin), plus the mean over frames far apart of
    softplus(margin - distance), on frame-wise features of the backbone. Frames are far apart if there are more than
    max(10, 2.3 frames / tokens) frames between them, or half of a clip that is too short for that: with neighbours
    alone, all frames would become one. (The authors' code also has a limit, of about half.) All pairs of a clip are
    compared, of which the paper samples two neighbours and four others per frame, so the value depends on no random
    number. With `frame_dropout`, neighbours are those among the frames that are left."""

    def __init__(self, setup: Setup):
        super().__init__()
        self.shortest = SHORTEST / setup.keep_every

    def forward(self, seen: Seen) -> torch.Tensor:
        tokens = (seen.targets.readable.labels != IGNORED).sum(1).tolist()
        values = [self._of_clip(frames.float(), count) for frames, count in zip(seen.frames, tokens, strict=True)]
        return (torch.stack(values) * moved(seen.counted, values[0].device)).sum()

    def _of_clip(self, frames: torch.Tensor, tokens: int) -> torch.Tensor:
        """Returns the value of a clip with frame-wise features [T', C]; pairs that it does not have add nothing."""
        margin = MARGIN * frames.shape[1] / CHANNELS
        places = torch.arange(len(frames))
        apart = places - places.unsqueeze(1)  # each pair once
        distances = torch.cdist(frames, frames, p=1.0)
        far = apart > min(max(self.shortest, PER_TOKEN * len(frames) / max(tokens, 1)), len(frames) / 2)
        near = F.softplus(unpadded(distances, apart == 1) - margin)
        away = F.softplus(margin - unpadded(distances, far))
        return near.sum() / max(len(near), 1) + away.sum() / max(len(away), 1)

"""Fine-grained video-sentence contrast: time steps and tokens are matched with each other before videos and sentences
are (CiCo: Cheng et al., CVPR 2023, section 3, cross-lingual contrastive learning)."""

import math

import torch
from torch.nn import functional as F

from slt_cache.training.objectives.across import TEMPERATURE, Batch, ClipContrast, exact
from slt_cache.training.objectives.base import Seen


class FineGrained(ClipContrast):
    """Symmetric InfoNCE with a learned temperature. The similarity of a video to a sentence is the mean over its steps
    of their similarities to the tokens, weighted by a softmax over the tokens; that of a sentence to a video likewise,
    with a softmax over the steps."""

    def forward(self, seen: Seen) -> torch.Tensor:
        batch, steps, tokens = Batch(seen), self.video(seen.states), self.text(seen.text)
        with exact(steps.device):
            video = batch.mine(_wide(F.normalize(steps.float(), dim=2), batch.steps))
            text = batch.mine(_wide(F.normalize(tokens.float(), dim=2), batch.tokens))
            of_video = batch.mine(_wide(seen.mask.float().unsqueeze(2), batch.steps))
            of_text = batch.mine(_wide(seen.sentences.to(steps.device).mask.float().unsqueeze(2), batch.tokens))
            to_text = similarities(video, of_video, batch.all(text), batch.all(of_text))
            to_video = similarities(text, of_text, batch.all(video), batch.all(of_video))
            return self.symmetric(batch, to_text, to_video)


def similarities(
    queries: torch.Tensor, of_queries: torch.Tensor, keys: torch.Tensor, of_keys: torch.Tensor
) -> torch.Tensor:
    """Returns the similarities [b, k] of sequences [b, N, P] to sequences [k, M, P]; the masks, [..., 1], are 1 on
    their parts and 0 on padding."""
    each = torch.einsum("bnp,kmp->bknm", queries, keys)
    weights = (each / TEMPERATURE).masked_fill(of_keys.squeeze(2)[None, :, None] == 0, -math.inf).softmax(3)
    best = (weights * each).sum(3)  # [b, k, N]
    mask = of_queries.squeeze(2).unsqueeze(1)
    return (best * mask).sum(2) / mask.sum(2)


def _wide(rows: torch.Tensor, length: int) -> torch.Tensor:
    """Pads [B, N, P] with zeros to a length that all processes share."""
    return F.pad(rows, (0, 0, 0, length - rows.shape[1]))

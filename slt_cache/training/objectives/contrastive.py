"""Video-sentence contrast: each clip's pooled video is closest to its own sentence among all of the batch, and each
sentence to its own video (GFSLT-VLP: Zhou et al., ICCV 2023, section 3, visual-language pre-training)."""

import torch
from torch.nn import functional as F

from slt_cache.training.objectives.across import Batch, ClipContrast, exact
from slt_cache.training.objectives.base import Seen


class Contrastive(ClipContrast):
    """Symmetric InfoNCE of CLIP with a learned temperature. Both sides are means of hidden states of the translator's
    encoder, over the steps of the clip and the tokens of the sentence, projected linearly and normalized. There, a
    learned token pools the video, and the encoders of video and text are two."""

    def forward(self, seen: Seen) -> torch.Tensor:
        batch = Batch(seen)
        of_text = seen.sentences.to(seen.states.device).mask
        video, text = pooled(self.video(seen.states), seen.mask), pooled(self.text(seen.text), of_text)
        with exact(video.device):
            video, text = batch.mine(video), batch.mine(text)
            to_text, to_video = video @ batch.all(text).T, text @ batch.all(video).T
            return self.symmetric(batch, to_text, to_video)


def pooled(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns the normalized means, float32 [B, P], of states [B, N, P] where the mask [B, N] is True."""
    kept = states.float().masked_fill(~mask.unsqueeze(2), 0.0)
    return F.normalize(kept.sum(1) / mask.sum(1, keepdim=True), dim=1)

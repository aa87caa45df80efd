"""Local temporal module: frame-wise features in, sign-wise features out (Chen et al. 2024, 4.2)."""

import torch
from torch import nn

from slt_cache.encoders.packing import pad, step_mask, unpadded


class LocalTemporalModule(nn.Module):
    """Conv1d, BatchNorm and ReLU over time, at constant length unless it has a stride: frame-wise to sign-wise features
    (Chen et al. 2024, 4.2)."""

    def __init__(self, dim_in: int, dim: int, kernel: int, stride: int = 1):
        """`kernel` is odd: of N steps, each `stride`-th is the centre of one of the ceil(N / stride) new steps."""
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(dim_in, dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, frame_features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Computes sign-wise features [sum N', C] from frame-wise ones [sum N, dim_in] and lengths [B], where N' is
        ceil(N / stride)."""
        mask = step_mask(lengths)
        padded = pad(frame_features, mask)  # [B, N, dim_in], zeros like the convolution's own padding
        mixed = self.conv(padded.transpose(1, 2)).transpose(1, 2)  # [B, N, C]
        # [sum N', C]: padding must not reach the batch statistics
        packed = unpadded(mixed, mask if self.stride == 1 else step_mask(-(-lengths // self.stride)))
        return torch.relu(self.norm(packed))

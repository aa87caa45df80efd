"""Packed and padded: clips of different length one after another `[sum N, C]`, or side by side `[B, N, C]`."""

import torch


def pad(packed: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[sum N, C] -> [B, N, C], zeros behind the end of each clip. `lengths` [B] counts steps."""
    return torch.nn.utils.rnn.pad_sequence(list(packed.split(lengths.tolist())), batch_first=True)


def step_mask(lengths: torch.Tensor) -> torch.Tensor:
    """[B] -> bool [B, N], True on the steps that a clip has."""
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)

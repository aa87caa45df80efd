"""Arrays of other tools: what is no array of features is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.cache_tools.arrays import BadFile, read_features


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1, 4).expand(1_000_000, 4),
        torch.zeros(2000).as_strided((1000, 1000), (1, 1)),
        torch.zeros(3, 4).to_sparse(),
    ],
    ids=["expanded", "overlapping", "sparse"],
)
def test_a_short_pt_file_of_a_million_rows_is_no_features(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensor, path)
    with pytest.raises(BadFile):
        read_features(path)


def test_a_pt_file_of_a_part_of_a_tensor_is_read(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(6, 4)
    torch.save(whole.T[:, ::2], tmp_path / "x.pt")
    assert np.array_equal(read_features(tmp_path / "x.pt"), whole.T[:, ::2].numpy())

"""The hash by which weights are known."""

import torch

from slt_cache.models.weights import tensors_sha256


def test_the_hash_of_weights_does_not_depend_on_their_order() -> None:
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "c": torch.tensor(3, dtype=torch.int64)}
    assert tensors_sha256(tensors) == tensors_sha256(dict(reversed(tensors.items())))
    transposed = {**tensors, "a": tensors["a"].T.contiguous().T}
    assert tensors_sha256(tensors) == tensors_sha256(transposed)


def test_the_hash_of_weights_changes_with_one_value_name_type_or_shape() -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    value = {**tensors, "a": torch.zeros(2, 3).index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(1e-30))}
    hashes = {
        tensors_sha256(changed)
        for changed in (
            tensors,
            value,
            {"a": tensors["a"], "c": tensors["b"]},
            {**tensors, "b": torch.zeros(4, dtype=torch.int32)},
            {**tensors, "a": torch.zeros(3, 2)},
            {"a": tensors["a"]},
        )
    }
    assert len(hashes) == 6

"""A simulated device: its tensors compute on the CPU, and refuse what a GPU refuses.

Without a GPU nobody notices a tensor that was left on the CPU. Here operands on two devices are an error, and so is
reading values without a transfer; in `never_waited_for`, so is whatever would make the program wait for a GPU. Kernels,
precisions and streams of a GPU are not simulated."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")
"""Name of the device, for which torch needs no driver."""

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXING = {
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}
"""Operations whose indices may be on the CPU."""
_ATTENTION = _aten._fused_sdp_choice.default
_PLAIN_ATTENTION = 0
_WAITS = {
    _aten._local_scalar_dense.default,
    _aten.equal.default,
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.repeat_interleave.Tensor,
}
"""Operations that cannot return before the device is done: their results are numbers, or have as many rows as the
values say."""
_MADE_OF_NUMBERS = {torch.tensor, torch.as_tensor, torch.Tensor.new_tensor}
_refuses = False
"""Whether waiting for the device is an error."""


class WaitedFor(AssertionError):
    """Raised where a program would wait for the device."""


class Far(torch.Tensor):
    """A tensor on the device."""

    values_on_cpu: torch.Tensor
    """Values of the tensor, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as torch itself does

    @staticmethod
    def __new__(cls, values_on_cpu: torch.Tensor) -> "Far":
        far: Far = torch.Tensor._make_wrapper_subclass(
            cls,
            values_on_cpu.shape,
            strides=values_on_cpu.stride(),
            storage_offset=values_on_cpu.storage_offset(),
            dtype=values_on_cpu.dtype,
            device=ELSEWHERE,
        )
        far.values_on_cpu = values_on_cpu
        return far

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch types the function that disables it
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _computed(operation, args, kwargs or {})


def _computed(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    asked = kwargs.get("device")
    lands_far = bool(far) if asked is None else torch.device(asked) == ELSEWHERE
    if not far and not lands_far:
        return operation(*args, **kwargs)
    if operation is _ATTENTION:
        return _PLAIN_ATTENTION
    _require_one_device(operation, args, far)
    if _refuses and _waits(operation, args, far, lands_far):
        raise WaitedFor(f"{operation} waits for the device")
    known = {id(tensor.values_on_cpu if isinstance(tensor, Far) else tensor): tensor for tensor in tensors}
    found = operation(*tree_map(_near, args), **tree_map(_near, kwargs))
    for tensor in far:
        assert tensor.shape == tensor.values_on_cpu.shape, f"{operation} changes a shape in place"

    def back(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return known[id(leaf)] if id(leaf) in known else Far(leaf) if lands_far else leaf

    return tree_map(back, found)


def _waits(operation: Any, args: Any, far: list[Far], lands_far: bool) -> bool:
    """Returns whether an operation makes the program wait for the device."""
    if operation in _COPIES:
        return bool(far) and not lands_far
    indices = tree_leaves(args[1]) if operation in _INDEXING else []
    of_masks = any(isinstance(one, Far) and one.dtype in (torch.bool, torch.uint8) for one in indices)
    return bool(far) and (operation in _WAITS or of_masks)


def _require_one_device(operation: Any, args: Any, far: list[Far]) -> None:
    if operation in _COPIES or not far:
        return
    looked_at = (args[0], *args[2:]) if operation in _INDEXING else args
    for leaf in tree_leaves(looked_at):
        if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Far) and leaf.dim() > 0:
            raise RuntimeError(f"{operation}: expected all tensors on one device, found {ELSEWHERE} and {leaf.device}")


def _near(leaf: Any) -> Any:
    if isinstance(leaf, Far):
        return leaf.values_on_cpu
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf == ELSEWHERE else leaf


class _Computing(TorchDispatchMode):
    """Handles operations without a tensor of the device, such as those that create one."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})


class _Values(TorchFunctionMode):
    """Handles functions in which torch itself would use the device by name, which has no values."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_inference_mode_enabled():  # tensors like these cannot be made in it
            with torch.inference_mode(False), torch.no_grad():
                return _called(function, args, kwargs or {})
        return _called(function, args, kwargs or {})


def _called(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if _refuses and _copies_at_once(function, args, kwargs):
        raise WaitedFor(f"{function.__name__} waits for a copy to the device")
    if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
        device = torch.device(kwargs.pop("device"))
        return function(*args, **kwargs).to(device)
    if function is torch.Tensor.tolist and isinstance(args[0], Far):
        return args[0].cpu().tolist()
    return function(*args, **kwargs)


def _copies_at_once(function: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Returns whether a function copies to the device and does not say whether the program waits for it."""
    to = kwargs.get("device", args[1] if function is torch.Tensor.to and len(args) > 1 else None)
    if function is torch.Tensor.new_tensor and to is None:
        to = args[0].device
    if not isinstance(to, torch.device) or to != ELSEWHERE:
        return False
    leaves = function is torch.Tensor.to and args[0].device != ELSEWHERE and "non_blocking" not in kwargs
    return leaves or function in _MADE_OF_NUMBERS


@contextmanager
def never_waited_for(refuses: bool = True) -> Iterator[None]:
    """Makes waiting for the device an error in the block, or allows it."""
    global _refuses
    before, _refuses = _refuses, refuses
    try:
        yield
    finally:
        _refuses = before


@contextmanager
def device_elsewhere() -> Iterator[torch.device]:
    """Yields the device, to which models and tensors can be moved in the block."""
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # tied weights stay tied
    try:
        with ExitStack() as stack:
            stack.enter_context(_Computing())  # type: ignore[no-untyped-call]  # torch gives it no types
            stack.enter_context(_Values())
            yield ELSEWHERE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapping)


def values(module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the values of weights and buffers, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}

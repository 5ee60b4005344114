"""A GPU that is none: tensors that say they are on ``cuda``, whose numbers are on the CPU.

What would be wrong or slow on a real one is noticed: an operation on tensors of both devices fails as there, and
whatever makes the host wait for the device (a number that is read, a shape that depends on values, a copy that is not
pinned) is kept in ``waits`` with the line of code that asked for it. Results are those of the CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda")
ATEN = torch.ops.aten
READS = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "histc",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
"""Operations whose result, or whose result's shape, the host has to wait for."""
THROUGH = ("/torch/", "/torch\\", __file__, "<string>")
"""Files that act for whoever called them."""

waits: list[str] = []
"""``file:line: why`` of all that the host had to wait for."""


class OnGpu(torch.Tensor):
    """A tensor on the stand-in; ``numbers`` is the real one."""

    numbers: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> OnGpu:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, numbers.shape, numbers.stride(), numbers.storage_offset(), dtype=numbers.dtype, device=numbers.device
        )

    def __init__(self, numbers: torch.Tensor) -> None:
        self.numbers = numbers

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGpu({self.numbers!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        _check(func, args, kwargs)
        if torch.device(kwargs.get("device") or "cpu").type == "cuda":
            kwargs["device"] = torch.device("cpu")
        result = func(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))
        if "out" in kwargs:
            return kwargs["out"]
        if torch.Tag.inplace_view in func.tags:  # shape and strides of what stands for the numbers change too
            with no_dispatch():
                func(*args, **kwargs)
        if func._schema.is_mutable:
            return args[0]
        return tree_map(_on_gpu, result)


def _numbers(value: Any) -> Any:
    return value.numbers if isinstance(value, OnGpu) else value


def _on_gpu(value: Any) -> Any:
    return OnGpu(value) if isinstance(value, torch.Tensor) and not isinstance(value, OnGpu) else value


def _is_on_cpu(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, OnGpu)


def _check(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    name = func._schema.name.removeprefix("aten::")
    if name in READS or (func is ATEN.repeat_interleave.Tensor and kwargs.get("output_size") is None):
        _waited(f"{name} reads the device")
    if name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"):
        _check_indices(args)
        args = (args[0], *args[2:])
    if name == "copy_":
        if any(map(_is_on_cpu, args[:2])):
            _waited("copy_ between devices")
        return
    mixed = [value for value in tree_flatten((args, kwargs))[0] if _is_on_cpu(value) and value.dim() > 0]
    if mixed:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda and cpu ({_asker()})")


def _check_indices(args: tuple[Any, ...]) -> None:
    indices = [index for index in args[1] if index is not None]
    if isinstance(args[0], OnGpu) and any(map(_is_on_cpu, indices)):
        _waited("an index on the CPU of a tensor on the device")
    elif _is_on_cpu(args[0]) and any(isinstance(index, OnGpu) for index in indices):
        raise RuntimeError(f"indices should be on the CPU, as the tensor is ({_asker()})")
    masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
    fills = len(args) > 2 and args[2].numel() == 1 and len(indices) == 1  # as masked_fill, which needs no places
    if masks and not fills:
        _waited("a mask as index")


class _Functions(TorchFunctionMode):
    """Answers what would initialise a real GPU before any operation begins."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "to" and args and isinstance(args[0], torch.Tensor):
            return _to(func, *args, **kwargs)
        if name in ("cuda", "cpu") and args and isinstance(args[0], torch.Tensor):
            return _to(torch.Tensor.to, args[0], torch.device(name), **kwargs)
        if name == "pin_memory":
            pinned = args[0].clone()
            pinned.is_pinned_here = True
            return pinned
        if name in ("numpy", "__array__") and isinstance(args[0], OnGpu):
            raise TypeError(f"can't convert cuda device type tensor to numpy ({_asker()})")
        if name == "tolist" and isinstance(args[0], OnGpu):
            _waited("tolist reads the device")
            return args[0].numbers.tolist()
        if name == "scaled_dot_product_attention" and kwargs.get("is_causal") and isinstance(args[0], OnGpu):
            # Where it is computed step by step, torch makes the causal mask on what it takes for the tensors' device.
            shape = args[0].shape[-2], args[1].shape[-2]
            kwargs |= {"is_causal": False, "attn_mask": OnGpu(torch.ones(shape, dtype=torch.bool).tril())}
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            if name in ("tensor", "as_tensor"):
                _waited(f"torch.{name} copies to the device")
            result = func(*args, **{**kwargs, "device": torch.device("cpu")})
            return _on_gpu(result)
        return func(*args, **kwargs)


def _to(func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    args = tuple(torch.device(arg) if isinstance(arg, str) else arg for arg in args)
    device = next((arg for arg in args if isinstance(arg, torch.device)), kwargs.get("device"))
    if args and isinstance(args[0], torch.Tensor):
        device, args = args[0].device, (args[0].dtype, *args[1:])
    rest = tuple(arg for arg in args if not isinstance(arg, torch.device))
    non_blocking = bool(kwargs.pop("non_blocking", False))
    kwargs.pop("device", None)
    converted = func(tensor, *rest, **kwargs) if rest or kwargs else tensor
    if device is None or torch.device(device).type == tensor.device.type:
        return converted
    if torch.device(device).type == "cuda":
        if not (non_blocking and getattr(tensor, "is_pinned_here", False)):
            _waited("a copy to the device that is not pinned")
        return OnGpu(converted.detach().clone())
    _waited("a copy from the device")
    return _numbers(converted.detach()).clone()


def _asker() -> str:
    frame: Any = sys._getframe(1)
    while frame and any(part in frame.f_code.co_filename for part in THROUGH):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"


def _waited(why: str) -> None:
    waits.append(f"{_asker()}: {why}")


@contextmanager
def stand_in_gpu() -> Iterator[list[str]]:
    """For the block, ``cuda`` is the stand-in; gives the waits noticed so far."""
    waits.clear()
    with _Functions():
        yield waits


def put(module: torch.nn.Module) -> None:
    """Move a module's parameters and buffers."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = torch.nn.Parameter(OnGpu(value.detach().clone()), value.requires_grad)  # type: ignore[assignment]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = OnGpu(buffer.clone())


def numbers_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters' values, wherever they are."""
    return {name: _numbers(value.detach()) for name, value in module.named_parameters()}

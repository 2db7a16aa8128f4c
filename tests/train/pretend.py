"""Tensors that say they are on a GPU and lie in main memory, so that a test without one sees what a GPU would refuse.

An operation on tensors of both devices raises, as it would on a GPU. That torch's autograd knows no such device here
leaves the forward pass, under `no_grad`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
#: Operations whose result's size, or the number itself, has to be known to the CPU.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive", "equal"}
INDEXING = {"index", "index_put", "index_put_"}


class OnGpu(Tensor):
    """A tensor in main memory, `held`, that says otherwise."""

    held: Tensor

    def __new__(cls, held: Tensor) -> OnGpu:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        own = Tensor._make_wrapper_subclass(cls, held.size(), device=GPU, **layout)
        own.held = held
        return own

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of `gpu`")

    # Torch's own would ask a driver which device is the current one.
    def tolist(self) -> Any:
        _waited.append(_line())
        return self.held.tolist()

    item = tolist

    def __repr__(self, **_how: Any) -> str:
        return f"{self.tolist()} on {GPU}"

    def __float__(self) -> float:
        return float(self.tolist())

    def __int__(self) -> int:
        return int(self.tolist())

    __index__ = __int__

    def __bool__(self) -> bool:
        return bool(self.tolist())

    def contiguous(self, **how: Any) -> OnGpu:
        return OnGpu(self.held.contiguous(**how))

    def copy_(self, other: Tensor, *_how: Any) -> OnGpu:
        self.held.copy_(_held(other))
        return self

    def __invert__(self) -> OnGpu:
        return OnGpu(~self.held)

    def __getitem__(self, where: Any) -> OnGpu:
        _notice_flags(where)
        return OnGpu(self.held[_held(where)])

    def __setitem__(self, where: Any, values: Any) -> None:
        _notice_flags(where)
        if isinstance(values, Tensor) and values.ndim and not isinstance(values, OnGpu):
            raise RuntimeError(f"assigned from the other device in {_line()}")
        self.held[_held(where)] = _held(values)


def _held(tree: Any) -> Any:
    return tree_map(lambda x: x.held if isinstance(x, OnGpu) else x, tree)


_waited: list[str] = []
_PACKAGES = ("hatch_train", "transformers")


def _line() -> str:
    """Where in this package, or else in transformers, an operation was asked for."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not any(f"/{name}/" in frame.f_code.co_filename for name in _PACKAGES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _notice_flags(where: Any) -> None:
    if any(isinstance(x, OnGpu) and x.dtype == torch.bool for x in tree_flatten(where)[0]):
        _waited.append(_line())


class _Gpu(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flat = tree_flatten((args, kwargs))[0]
        there = [x for x in flat if isinstance(x, OnGpu)]
        here = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, OnGpu) and x.ndim]
        name = func.overloadpacket.__name__
        # A GPU's tensor may be indexed with the CPU's, at the price of a copy.
        allowed = {"_to_copy", "copy_", *(INDEXING if isinstance(flat[0], OnGpu) else ())}
        if there and here and name not in allowed:
            raise RuntimeError(f"{func} of tensors on both devices in {_line()}")
        if name in INDEXING:
            _notice_flags(args[1])
        elif there and name in WAITS:
            _waited.append(_line())
        result_there = bool(there) if (device := kwargs.get("device")) is None else torch.device(device).type == "cuda"
        own = {id(x.held): x for x in there}
        args, kwargs = _held((args, kwargs))
        if device is not None:
            kwargs["device"] = "cpu"
        result = _flash(*args, **kwargs) if name == "_flash_attention_forward" else func(*args, **kwargs)
        if not result_there:
            return result
        return tree_map(lambda x: x if not isinstance(x, Tensor) else own[id(x)] if id(x) in own else OnGpu(x), result)


def _flash(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, _other: Tensor, longest: int, *rest: Any, scale: float
) -> tuple[Tensor, ...]:
    """What torch's kernel computes and what it asks of its input, as (length, heads, width)."""
    assert {query.dtype, key.dtype, value.dtype} == {torch.bfloat16} and bounds.dtype == torch.int32
    assert {query.stride(-1), key.stride(-1), value.stride(-1)} == {1} and query.shape[-1] % 8 == 0
    lengths, causal = bounds.diff().tolist(), rest[2]
    assert longest == max(lengths) and sum(lengths) == len(query)
    outs = [
        nn.functional.scaled_dot_product_attention(
            *(part.transpose(0, 1)[None] for part in parts), is_causal=causal, scale=scale, enable_gqa=True
        )
        for parts in zip(query.split(lengths), key.split(lengths), value.split(lengths), strict=True)
    ]
    # What belongs to its backward pass is left out.
    return torch.cat([out[0].transpose(0, 1) for out in outs]), *[query.new_empty(0)] * 4


@contextmanager
def gpu(model: nn.Module) -> Iterator[list[str]]:
    """The model on it while this lasts; gives the lines that wait for it."""
    state = torch.get_rng_state()
    patches = {
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.get_rng_state": lambda device: state,
        "torch.cuda.set_rng_state": lambda state, device: None,
        "torch.cuda.is_bf16_supported": lambda: True,
        "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
        "hatch_train.kernels._has_flash": lambda device: device.type == "cuda",
        # Built from Python's numbers, of which those of a GPU are none.
        "torch.tensor": lambda data, *rest, _own=torch.tensor, **how: _own(_numbers(data), *rest, **how),
    }
    _waited.clear()
    with ExitStack() as stack, torch.no_grad():
        for name, replacement in patches.items():
            stack.enter_context(mock.patch(name, replacement))
        # As fake tensors do: torch.tensor(..., device=...) is copied there where this is seen.
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Gpu())
        _move(model)
        yield _waited


def _numbers(data: Any) -> Any:
    return tree_map(lambda x: x.item() if isinstance(x, Tensor) else x, _held(data))


def _move(model: nn.Module) -> None:
    moved: dict[Tensor, Any] = {}
    for module in model.modules():
        for kind in (module._parameters, module._buffers):
            for name, held in kind.items():
                if held is not None:
                    # Tied weights stay tied.
                    own = OnGpu(held.detach())
                    kind[name] = moved.setdefault(held, nn.Parameter(own, False) if kind is module._parameters else own)

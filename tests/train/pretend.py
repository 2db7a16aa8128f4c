"""Tensors that say they are on a GPU and lie in main memory, so that a test without one sees what a GPU would refuse.

An operation on tensors of both devices raises, as it would on a GPU. That torch's autograd knows no such device here
leaves the forward pass, under `no_grad`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

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

    def tolist(self) -> Any:
        _waited.append(_line())
        return self.held.tolist()


_waited: list[str] = []


def _line() -> str:
    """Where in this package, or else in transformers, an operation was asked for."""
    files = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()]
    own = [name for name in files if "/hatch_train/" in name or "/transformers/" in name]
    return own[-1] if own else files[0]


class _Gpu(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flat, form = tree_flatten((args, kwargs))
        there = [x for x in flat if isinstance(x, OnGpu)]
        here = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, OnGpu) and x.ndim]
        name = func.overloadpacket.__name__
        if there and here and name not in INDEXING | {"_to_copy", "copy_"}:
            raise RuntimeError(f"{func} of tensors on both devices in {_line()}")
        flags = [x for x in (args[1] if name in INDEXING else ()) if isinstance(x, OnGpu) and x.dtype == torch.bool]
        if there and (flags or name in WAITS):
            _waited.append(_line())
        result_there = bool(there) if (device := kwargs.get("device")) is None else torch.device(device).type == "cuda"
        own = {id(x.held): x for x in there}
        args, kwargs = tree_unflatten([x.held if isinstance(x, OnGpu) else x for x in flat], form)
        if device is not None:
            kwargs["device"] = "cpu"
        result = _flash(*args, **kwargs) if name == "_flash_attention_forward" else func(*args, **kwargs)
        if not result_there:
            return result
        return tree_map(lambda x: x if not isinstance(x, Tensor) else own[id(x)] if id(x) in own else OnGpu(x), result)


def _flash(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, _other: Tensor, longest: int, *rest: Any, scale: float
) -> tuple[Tensor]:
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
    return (torch.cat([out[0].transpose(0, 1) for out in outs]),)


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
    return tree_map(lambda x: x.held.item() if isinstance(x, OnGpu) else x, data)


def _move(model: nn.Module) -> None:
    moved: dict[Tensor, Any] = {}
    for module in model.modules():
        for kind in (module._parameters, module._buffers):
            for name, held in kind.items():
                if held is not None:
                    # Tied weights stay tied.
                    own = OnGpu(held.detach())
                    kind[name] = moved.setdefault(held, nn.Parameter(own, False) if kind is module._parameters else own)

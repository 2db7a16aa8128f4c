"""One process or many that train one model: started, joined, the weights sharded among them.

Each process is one GPU (on a CPU, one of `processes`). All run the same program; they differ in the packs that they
read and in the slice of every weight that they keep (FSDP2, `torch.distributed.fsdp.fully_shard`).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.tensor
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from hatch_train.errors import Stopped, TrainingError
from hatch_train.settings import RunSettings

#: How long a process that was asked to stop may take to save before it is killed.
SAVE_S = 600
#: Others wait this long while the first evaluates.
WAIT = timedelta(hours=24)
#: How often a process asks whether another has failed, and how long it then has to notice by itself.
ASK_S, NOTICE_S = 5.0, 10.0

T = TypeVar("T")


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """Number of processes, over all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    """Number of this process on its machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def to_start(recipe: RunSettings) -> int:
    """How many processes a run needs here: none beside this one where torchrun has started it."""
    if "RANK" in os.environ:
        return 1
    if (tasks := int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))) > 1:
        raise TrainingError(
            f"srun has started this command {tasks} times; let it start one task a node, and each of them torchrun"
        )
    gpus = 0 if recipe.device == "cpu" else torch.cuda.device_count()
    return recipe.processes or max(gpus, 1)


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `hatch-train ARGUMENTS` in so many processes on this machine, as torchrun does; the exit code."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What went wrong has been said by the process in which it did.
    logging.disable(logging.ERROR)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVE_S))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=str(uuid.uuid4()),
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hatch_train.cli", *arguments)
    except ChildFailedError as error:
        # A process killed by signal n has the code -n; a shell calls that 128 + n.
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    except SignalException:
        return 1
    return 0


class _Words:
    """The group by which processes tell each other small things, on the CPU; and the store that outlives them."""

    group: Any = None
    store: Any = None


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """The processes as one group while this lasts. Of an error in several of them only the first is raised; the others
    exit with its code, in silence."""
    if world() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    _Words.store, *_ = next(dist.rendezvous("env://", rank(), world()))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=_Words.store, rank=rank(), world_size=world())
    _Words.group = dist.new_group(backend="gloo", timeout=WAIT)
    over = threading.Event()
    threading.Thread(target=_leave_with_others, args=(over,), daemon=True).start()
    try:
        yield
        dist.barrier(_Words.group)
        dist.destroy_process_group()
    except Exception as error:
        # The group stays: to take NCCL's down may wait for what the others no longer send.
        if not _first_to_fail():
            os._exit(1 if isinstance(error, Stopped) else 2)
        raise
    finally:
        over.set()


def _first_to_fail() -> bool:
    try:
        return _Words.store.add("failed", 1) == 1
    except RuntimeError:
        return False  # the process that kept the store has failed before this one


def _leave_with_others(over: threading.Event) -> None:
    """End this process when another has failed: on a GPU it may wait in vain for what that one was to send."""
    while not over.wait(ASK_S):
        try:
            failed = _Words.store.check(["failed"])
        except RuntimeError:
            failed = True
        if failed and not over.wait(NOTICE_S):
            os._exit(2)


def words() -> Any:
    """The group on the CPU, which waits for hours where NCCL's gives up; None where there is one process."""
    return _Words.group if world() > 1 else None


def gather(thing: T) -> list[T]:
    """What every process has to say, in the order of their ranks. All must call it."""
    if world() == 1:
        return [thing]
    said: list[Any] = [None] * world()
    dist.all_gather_object(said, thing, group=_Words.group)
    return said


def by_the_first(work: Callable[[], T]) -> T:
    """What the process of rank 0 finds, known to all of them. Raises in all of them what it raises."""
    found: Any = None
    if rank() == 0:
        try:
            found = work()
        except Exception as error:
            if world() == 1:
                raise
            found = error
    found = gather(found)[0]
    if isinstance(found, Exception):
        raise found
    return found


class Shell(nn.Module):
    """Around a model: calls a function in its forward pass.

    FSDP2 gathers weights as forward passes begin, and the stages call many methods of a model, not one. So a whole
    computation of losses is made to be the forward pass of the outermost module.
    """

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, compute: Callable[[], Any]) -> Any:
        return compute()


def shard(shell: Shell, blocks: Sequence[nn.Module], device: torch.device) -> None:
    """Leave each process its slice of the fp32 weights, on its device; computation is in bf16 on a GPU.

    `blocks` are gathered one after the other as they run, all other weights at the beginning.
    """
    if world() == 1:
        shell.to(device)
        return
    kind = torch.bfloat16 if device.type == "cuda" else None
    # The inputs of a block are left alone: rotary angles stay in fp32 where the model wants them so.
    policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32, cast_forward_inputs=False)
    mesh = dist.init_device_mesh(device.type, (world(),))
    for module in (*blocks, shell):
        fully_shard(module, mesh=mesh, mp_policy=policy)


@contextmanager
def whole(shell: Shell) -> Iterator[None]:
    """All weights in every process while this lasts, to generate from without one process waiting for another."""
    parts = _parts(shell)
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not shell, recurse=False)
            part.reshard()


def _parts(shell: Shell) -> list[Any]:
    return [module for module in shell.modules() if isinstance(module, FSDPModule)]


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A sharded tensor in full; another as it is. All processes must call it."""
    return tensor.full_tensor() if isinstance(tensor, dist.tensor.DTensor) else tensor

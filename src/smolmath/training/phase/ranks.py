"""Several processes that train one model: who is the first, and what all of them must agree on.

In one process everything here is trivial: `gather` gives its argument back, `anywhere` too.
"""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback

from smolmath.errors import StageError

T = TypeVar("T")

# Words of torch when the process at the other end of a connection is gone.
LOST = ("Connection closed by peer", "Connection reset by peer", "Connection refused", "Broken pipe", "NCCL")


def join(cpu: bool) -> None:
    """Meet the other processes, where the launcher has started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    PartialState(cpu=cpu)
    if cpu:
        # accelerate calls the CPU of several processes "cpu:0", and torch.load, asked to put an optimiser there, knows
        # no such place.
        torch.serialization.register_package(0, lambda _: None, lambda storage, at: storage if at == "cpu:0" else None)


def threads_of_each(threads: int) -> int:
    """CPU threads of one process, of those that all processes on this machine have together."""
    return max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """The first process writes everything that is written."""
    return rank() == 0


def wait_for_all() -> None:
    if processes() > 1:
        dist.barrier()


def gather(values: list[T]) -> list[T]:
    """The values of all processes, in the processes' order; every process gets all."""
    return list(gather_object(values)) if processes() > 1 else values


def anywhere(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """For each flag, whether any process has raised it."""
    if processes() == 1:
        return list(flags)
    raised = torch.tensor([int(flag) for flag in flags], device=device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return [bool(flag) for flag in raised.tolist()]


def share(items: Sequence[T]) -> list[T]:
    """This process's part of the items, equally many in each: the last are repeated where they don't go up."""
    each = -(-len(items) // processes())
    mine = list(items[rank() * each : (rank() + 1) * each])
    return mine + [items[-1]] * (each - len(mine))


def joined(parts: list[T], count: int) -> list[T]:
    """All processes' results for `count` items that `share` has divided, in the items' order, without repetitions."""
    return gather(parts)[:count]


class SyncedGenerationCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """FSDP: every process calls the model equally often, also one whose completions have all ended.

    transformers sees to it for models that it has divided itself, and takes one that accelerate has for whole: the
    process that ends first would leave the others waiting for its part of the weights.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        model._is_fsdp_managed_module = True


def refuse_fallback(trainer: Any, asked: str | None) -> None:
    """accelerate takes plain data parallel, or none, where it can't do what was asked, and does not say so.

    Args: asked: `kind` of the config file; None: a single process.
    Raises: StageError.
    """
    got = trainer.accelerator.distributed_type.value
    if asked is not None and got != asked and not (processes() == 1 and asked in ("MULTI_CPU", "MULTI_GPU")):
        raise StageError(
            f"hardware.accelerate asks for {asked}, and accelerate trains by {got}. Its config file, the device and "
            "the installed packages don't fit together."
        )

"""The device: what it is, how fast it copies and multiplies, how much of its memory is in use."""

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

REPEATS = 20


def on_gpu() -> bool:
    return bool(torch.cuda.is_available())


def synchronise() -> None:
    """A GPU works behind the program: seconds mean something only once it has caught up."""
    if on_gpu():
        torch.cuda.synchronize()


def measured_machine() -> dict[str, Any]:
    """The device's name; bytes/s of a large copy, read and written; FLOP/s of a large matrix product.

    On a GPU in bf16, 1 GiB and 8,192³; on a CPU in fp32, 64 MiB and 1,024³. Medians of 20, after a first one.
    """
    device, dtype, size, width = (
        ("cuda", torch.bfloat16, 2**30, 8192) if on_gpu() else ("cpu", torch.float32, 2**26, 1024)
    )
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * size / _seconds(lambda: target.copy_(source))
    left, right = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))
    multiplied = 2 * width**3 / _seconds(lambda: torch.mm(left, right))
    return {
        "device": torch.cuda.get_device_name() if on_gpu() else "cpu",
        "torch": torch.__version__,
        "bytes_per_s": copied,
        "flops_per_s": multiplied,
    }


def _seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS + 1):
        synchronise()
        began = time.perf_counter()
        work()
        synchronise()
        taken.append(time.perf_counter() - began)
    return median(taken[1:])


def memory_in_use() -> int:
    """Bytes: of the whole GPU now, since vLLM's sleep mode allocates behind torch's back; of a process its peak."""
    if on_gpu():
        free, total = torch.cuda.mem_get_info()
        return max(total - free, torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

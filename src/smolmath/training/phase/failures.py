"""What ends a training, with its remedy: memory, disk, weights that are no numbers any more."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from smolmath.errors import StageError
from smolmath.running.launch.config import LostProcessError
from smolmath.training.phase.ranks import LOST, processes

_NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_NO_NUMBERS = ("probability tensor contains", "device-side assert triggered")  # sampling from NaN, on CPU and GPU
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_NOT_WRITTEN = ("failed writing file", "unexpected pos")  # torch's words for a full disk, and for other causes


@contextmanager
def explained(phase: str, state: Path) -> Iterator[None]:
    """Turn running out of memory or disk, or of numbers, into a StageError that says what to do; other errors pass.

    torch and safetensors report a full disk as errors of their own, in words that name neither disk nor file.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, OSError, RuntimeError, SafetensorError) as error:
        if _out_of_memory(error):
            raise StageError(
                f"{phase}: out of memory ({_first_line(error)}). Lower hardware.micro_batch, or with vLLM "
                f"hardware.vllm_memory: `dvc repro` then goes on from the last checkpoint in {state}. Or lower "
                "max_completion_length or max_length, or set gradient_checkpointing: true, which starts the phase "
                "afresh."
            ) from error
        if _out_of_space(error, state):
            raise StageError(
                f"{phase}: no space left to write ({_first_line(error)}). The last whole checkpoint is kept. Make "
                "room (`smolmath work` lists states of other versions, `dvc gc --workspace --all-commits` drops what "
                "no commit names) and run `dvc repro`, which goes on from there."
            ) from error
        if processes() > 1 and any(text in str(error) for text in LOST):
            raise LostProcessError(f"{phase}: another of its processes is gone ({_first_line(error)}).") from error
        if any(text in str(error) for text in _NO_NUMBERS):
            raise StageError(
                f"{phase}: the model's probabilities are no numbers any more, so the weights are lost. The last "
                "checkpoint before it is kept. Lower the learning rate, set max_grad_norm, or use model.dtype float32."
            ) from error
        raise


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in _NO_MEMORY)


def _out_of_space(error: BaseException, state: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if any(text in str(error) for text in _NO_SPACE):
        return True
    # Believed only if the disk is as good as full.
    full = shutil.disk_usage(state).free < 64 * 1024**2
    return full and any(text in str(error) for text in _NOT_WRITTEN)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

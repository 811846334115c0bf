"""Import this before torch: the same CPU kernels on every x86-64 machine, as far as float32 goes.

torch and its libraries choose kernels by what the processor can do, and AVX-512 adds up in another order than AVX2:
two machines would train different weights from one seed. AVX2 is what all have. The journal says what was used.

Products of 16-bit numbers are oneDNN's, which keeps the processor's own kernels: held to AVX2 it has none for them,
and a plain loop takes its place, up to 300 times slower. It computes nothing in float32 here (a test holds that).
"""

import os
import platform
from functools import cache

if platform.machine() in ("x86_64", "AMD64"):
    os.environ["ATEN_CPU_CAPABILITY"] = "avx2"  # torch's own kernels
    os.environ["MKL_CBWR"] = "AVX2"  # matrix products

BF16_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # as torch calls them, on x86-64 and on ARM


@cache
def arithmetic(dtype: str, device: str) -> str:
    """The type that products are computed in where `model.dtype` is `dtype`: float32 on a CPU without units for it.

    The same weights are exact in float32, and such a CPU computes 16-bit types several times slower. Says so, once.
    """
    import torch

    if device != "cpu" or dtype == "float32":
        return dtype
    if dtype == "bfloat16" and any(torch.cpu.get_capabilities().get(unit) for unit in BF16_UNITS):
        return dtype
    print(f"model.dtype: this processor is slow in {dtype}: it computes in float32. The saved weights are {dtype}")
    return "float32"

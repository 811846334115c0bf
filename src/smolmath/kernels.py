"""Import this before torch: the same CPU kernels on every x86-64 machine.

torch and its libraries choose kernels by what the processor can do, and AVX-512 adds up in another order than AVX2:
two machines would train different weights from one seed. AVX2 is what all have. The journal says what was used.
"""

import os
import platform

if platform.machine() in ("x86_64", "AMD64"):
    os.environ["ATEN_CPU_CAPABILITY"] = "avx2"  # torch's own kernels
    os.environ["MKL_CBWR"] = "AVX2"  # matrix products
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"

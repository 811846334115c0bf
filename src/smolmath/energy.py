"""Energy, where the machine tells: the processors' counters (RAPL) and NVIDIA's, of the whole machine."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_WH = 3600
# A processor's counter begins anew after some 260 kJ, three quarters of an hour at 100 W, and must be read before.
READ_EVERY_S = 300.0


class EnergyMeter:
    """Counts while its `with` block runs; `watt_hours` is what was used so far, None where nothing counts."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        # Packages only, intel-rapl:0: a package's own zones, intel-rapl:0:0, are counted in it.
        zones = [zone for zone in sorted(powercap.glob("*:*")) if zone.name.count(":") == 1]
        self._last = {zone: value for zone in zones if (value := _read(zone / "energy_uj")) is not None}
        self._cpu_uj = 0
        self._gpus = _nvidia_counters()
        self._gpu_start_mj = sum(read() for read in self._gpus)
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        if self._last:
            threading.Thread(target=self._keep_reading, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def watt_hours(self) -> float | None:
        self._update()
        if not self._last and not self._gpus:
            return None
        gpu_mj = sum(read() for read in self._gpus) - self._gpu_start_mj
        return (self._cpu_uj / 1e6 + gpu_mj / 1e3) / JOULES_PER_WH

    def _keep_reading(self) -> None:
        while not self._ended.wait(READ_EVERY_S):
            self._update()

    def _update(self) -> None:
        with self._lock:
            for zone, last in self._last.items():
                now = _read(zone / "energy_uj")
                if now is None:
                    continue
                around = 0 if now >= last else _read(zone / "max_energy_range_uj") or last
                self._cpu_uj += now - last + around
                self._last[zone] = now


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # most kernels let only root read it
        return None


def _nvidia_counters() -> list[Callable[[], int]]:
    """For each GPU that counts (Volta and newer) a function that gives its millijoules since the driver was loaded."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:  # no driver, no GPU, or one that does not count
        return []
    return [partial(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) for handle in handles]

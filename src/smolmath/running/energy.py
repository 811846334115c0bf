"""Energy, where the machine tells: the processors' counters (RAPL) and NVIDIA's, of the whole machine."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

import pynvml

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_WH = 3600
# A processor's counter begins anew after some 260 kJ, three quarters of an hour at 100 W, and must be read before.
READ_EVERY_S = 300.0


class EnergyMeter:
    """Counts while its `with` block runs; `watt_hours` is what was used so far, None where nothing counts."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        zones = _processor_zones(powercap)
        self._last = {zone: value for zone in zones if (value := _read(zone / "energy_uj")) is not None}
        self._cpu_uj = 0
        self._gpus = _nvidia_counters()
        self._gpu_start_mj = self._gpu_mj()
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
        gpu_mj = self._gpu_mj()
        if gpu_mj is None or self._gpu_start_mj is None or not (self._last or self._gpus):
            return None
        return (self._cpu_uj / 1e6 + (gpu_mj - self._gpu_start_mj) / 1e3) / JOULES_PER_WH

    def _gpu_mj(self) -> int | None:
        """None where a GPU counts no more: a finished stage must not fail for it."""
        try:
            return sum(read() for read in self._gpus)
        except pynvml.NVMLError:
            return None

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


def _processor_zones(powercap: Path) -> list[Path]:
    """Each package once, and the memory beside it; not what is inside a package (cores), nor what it is inside (psys).

    The same package can be listed twice, by intel-rapl and by intel-rapl-mmio.
    """
    found: dict[str, Path] = {}
    for zone in sorted(powercap.glob("*:*")):
        name = _text(zone / "name")
        if name.startswith("package"):
            found.setdefault(name, zone)
        elif name.startswith("dram"):
            found.setdefault(f"{_text(powercap / zone.name.rpartition(':')[0] / 'name')}/{name}", zone)
    return list(found.values())


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # most kernels let only root read it
        return None


def _nvidia_counters() -> list[Callable[[], int]]:
    """For each GPU that counts (Volta and newer) a function that gives its millijoules since the driver was loaded."""
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:  # no driver, no GPU, or one that does not count
        return []
    return [partial(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) for handle in handles]

"""The energy meter on counters that a test turns."""

import pytest

from smolmath.running import energy
from smolmath.running.energy import EnergyMeter


@pytest.fixture(autouse=True)
def gpus(monkeypatch):
    """The counters of the machine's GPUs: none, or those that a test appends."""
    counters = []
    monkeypatch.setattr(energy, "_nvidia_counters", lambda: counters)
    return counters


def zone(root, folder, name, microjoules, most=1_000_000_000):
    folder = root / folder
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")


def test_packages_and_their_memory_are_counted_once(tmp_path):
    def at(microjoules):
        zone(tmp_path, "intel-rapl:0", "package-0", microjoules)
        zone(tmp_path, "intel-rapl:0:0", "core", microjoules)
        zone(tmp_path, "intel-rapl:0:1", "dram", microjoules)
        zone(tmp_path, "intel-rapl:1", "package-1", microjoules)
        zone(tmp_path, "intel-rapl:2", "psys", microjoules)
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", microjoules)

    at(5_000_000)
    with EnergyMeter(tmp_path) as meter:
        at(41_000_000)
        assert meter.watt_hours() == pytest.approx(3 * 36 / 3600)  # two packages and a memory, 36 J each


def test_a_counter_that_begins_anew_is_followed(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 90_000_000, most=100_000_000)
    with EnergyMeter(tmp_path) as meter:
        zone(tmp_path, "intel-rapl:0", "package-0", 8_000_000, most=100_000_000)
        assert meter.watt_hours() == pytest.approx(18 / 3600)  # 10 J to the end, 8 J from the start


def test_gpus_are_added(tmp_path, gpus):
    counted = [1_000]
    gpus.append(lambda: counted[0])
    with EnergyMeter(tmp_path) as meter:
        counted[0] += 7_200  # millijoules
        assert meter.watt_hours() == pytest.approx(7.2 / 3600)


def test_a_gpu_that_counts_no_more_leaves_the_energy_unknown(tmp_path, gpus):
    def lost():
        raise energy.pynvml.NVMLError(energy.pynvml.NVML_ERROR_GPU_IS_LOST)

    gpus.append(lambda: 0)
    with EnergyMeter(tmp_path) as meter:
        gpus[0] = lost
        assert meter.watt_hours() is None


def test_a_machine_that_does_not_tell_has_no_energy(tmp_path):
    (tmp_path / "intel-rapl:0").mkdir()  # without a counter that may be read
    with EnergyMeter(tmp_path) as meter:
        assert meter.watt_hours() is None

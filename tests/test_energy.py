"""The energy meter on counters that a test turns."""

import pytest

from smolmath.energy import EnergyMeter


def zone(root, name, microjoules, most=1_000_000_000):
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")


def test_packages_are_added_up_and_their_own_zones_are_not(tmp_path):
    zone(tmp_path, "intel-rapl:0", 5_000_000)
    zone(tmp_path, "intel-rapl:1", 0)
    zone(tmp_path, "intel-rapl:0:0", 0)
    with EnergyMeter(tmp_path) as meter:
        zone(tmp_path, "intel-rapl:0", 41_000_000)
        zone(tmp_path, "intel-rapl:1", 36_000_000)
        zone(tmp_path, "intel-rapl:0:0", 900_000_000)
        assert meter.watt_hours() == pytest.approx((36 + 36) / 3600)  # joules


def test_a_counter_that_begins_anew_is_followed(tmp_path):
    zone(tmp_path, "intel-rapl:0", 90_000_000, most=100_000_000)
    with EnergyMeter(tmp_path) as meter:
        zone(tmp_path, "intel-rapl:0", 8_000_000, most=100_000_000)
        assert meter.watt_hours() == pytest.approx(18 / 3600)  # 10 J to the end, 8 J from the start


def test_a_machine_that_does_not_tell_has_no_energy(tmp_path):
    (tmp_path / "intel-rapl:0").mkdir()  # without a counter that may be read
    with EnergyMeter(tmp_path) as meter:
        assert meter.watt_hours() is None

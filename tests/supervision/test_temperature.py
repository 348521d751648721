import pytest

from installation.supervision.temperature import temperature


@pytest.mark.parametrize(
    ("zones", "told"),
    [
        ({}, None),
        ({"thermal_zone0": "54321\n"}, 54.321),
        ({"thermal_zone0": "41000\n", "thermal_zone1": "63500\n"}, 63.5),
        ({"thermal_zone0": "41000", "cooling_device0": "99000"}, 41.0),
        # No sensor behind it, one that is asleep, one that does not exist on this board.
        ({"thermal_zone0": "0", "thermal_zone1": "", "thermal_zone2": "-256000"}, None),
        ({"thermal_zone0": "2147483647", "thermal_zone1": "47000"}, 47.0),
    ],
)
def test_the_hottest_sensor_counts(tmp_path, zones, told):
    for name, text in zones.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "temp").write_text(text)
    assert temperature(tmp_path) == told


def test_a_machine_that_does_not_tell(tmp_path):
    assert temperature(tmp_path / "nowhere") is None

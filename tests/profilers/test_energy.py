from pathlib import Path

import pytest

from profilers.energy import EnergyMeter, RailMeter, RaplMeter, Spent, find_meter

PACKAGE = "class/powercap/intel-rapl:"


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


def packages(root: Path, *microjoules: int) -> Path:
    for index, value in enumerate(microjoules):
        folder = f"{PACKAGE}{index}"
        write(
            root,
            {
                f"{folder}/name": f"package-{index}",
                f"{folder}/energy_uj": value,
                f"{folder}/max_energy_range_uj": 999_999,
            },
        )
    return root


def found(root: Path) -> EnergyMeter:
    meter = find_meter(root)
    assert meter is not None
    return meter


def test_a_machine_without_counters_has_no_meter(tmp_path: Path) -> None:
    assert find_meter(tmp_path) is None


def test_the_energy_of_all_packages_is_added_up(tmp_path: Path) -> None:
    meter = found(packages(tmp_path, 100_000, 200_000))
    packages(tmp_path, 600_000, 450_000)

    assert isinstance(meter, RaplMeter)
    assert meter.joules() == pytest.approx(0.75)


def test_a_counter_that_starts_again_from_zero_goes_on(tmp_path: Path) -> None:
    meter = found(packages(tmp_path, 900_000))
    packages(tmp_path, 100_000)
    once = meter.joules()
    packages(tmp_path, 50_000)
    twice = meter.joules()

    assert once == pytest.approx(0.2)
    assert twice == pytest.approx(0.2 + 0.95)


def test_parts_of_a_package_and_the_whole_platform_are_not_counted_twice(tmp_path: Path) -> None:
    packages(tmp_path, 0)
    for folder, name in ((f"{PACKAGE}0:0", "core"), (f"{PACKAGE}1", "psys")):
        write(
            tmp_path,
            {
                f"{folder}/name": name,
                f"{folder}/energy_uj": 0,
                f"{folder}/max_energy_range_uj": 999_999,
            },
        )
    meter = found(tmp_path)
    write(tmp_path, {f"{PACKAGE}0/energy_uj": 1000, f"{PACKAGE}0:0/energy_uj": 700})
    write(tmp_path, {f"{PACKAGE}1/energy_uj": 5000})

    assert meter.joules() == pytest.approx(0.001)


def test_a_counter_that_may_not_be_read_is_no_meter(tmp_path: Path) -> None:
    packages(tmp_path, 0)
    counter = tmp_path / f"{PACKAGE}0/energy_uj"
    counter.unlink()
    counter.mkdir()  # reading it fails for every user, root too

    assert find_meter(tmp_path) is None


def test_a_boards_rail_is_integrated_over_time() -> None:
    watts = iter([10.0, 20.0, 20.0])
    clock = iter([0.0, 1.0, 3.0])
    meter = RailMeter(lambda: next(watts), lambda: next(clock))

    first, second = meter.joules(), meter.joules()

    assert first == pytest.approx(15)
    assert second == pytest.approx(15 + 40)


def rail(root: Path) -> Path:
    sensor = "class/hwmon/hwmon3"
    return write(
        root,
        {
            f"{sensor}/in1_label": "VDD_CPU",
            f"{sensor}/in2_label": "VDD_IN",
            f"{sensor}/in2_input": 5000,
            f"{sensor}/curr2_input": 2000,
        },
    )


def test_a_jetsons_input_rail_is_found_by_its_label(tmp_path: Path) -> None:
    meter = found(rail(tmp_path))

    assert isinstance(meter, RailMeter)
    assert meter.joules() >= 0


def test_a_board_without_an_input_rail_has_no_meter(tmp_path: Path) -> None:
    assert find_meter(write(tmp_path, {"class/hwmon/hwmon0/in1_label": "Vcore"})) is None


@pytest.mark.parametrize("text", ["", "odd", "-5", "1.5", "\u00b2"])
@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj"])
def test_a_counter_of_odd_text_is_no_meter(tmp_path: Path, file: str, text: str) -> None:
    write(packages(tmp_path, 0), {f"{PACKAGE}0/{file}": text})

    assert find_meter(tmp_path) is None


def test_where_one_source_is_broken_the_next_one_is_used(tmp_path: Path) -> None:
    write(packages(rail(tmp_path), 0), {f"{PACKAGE}0/energy_uj": "odd"})

    assert isinstance(find_meter(tmp_path), RailMeter)


def test_a_rail_of_odd_text_is_no_meter(tmp_path: Path) -> None:
    write(rail(tmp_path), {"class/hwmon/hwmon3/in2_input": "odd"})

    assert find_meter(tmp_path) is None


def test_energy_is_counted_from_a_beginning(tmp_path: Path) -> None:
    meter = found(packages(tmp_path, 100_000))
    packages(tmp_path, 200_000)
    spent = Spent(meter)
    packages(tmp_path, 500_000)

    assert spent.joules() == pytest.approx(0.3)
    assert Spent(None).joules() is None


def test_a_meter_that_fails_is_not_asked_again(tmp_path: Path) -> None:
    spent = Spent(found(packages(tmp_path, 100_000)))
    write(tmp_path, {f"{PACKAGE}0/energy_uj": "gone"})
    failed = spent.joules()
    packages(tmp_path, 500_000)

    assert (failed, spent.joules()) == (None, None)

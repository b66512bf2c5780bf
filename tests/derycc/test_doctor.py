from dataclasses import replace
from pathlib import Path

import pytest

from derycc import __version__
from derycc.doctor import BackendStatus, Diagnosis, Machine, diagnose
from targets.errors import TargetUnavailableError

MACHINE = Machine("Linux x86_64", "A processor", 4, 2.5, 8_000_000_000, "performance", None)
HEALTHY = Diagnosis(
    derycc="0.1.0",
    python="3.11.7",
    machine=MACHINE,
    packages=(("torch", "2.14.1"), ("tensorrt", None)),
    backends=(BackendStatus("ort", None, (("onnxruntime", "1.31.1"),)),),
    targets=("cpu: backend ort, threads 2",),
    home=".derycc",
    home_problem=None,
)


def test_this_machine_is_diagnosed_with_both_shipped_backends(tmp_path: Path) -> None:
    found = diagnose(tmp_path / "home")

    assert found.derycc == __version__
    assert {backend.name for backend in found.backends} >= {"ort", "reference"}
    assert found.machine.cores >= 1
    assert found.problems == ()
    assert found.exit_code == 0


def test_diagnosing_does_not_create_the_home_folder(tmp_path: Path) -> None:
    diagnose(tmp_path / "home")

    assert list(tmp_path.iterdir()) == []


def test_a_healthy_machine_is_printed_line_by_line() -> None:
    assert "\n".join(HEALTHY.lines()) == (
        "derycc            0.1.0\n"
        "python            3.11.7\n"
        "system            Linux x86_64\n"
        "processor         A processor, 4 usable cores, quota 2.5\n"
        "clocks            governor performance, turbo unknown\n"
        "memory            8.0 GB\n"
        "home              .derycc\n"
        "\n"
        "torch             2.14.1\n"
        "tensorrt          not installed\n"
        "\n"
        "backend ort       onnxruntime 1.31.1\n"
        "target            cpu: backend ort, threads 2\n"
        "\n"
        "No problem found."
    )


def test_a_missing_required_package_is_a_problem_and_an_optional_one_is_not() -> None:
    found = replace(HEALTHY, packages=(("torch", None), ("tensorrt", None)))

    assert found.exit_code == 6
    assert found.problems == (
        "torch is not installed. Install derycc's dependencies: pip install derycc",
    )


def test_only_the_default_backend_must_be_usable() -> None:
    broken = BackendStatus("ort", "onnxruntime cannot be imported. Install it.")
    other = BackendStatus("other", "No device.")
    found = replace(HEALTHY, backends=(broken, other))

    assert found.problems == ("onnxruntime cannot be imported. Install it.",)
    assert "backend other     No device." in found.lines()
    assert "problem: onnxruntime cannot be imported. Install it." in found.lines()


def test_a_backend_that_cannot_be_loaded_is_listed_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise TargetUnavailableError(f"{name} cannot be loaded.")

    monkeypatch.setattr("derycc.doctor.get_backend", fail)
    found = diagnose(tmp_path)

    assert BackendStatus("reference", "reference cannot be loaded.") in found.backends
    assert found.problems == ("ort cannot be loaded.",)


def test_a_home_below_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"

    found = diagnose(home)

    assert found.exit_code == 6
    assert found.problems == (
        f"The home folder {home} cannot be written: {tmp_path / 'file'} is not a folder. "
        "Choose another folder.",
    )


def test_a_read_only_home_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)

    found = diagnose(tmp_path)

    assert f"home              {tmp_path} (not writable)" in found.lines()
    assert "cannot be written" in str(found.home_problem)

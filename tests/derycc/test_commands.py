"""Commands: what they print, what they refuse, and with which exit code."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derycc.export_usage import build_usage

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from derycc.cli import main; main()"
)
"""Runs the command line even where this test runs in the background, with SIGINT ignored."""


def test_an_unknown_donor_is_named_with_the_known_ones(workshop: "Workshop") -> None:
    result = workshop.run("build", "--latency", "75% of test_resnot")

    assert workshop.refusal(result, 2) == (
        "Unknown donor 'test_resnot'. Did you mean 'test_resnet.random'? "
        "Known: test_efficientnet.random, test_resnet.random."
    )


def test_an_unknown_architecture_is_named_with_the_nearest(
    workshop: "Workshop", tmp_path: Path
) -> None:
    result = workshop.derycc("zoo", "list", "--home", tmp_path, "--zoo", "random:mobilenetv2_00")

    message = workshop.refusal(result, 2)
    assert message.startswith("Unknown zoo or architecture of timm 'mobilenetv2_00'. Did you mean")


def test_an_unknown_target_is_named_with_the_nearest(workshop: "Workshop") -> None:
    result = workshop.run("profile", "--target", "cpuu")

    message = workshop.refusal(result, 2)
    assert (
        message
        == "Unknown target 'cpuu'. Did you mean 'cpu' or 'cuda'? Known: cpu, cuda, reference."
    )


def test_an_unknown_zoo_file_is_named(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.derycc("zoo", "list", "--home", tmp_path, "--zoo", "no/such.safetensors")

    message = workshop.refusal(result, 2)
    assert message.startswith("There is no folder or file 'no/such.safetensors'. Give a folder")


def test_an_unknown_collection_is_refused(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.derycc("zoo", "fetch", "everything", "--home", tmp_path / "home")

    assert workshop.refusal(result, 2) == "Unknown collection 'everything'. Known: demo."
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["build", "sweep"])
def test_a_budget_in_parsecs_is_refused_before_anything_is_opened(
    workshop: "Workshop", tmp_path: Path, command: str
) -> None:
    result = workshop.run(command, "--latency", "10 parsecs", home=tmp_path / "home")

    assert workshop.refusal(result, 2).startswith(
        "Cannot read '10 parsecs' as a latency. Use a number and a unit (us, ms, s), e.g. "
        "--latency 10ms"
    )
    assert not (tmp_path / "home").exists()


def test_a_count_that_is_no_number_is_refused(workshop: "Workshop") -> None:
    result = workshop.run("build", "--latency", "10ms", "--params", "many")

    assert workshop.refusal(result, 2).startswith("Cannot read 'many' as ")


def test_unreachable_weights_are_the_zoos_fault(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.process(
        "zoo", "list", "--home", "home", "--zoo", "timm:resnet18", cwd=tmp_path
    )

    assert result.returncode == 7
    assert result.stdout == ""
    assert "\nderycc: Cannot fetch the pretrained weights 'resnet18." in result.stderr
    assert "HF_HUB_OFFLINE is set" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_folder_of_photographs_is_refused(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.run("build", "--latency", "10ms", "--data", tmp_path)

    assert workshop.refusal(result, 7).startswith(f"No pictures in '{tmp_path}'. Give a folder")


def test_broken_photographs_are_named(workshop: "Workshop", tmp_path: Path) -> None:
    folder = workshop.copy("plain", tmp_path)
    (folder / "3.png").write_bytes(b"no picture")

    result = workshop.run("build", "--latency", "10ms", "--data", folder)

    message = workshop.refusal(result, 7)
    assert message.startswith(f"1 of 10 pictures in '{folder}' cannot be read: '3.png'. The first:")


def test_a_file_where_the_home_folder_should_be_is_refused(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.write_text("a file")

    result = workshop.run("profile", home=home)

    assert workshop.refusal(result, 2) == (
        f"Cannot make the workspace folder {home}: File exists. Name another with --home or the "
        "DERYCC_HOME variable."
    )


def test_a_damaged_cost_store_is_refused_and_kept(workshop: "Workshop", tmp_path: Path) -> None:
    store = tmp_path / "costs.sqlite"
    store.write_bytes(b"no database" * 100)

    result = workshop.run("profile", home=tmp_path)

    assert str(store) in workshop.refusal(result, 2)
    assert store.read_bytes() == b"no database" * 100


def test_an_impossible_budget_says_what_is_possible(workshop: "Workshop") -> None:
    result = workshop.run("build", "--latency", "1us")

    message = workshop.refusal(result, 3)
    assert message.startswith(
        "No network of this zoo is predicted to run within 0.001 ms. The fastest possible takes "
    )
    assert message.endswith("Ask for that much, allow more stitches, or add faster donors.")


def test_limits_that_nothing_keeps_are_said(workshop: "Workshop") -> None:
    result = workshop.run("build", "--latency", "1s", "--params", "10", "--macs", "1M")

    message = workshop.refusal(result, 3)
    assert message == (
        "No network of this zoo is within the limits asked for (latency (upper end) 1000 ms; "
        "number of stitches 2; number of parameters 10; number of MACs 1 M). Of all networks the "
        "least number of parameters is 155.1 k; the least number of MACs is 7.238 M. Ask for that "
        "much, or use other donors."
    )


def test_a_folder_that_is_no_build_is_left_alone(workshop: "Workshop", tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    result = workshop.run("build", "--latency", "1.2ms", "--out", tmp_path)

    assert workshop.refusal(result, 2) == (
        f"{tmp_path} exists and is no build of derycc, so it is not overwritten. Name another "
        "folder with --out."
    )
    assert "solving" not in result.stderr
    assert workshop.content(tmp_path).keys() == {"thesis.txt"}


def test_ctrl_c_during_a_profile_keeps_what_was_measured(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = workshop.copy("home", tmp_path)
    for path in home.glob("costs.sqlite*"):
        path.unlink()
    words = ["profile", *workshop.words(home), "--zoo", "random:test_resnet"]

    with subprocess.Popen(
        [sys.executable, "-c", START, *words],
        env=workshop.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not rounds(home):
            time.sleep(0.01)
        process.send_signal(2)
        out, said = process.communicate(timeout=60)
    kept = rounds(home)
    again = workshop.run("profile", "--zoo", "random:test_resnet", home=home)

    assert (process.returncode, out) == (130, "")
    last = said.splitlines()[-1]
    assert last.startswith("derycc: Measuring was interrupted after ")
    assert last.endswith("They are kept: the same command goes on from there.")
    assert "Traceback" not in said
    (total,) = re.findall(r"measuring on reference \((\d+) steps\)", said)
    assert again.exit_code == 0
    assert 0 < kept < rounds(home) == int(total)  # nothing was measured twice


def rounds(home: Path) -> int:
    """Measurements in the store."""
    path = home / "costs.sqlite"
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path)) as store:
            return int(store.execute("SELECT count(*) FROM rounds").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # its tables are being made


def test_a_dry_build_writes_and_measures_nothing(workshop: "Workshop", tmp_path: Path) -> None:
    before = workshop.content(workshop.home)

    result = workshop.run("build", "--latency", "1.2ms", "--dry-run", "--out", tmp_path / "out")

    assert result.exit_code == 0
    assert result.stdout == (
        "Target reference, budget 1.2ms, at most 2 stitches, input sizes 64 px.\n"
        "Donors: test_efficientnet.random, test_resnet.random.\n"
        "Everything is measured; the budget is 1.20 ms.\n"
        "Would build and measure at most 6 candidates.\n"
        f"Would write {tmp_path / 'out'}. Nothing was built (--dry-run).\n"
    )
    assert workshop.content(workshop.home) == before
    assert list(tmp_path.iterdir()) == []


def test_a_dry_build_does_not_measure_the_donor_that_a_share_counts_from(
    workshop: "Workshop",
) -> None:
    before = workshop.content(workshop.home)

    result = workshop.run("build", "--latency", "50% of test_resnet", "--dry-run", "--json")

    assert (
        "Would first measure test_resnet at its own input size for the budget."
        in (json.loads(result.stdout)["plan"])
    )
    assert workshop.content(workshop.home) == before


def test_a_dry_profile_of_a_new_home_says_what_it_would_do(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = tmp_path / "home"

    words = ("--zoo", "random:test_resnet", "--dry-run")
    result = workshop.run("profile", *words, home=home)
    build = workshop.run("build", "--latency", "50% of test_resnet", *words, home=home)

    assert result.exit_code == build.exit_code == 0
    assert " models still to measure, " in result.stdout
    assert result.stdout.endswith("Nothing was measured (--dry-run).\n")
    assert "Would first measure " in build.stdout
    assert not home.exists()


def test_a_dry_profile_for_a_program_is_json(workshop: "Workshop") -> None:
    result = workshop.run("profile", "--dry-run", "--json")

    assert json.loads(result.stdout)["to_measure"] == 0


def test_a_profile_prints_a_table_and_notes(workshop: "Workshop") -> None:
    result = workshop.run("profile")

    assert result.exit_code == 0
    assert "Measured on reference" in result.stdout
    assert "test_resnet.random" in result.stdout
    assert "measurements saved." in result.stdout
    assert "measuring on" not in result.stderr


def test_a_profile_for_a_program_is_json_alone(workshop: "Workshop") -> None:
    result = workshop.run("profile", "--json")

    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert [donor["donor"] for donor in found["donors"]] == [
        "test_efficientnet.random",
        "test_resnet.random",
    ]
    assert found["target"] == "reference"


def test_a_fresh_profile_measures_everything_again(workshop: "Workshop", tmp_path: Path) -> None:
    home = workshop.copy("home", tmp_path)
    before = rounds(home)

    result = workshop.run("profile", "--fresh", "--zoo", "random:test_resnet", home=home)

    assert result.exit_code == 0
    assert rounds(home) > before


def test_donors_are_listed_with_licence_and_size(workshop: "Workshop") -> None:
    words = workshop.words()
    result = workshop.derycc("zoo", "list", *words[:2], *words[4:6])

    assert result.exit_code == 0
    assert "test_efficientnet.random" in result.stdout
    assert "0.36 M" in result.stdout
    assert "random weights" in result.stdout


def test_donors_for_a_program_have_no_path_where_there_is_no_file(workshop: "Workshop") -> None:
    words = workshop.words()
    result = workshop.derycc("zoo", "list", *words[:2], *words[4:6], "--json")

    found = json.loads(result.stdout)
    assert [model["weights_path"] for model in found] == [None, None]
    assert found[0]["preprocessing"]["input_size"] == 160


def test_fetching_prints_where_everything_is(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.fetch.fetch_demo", lambda home, _: {"donor": home / "zoo/donor"})
    monkeypatch.setattr("compiler.fetch.fetch_images", lambda home, _: home / "images")

    result = workshop.derycc("zoo", "fetch", "demo", "--home", tmp_path)

    assert result.exit_code == 0
    assert result.stdout == (
        f"donor  {tmp_path / 'zoo/donor'}\nphotographs  {tmp_path / 'images'}\n"
    )


def test_a_build_says_what_it_is_and_where(workshop: "Workshop") -> None:
    said = (workshop.root / "build.txt").read_text()

    assert said.startswith("Network at 64 px, ")
    assert "  stitch   " in said
    assert "Promised and measured" in said
    assert "agreement, calibration" in said
    assert f"Written to {workshop.build}: model.onnx, " in said
    assert [line for line in build_usage(workshop.build) if line not in said] == []


def test_the_same_command_twice_gives_the_same_network(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = workshop.copy("home", tmp_path)
    out = workshop.copy("build", tmp_path)

    result = workshop.run("build", "--latency", "1.2ms", "--out", out, "--json", home=home)

    papers = json.loads(result.stdout)
    assert result.stderr == ""
    assert papers == json.loads((out / "manifest.json").read_text())
    same = ("derycc.lock", "model.onnx", "network.safetensors", "labels.txt")
    old, new = workshop.content(workshop.build), workshop.content(out)
    assert [old[name] for name in same] == [new[name] for name in same]
    assert old.keys() == new.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "home"]


def test_fitting_everything_again_follows_the_same_lock(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = workshop.copy("home", tmp_path)
    for kind in ("networks", "stitches"):
        (fitted,) = home.glob(f"cache/**/{kind}")
        shutil.rmtree(fitted)

    result = workshop.run("build", "--latency", "1.2ms", home=home)

    assert result.exit_code == 0, result.output
    old, new = map(workshop.content, (workshop.build, home / "builds" / "reference-1.2ms"))
    same = ("derycc.lock", "model.onnx", "network.safetensors")
    assert [old[name] for name in same] == [new[name] for name in same]


def test_a_sweep_prints_donors_budgets_and_refusals(workshop: "Workshop") -> None:
    result = workshop.run("sweep", "--latency", "1.2ms", "--latency", "1us")

    assert result.exit_code == 0, result.output
    assert "Donors alone, at their own input size" in result.stdout
    assert "Best measured network for each budget" in result.stdout
    assert "agreement calibration" in result.stdout
    assert "1us: No network of this zoo is predicted to run within 0.001 ms." in result.stdout
    assert "Note: Quality is measured on 5 held-out photographs" in result.stdout


def test_a_sweep_for_a_program_is_json_alone(workshop: "Workshop") -> None:
    result = workshop.run("sweep", "--points", "2", "--json", "--data", workshop.labelled)

    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert [donor["network"]["input_size"] for donor in found["donors"]] == [160, 160]
    assert len(found["points"]) == 2
    for point in found["points"]:
        assert point["within_budget"]
        assert point["interval_us"][1] <= point["budget_us"]


def test_a_build_is_measured_again(workshop: "Workshop") -> None:
    result = workshop.derycc("bench", workshop.build, "--home", workshop.root / "bench")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "budget",
        "recorded",
        "measured",
    ]


def test_a_build_that_misses_its_budget_is_said_so(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    manifest = json.loads((build / "manifest.json").read_text())
    manifest["latency"]["budget_us"] = 800.0
    (build / "manifest.json").write_text(json.dumps(manifest))

    result = workshop.derycc("bench", build, "--home", tmp_path / "home", "--json")

    message = workshop.refusal(result, 4)
    assert message.endswith(
        "its budget is 0.80 ms. Measure again on a quiet machine, or build for this machine "
        "as it is now."
    )
    assert json.loads(result.stdout)["within_budget"] is False


def test_what_is_no_build_cannot_be_benched(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.derycc("bench", tmp_path / "nothing", "--home", tmp_path)

    assert workshop.refusal(result, 2) == (
        f"{tmp_path / 'nothing'} is no finished build: its manifest.json cannot be read (No such "
        "file or directory). Give a folder that `derycc build` has written."
    )


def test_an_interrupted_command_ends_with_130(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compiler.zoo.open_zoo", interrupt)

    result = workshop.derycc("zoo", "list", "--home", tmp_path)

    assert workshop.refusal(result, 130) == (
        "Interrupted. Whatever was measured is kept: the same command goes on from there."
    )

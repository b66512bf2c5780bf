import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from sqlalchemy import update

from backends.backend import Array
from backends.model import ExportedModel
from backends.reference import inference_seconds
from backends.registry import get_backend
from profilers.environment import Environment
from profilers.jobs import Job, Reading
from profilers.profile import ProfilePlan, ProfileProgress, plan, profile
from profilers.protocol import Protocol
from profilers.store import CostStore, RoundsDone
from profilers.surroundings import capture
from profilers.tables import rounds
from targets.errors import Interrupted, TargetUnavailableError, UsageError, WorkspaceError
from targets.target import get_target

ROOT = Path(__file__).parents[2]
TARGET = get_target("reference")
Models = tuple[ExportedModel, ...]

# A run that says each measurement and then waits, so that it can be ended at a known place.
SCRIPT = """
import signal, sys, time
from pathlib import Path
from backends.model import ExportedModel
from profilers.jobs import Job, Reading
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.errors import Interrupted
from targets.target import get_target

# A shell that starts the tests in the background has them ignore Ctrl-C, and us with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

def say(progress):
    print(progress.done, flush=True)
    if progress.done == 3:
        time.sleep(1000)

models = [ExportedModel.load(path) for path in sorted(Path(sys.argv[2]).iterdir())]
protocol = Protocol(rounds=2, min_units=3, unit_seconds=0.001, warmup_seconds=0.001)
with CostStore(sys.argv[1]) as store:
    try:
        profile(models, get_target("reference"), store=store, protocol=protocol, progress=say)
    except Interrupted as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
"""


def start(store: Path, folder: Path, models: Models) -> subprocess.Popen[bytes]:
    """Starts the script in its own process group and waits until it has measured three times."""
    folder.mkdir()
    for model in models:
        model.save(folder / f"{model.name}.onnx")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store), str(folder)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder.parent)},  # whoever is killed cannot tidy up
        start_new_session=True,
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    return process


def finish(store: Path, models: Models, protocol: Protocol) -> tuple[int, dict[str, RoundsDone]]:
    """Runs to the end in this process; returns measurements made now, and what is there."""
    seen: list[ProfileProgress] = []
    with CostStore(store) as kept:
        profile(models, TARGET, store=kept, protocol=protocol, progress=seen.append)
        environment = Environment.capture(TARGET, get_backend("reference"))
        keys = [model.structure for model in models]
        return len(seen), kept.rounds_done(environment, protocol, keys)


def test_every_model_gets_its_cost(store: CostStore, models: Models, protocol: Protocol) -> None:
    table = profile(models, TARGET, store=store, protocol=protocol)

    for model in models:
        seconds = inference_seconds(ModelProto.FromString(model.onnx))
        assert table.cost(model).median_us == pytest.approx(seconds * 1e6)
        assert table.cost(model).name == model.name
        assert [len(samples) for samples in table.cost(model).rounds] == [6, 6]
        assert not table.cost(model).noisy
    assert table.failures == {}
    assert table.environment.target == "reference"


def test_models_of_one_structure_are_measured_once(
    store: CostStore, models: Models, twin: ExportedModel, protocol: Protocol
) -> None:
    seen: list[ProfileProgress] = []

    table = profile([models[0], twin], TARGET, store=store, protocol=protocol, progress=seen.append)

    assert len(table.costs) == 1
    assert table.cost(twin) is table.cost(models[0])
    assert [(step.done, step.total) for step in seen] == [(1, 2), (2, 2)]


def test_what_the_store_has_is_not_measured_again(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    seen: list[ProfileProgress] = []
    first = profile(models[:3], TARGET, store=store, protocol=protocol)

    again = profile(models, TARGET, store=store, protocol=protocol, progress=seen.append)

    assert {step.name for step in seen} == {models[3].name}
    assert {key: again.costs[key] for key in first.costs} == first.costs


def test_more_rounds_are_added_to_those_that_are_there(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    profile(models[:1], TARGET, store=store, protocol=protocol)
    seen: list[ProfileProgress] = []

    more = replace(protocol, rounds=3)
    table = profile(models[:2], TARGET, store=store, protocol=more, progress=seen.append)

    assert len(seen) == 1 + 3
    assert [len(table.cost(model).rounds) for model in models[:2]] == [3, 3]


def test_fresh_rounds_replace_the_old_ones_and_only_these_are_used_afterwards(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    profile(models[:1], TARGET, store=store, protocol=replace(protocol, rounds=3))
    seen: list[ProfileProgress] = []

    table = profile(models[:1], TARGET, store=store, protocol=protocol, fresh=True)
    later = profile(models[:1], TARGET, store=store, protocol=protocol, progress=seen.append)

    environment = table.environment
    key = models[0].structure
    assert len(table.cost(key).rounds) == 2
    assert later == table
    assert seen == []
    assert store.rounds_done(environment, protocol, [key]) == {key: RoundsDone(1, 2, 5)}


def press_after(count: int) -> Callable[[ProfileProgress], None]:
    """Ctrl-C after so many measurements."""

    def press(progress: ProfileProgress) -> None:
        if progress.done == count:
            raise KeyboardInterrupt

    return press


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_fresh_run_that_was_cut_short_goes_on_where_it_was(
    store: CostStore, models: Models, protocol: Protocol, count: int
) -> None:
    profile(models[:2], TARGET, store=store, protocol=protocol)
    with pytest.raises(Interrupted, match="the same command goes on from there"):
        profile(
            models[:2],
            TARGET,
            store=store,
            protocol=protocol,
            fresh=True,
            progress=press_after(count),
        )
    seen: list[ProfileProgress] = []

    table = profile(
        models[:2], TARGET, store=store, protocol=protocol, fresh=True, progress=seen.append
    )

    assert len(seen) == 4 - count
    done = store.rounds_done(table.environment, protocol, [model.structure for model in models])
    assert set(done.values()) == {RoundsDone(1, 2, 4)}


def test_a_fresh_run_that_was_cut_short_long_ago_is_not_gone_on_with(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    with pytest.raises(Interrupted):
        profile(
            models[:1], TARGET, store=store, protocol=protocol, fresh=True, progress=press_after(1)
        )
    with store.transaction() as connection:
        connection.execute(update(rounds).values(measured=datetime(2020, 1, 1, tzinfo=UTC)))

    table = profile(models[:1], TARGET, store=store, protocol=protocol, fresh=True)

    key = models[0].structure
    assert store.rounds_done(table.environment, protocol, [key]) == {key: RoundsDone(2, 2, 3)}


def test_a_fresh_run_after_a_whole_one_measures_everything_anew(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    seen: list[ProfileProgress] = []
    profile(models[:1], TARGET, store=store, protocol=protocol, fresh=True)

    table = profile(
        models[:2], TARGET, store=store, protocol=protocol, fresh=True, progress=seen.append
    )

    assert len(seen) == 4
    keys = [model.structure for model in models[:2]]
    done = store.rounds_done(table.environment, protocol, keys)
    assert {done[key].generation for key in keys} == {2}


def test_a_fresh_run_after_an_ordinary_one_that_was_cut_short_measures_everything_anew(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    with pytest.raises(Interrupted):
        profile(models[:1], TARGET, store=store, protocol=protocol, progress=press_after(1))
    seen: list[ProfileProgress] = []

    profile(models[:1], TARGET, store=store, protocol=protocol, fresh=True, progress=seen.append)

    assert len(seen) == 2


def test_a_machine_that_changes_meanwhile_ends_the_run_and_keeps_what_was_measured(
    store: CostStore, models: Models, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(progress: ProfileProgress) -> None:
        monkeypatch.setattr("profilers.environment.governor", lambda: "powersave")

    monkeypatch.setattr("profilers.environment.governor", lambda: "performance")
    environment = capture(TARGET)

    with pytest.raises(
        TargetUnavailableError,
        match=r"has changed .*: governor: performance before, powersave now. .* is kept",
    ):
        profile(models[:2], TARGET, store=store, protocol=protocol, progress=change)

    keys = [model.structure for model in models[:2]]
    done = store.rounds_done(environment, protocol, keys)
    assert {have.rounds for have in done.values()} == {1}


@pytest.mark.parametrize(
    ("mode", "said"), [("quiet", "is in the power mode 'quiet'"), (None, "does not tell its power")]
)
def test_another_power_mode_than_the_targets_is_refused(
    store: CostStore,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    said: str,
) -> None:
    monkeypatch.setattr("profilers.environment.power_mode", lambda: mode)
    target = get_target("reference:power_mode=MAXN")

    with pytest.raises(TargetUnavailableError, match=rf"asks for the power mode 'MAXN'.*{said}"):
        profile(models, target, store=store)
    with pytest.raises(TargetUnavailableError, match=rf"asks for the power mode 'MAXN'.*{said}"):
        plan(models, target, store, Protocol())


def test_the_power_mode_that_the_target_asks_for_is_measured(
    store: CostStore, models: Models, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profilers.environment.power_mode", lambda: "MAXN")
    target = get_target("reference:power_mode=MAXN")

    table = profile(models[:1], target, store=store, protocol=protocol)

    assert table.environment.power_mode == "MAXN"


def test_a_target_file_that_is_edited_meanwhile_changes_nothing(
    tmp_path: Path, store: CostStore, models: Models, protocol: Protocol
) -> None:
    file = tmp_path / "mine.toml"
    text = 'format = "derycc.target/1"\nname = "mine"\nbackend = "reference"\nthreads = 1\n'
    file.write_text(text)
    target = get_target(str(file))
    file.write_text(text.replace("reference", "absent"))

    table = profile(models[:1], target, store=store, protocol=protocol)

    assert len(table.costs) == 1


def test_every_round_is_in_another_order(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    names: list[str] = []
    many = replace(protocol, rounds=4)

    profile(
        models, TARGET, store=store, protocol=many, progress=lambda step: names.append(step.name)
    )

    orders = {tuple(names[turn * 4 : turn * 4 + 4]) for turn in range(4)}
    assert all(sorted(order) == sorted(model.name for model in models) for order in orders)
    assert len(orders) > 1


def test_progress_counts_up_to_the_total(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    seen: list[ProfileProgress] = []

    profile(models, TARGET, store=store, protocol=protocol, progress=seen.append)

    assert [step.done for step in seen] == list(range(1, 9))
    assert {step.total for step in seen} == {8}
    assert seen[-1].eta_s == 0
    assert all(step.elapsed_s > 0 for step in seen)


def test_a_plan_says_what_would_be_measured(
    store: CostStore, models: Models, twin: ExportedModel, protocol: Protocol
) -> None:
    profile(models[:1], TARGET, store=store, protocol=protocol)

    found = plan([*models, twin], TARGET, store, protocol)

    assert replace(found, estimated_seconds=0.0) == ProfilePlan(
        total=5, distinct=4, cached=1, to_measure=3, estimated_seconds=0.0
    )
    assert found.estimated_seconds > 0
    assert plan(models[:1], TARGET, store, protocol).estimated_seconds == 0
    assert plan([], TARGET, store, protocol) == ProfilePlan(0, 0, 0, 0, 0.0)


def test_nothing_to_measure_is_an_empty_table(store: CostStore, protocol: Protocol) -> None:
    assert profile([], TARGET, store=store, protocol=protocol).costs == {}


def test_the_users_inputs_are_used(store: CostStore, models: Models, protocol: Protocol) -> None:
    asked: list[str] = []

    def zeros(model: ExportedModel) -> Mapping[str, Array]:
        asked.append(model.name)
        return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}

    profile(models, TARGET, store=store, protocol=protocol, inputs=zeros)

    assert asked == [model.name for model in models]


def test_a_model_that_cannot_be_measured_is_told_and_the_others_are_measured(
    store: CostStore, models: Models, unloadable: ExportedModel, protocol: Protocol
) -> None:
    seen: list[ProfileProgress] = []

    table = profile(
        [models[0], unloadable], TARGET, store=store, protocol=protocol, progress=seen.append
    )

    assert table.cost(models[0]).n == 12
    with pytest.raises(UsageError, match=r"'unloadable' could not be measured: .*cannot load"):
        table.cost(unloadable)
    assert (seen[-1].done, seen[-1].total) == (3, 3)


def test_where_no_model_can_be_measured_the_reason_is_an_error(
    store: CostStore, unloadable: ExportedModel, protocol: Protocol
) -> None:
    with pytest.raises(
        TargetUnavailableError,
        match=r"None of the 1 models could be measured on 'reference'. .*'unloadable': ",
    ):
        profile([unloadable], TARGET, store=store, protocol=protocol)


def test_a_runtime_that_is_not_installed_is_named(
    store: CostStore, models: Models, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(TargetUnavailableError, match=r"'cpu' cannot be used here: .*pip install"):
        profile(models, get_target("cpu"), store=store, protocol=protocol)


def test_a_real_runtime_is_measured_the_same_way(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    target = get_target("cpu:threads=1,spinning=off")

    table = profile(models[:2], target, store=store, protocol=protocol)

    for model in models[:2]:
        low, high = table.cost(model).interval_us
        assert 0 <= low <= table.cost(model).median_us <= high
        assert 2 <= len(table.cost(model).rounds) <= protocol.max_rounds


def test_ctrl_c_keeps_what_was_measured(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    def press(progress: ProfileProgress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"after 3 of 8 measurements. They are kept"):
        profile(models, TARGET, store=store, protocol=protocol, progress=press)

    seen: list[ProfileProgress] = []
    table = profile(models, TARGET, store=store, protocol=protocol, progress=seen.append)
    assert len(seen) == 5
    assert all(len(table.cost(model).rounds) == 2 for model in models)


def test_a_process_that_gets_sigint_ends_with_130_and_keeps_what_it_measured(
    tmp_path: Path, models: Models, protocol: Protocol
) -> None:
    path = tmp_path / "costs.sqlite"
    process = start(path, tmp_path / "models", models)

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    made, there = finish(path, models, protocol)

    assert process.returncode == 130
    assert output.startswith(b"Measuring was interrupted after 3 of 8 measurements.")
    assert made == 5
    assert {done.rounds for done in there.values()} == {2}


def test_a_process_that_is_killed_has_lost_nothing_that_it_measured(
    tmp_path: Path, models: Models, protocol: Protocol
) -> None:
    path = tmp_path / "costs.sqlite"
    process = start(path, tmp_path / "models", models)

    process.kill()
    process.communicate(timeout=60)
    made, there = finish(path, models, protocol)

    assert process.returncode == -signal.SIGKILL
    assert made == 5
    assert there == {model.structure: RoundsDone(0, 2, 2) for model in models}


def test_two_processes_profile_into_one_store(
    tmp_path: Path, models: Models, protocol: Protocol
) -> None:
    path = tmp_path / "costs.sqlite"
    CostStore(path).close()
    folder = tmp_path / "models"
    folder.mkdir()
    for model in models:
        model.save(folder / f"{model.name}.onnx")
    script = SCRIPT.replace("progress.done == 3", "False")

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(folder)],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    codes = [process.wait(timeout=200) for process in processes]
    made, there = finish(path, models, protocol)

    assert codes == [0, 0]
    assert made == 0
    assert {done.rounds for done in there.values()} == {2}


def test_the_same_target_written_otherwise_is_the_same_environment(
    store: CostStore, models: Models, protocol: Protocol
) -> None:
    profile(models[:1], TARGET, store=store, protocol=protocol)

    found = plan(models[:1], get_target("reference:threads=1,spinning=on"), store, protocol)

    assert found.cached == 1


def test_a_target_that_cannot_even_run_the_sentinel_is_unavailable(
    store: CostStore, models: Models, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: Job, *rest: object) -> Generator[Reading, None, None]:
        yield Reading(job.entries[0].key, error="illegal instruction.")

    monkeypatch.setattr("profilers.profile.readings", broken)

    with pytest.raises(TargetUnavailableError, match=r"cannot run even the sentinel.*illegal"):
        profile(models, TARGET, store=store, protocol=protocol)


def test_a_full_disk_is_a_workspace_error(
    store: CostStore, models: Models, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)

    with pytest.raises(WorkspaceError, match=r"No space left on device. Free space there"):
        profile(models, TARGET, store=store, protocol=protocol)


def test_whole_number_inputs_are_made_too(store: CostStore, protocol: Protocol) -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        "cast",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    model = ExportedModel.from_bytes(proto.SerializeToString())

    assert profile([model], TARGET, store=store, protocol=protocol).cost(model).n == 12

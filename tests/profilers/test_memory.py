"""Memory is counted by the kernel in steps, a few hundred kB off: tests allow 2 MB."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from backends.backend import Array
from backends.model import ExportedModel
from profilers.memory import peak_since, reset_peak
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import get_target

MB = 1_000_000
TOLERANCE = 2 * MB
counted = pytest.mark.skipif(
    reset_peak() is None, reason="needs a kernel that resets the peak of memory"
)


def model(nodes: list[NodeProto], outputs: list[int], tensor: Array) -> ExportedModel:
    """A model of one input `x` of 1,000 numbers and one tensor `w`."""
    graph = helper.make_graph(
        nodes,
        nodes[0].op_type,
        [helper.make_tensor_value_info("x", 1, [1, 1000])],
        [helper.make_tensor_value_info("y", 1, outputs)],
        [numpy_helper.from_array(tensor, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return ExportedModel.from_bytes(proto.SerializeToString())


def of_weights(megabytes: int) -> ExportedModel:
    columns = megabytes * MB // 4 // 1000
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model([product], [1, columns], np.ones((1000, columns), np.float32))


def of_activations(megabytes: int) -> ExportedModel:
    rows = megabytes * MB // 4 // 1000
    widen = helper.make_node("Expand", ["x", "w"], ["z"])
    narrow = helper.make_node("ReduceSum", ["z"], ["y"], keepdims=1)
    return model([widen, narrow], [1, 1], np.array([rows, 1000]))


def took(body: str) -> int:
    """Bytes at the peak of some lines of Python, in a process of their own."""
    script = (
        "from profilers.memory import peak_since, reset_peak\n"
        f"before = reset_peak()\n{body}\nprint(peak_since(before))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return int(found.stdout)


@counted
def test_the_peak_is_what_was_held_at_once_and_not_all_that_was_ever_held() -> None:
    held = took("x = bytearray(b'1') * 64_000_000; del x; y = bytearray(b'1') * 32_000_000")

    assert held == pytest.approx(64 * MB, abs=TOLERANCE)


@counted
def test_what_was_freed_before_does_not_count() -> None:
    before = took("x = bytearray(b'1') * 64_000_000; del x; before = reset_peak()")

    assert before <= TOLERANCE


def test_where_peaks_are_not_counted_they_are_unknown(tmp_path: Path) -> None:
    nowhere = tmp_path / "absent"

    assert reset_peak(nowhere) is None
    assert peak_since(None) is None
    assert peak_since(5, nowhere) is None


def test_a_peak_that_may_not_be_reset_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "clear_refs").mkdir()  # writing it fails for every user, root too

    assert reset_peak(tmp_path) is None


def test_the_counters_are_in_kibibytes(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n")
    (tmp_path / "clear_refs").touch()

    before = reset_peak(tmp_path)

    assert before == 200 * 1024
    assert peak_since(before, tmp_path) == 100 * 1024
    assert (tmp_path / "clear_refs").read_text() == "5"


@counted
def test_the_peak_of_a_real_engine_is_its_activations_and_the_copies_of_its_weights(
    store: CostStore,
) -> None:
    target = get_target("cpu:threads=1")
    quick = Protocol(rounds=1, max_rounds=1, min_units=3, unit_seconds=1e-3, max_seconds=0.01)
    activations = {size: of_activations(size) for size in (8, 32, 64)}
    weights = {size: of_weights(size) for size in (8, 32)}

    table = profile([*activations.values(), *weights.values()], target, store=store, protocol=quick)

    for size, each in activations.items():
        peak = table.cost(each).peak_bytes
        assert peak == pytest.approx(size * MB, rel=0.05, abs=TOLERANCE)
    for size, each in weights.items():
        peak = table.cost(each).peak_bytes
        # The runtime reads them, unpacks them and packs them for its kernels: three copies.
        assert peak is not None and size * MB <= peak <= 3 * size * MB + TOLERANCE

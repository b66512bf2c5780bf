"""A profile that is killed again and again: is the table complete, whole, and measured once?

Small networks are profiled on `cpu:threads=1` in a process of its own, which is killed with all its
children (SIGKILL) at seeded random moments and started again, until it has been killed so often;
then it may finish. At the end every model must have exactly its rounds, no round may be there twice
(neither by model and index, nor by model and process, nor by samples), SQLite must find its file
sound, and of all measurements that were begun only the one in flight at each kill may be lost: what
a process said it had measured must be in the store, and none of it may be measured again.

    python benchmarks/store_kill.py [--kills 20] [--models 12] [--seed 0] [--smoke]
"""

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from backends.model import ExportedModel
from benchmarks.result_files import write
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import get_target

TARGET = "cpu:threads=1"
PROTOCOL = Protocol(rounds=3, max_rounds=3, unit_seconds=0.002, warmup_seconds=0.02, min_units=8)
STORE = "costs.sqlite"


@dataclass(frozen=True, slots=True)
class Kill:
    """One process that was killed.

    Attributes:
        after_s: Seconds after its start.
        said: Rounds that it said it had measured.
        before: Rounds in the store when it began.
        after: Rounds in the store when it was gone.
    """

    after_s: float
    said: int
    before: int
    after: int

    @property
    def lost(self) -> int:
        """Rounds that it said and that are not there: must be 0."""
        return max(0, self.said - (self.after - self.before))

    @property
    def unsaid(self) -> int:
        """Rounds that it kept and had no time to say: 1 at most."""
        return max(0, self.after - self.before - self.said)


def main() -> None:
    """Kill, look, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="three kills; writes nothing")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    kills, count = (3, 4) if arguments.smoke else (arguments.kills, arguments.models)
    with tempfile.TemporaryDirectory(prefix="derycc-") as folder:
        found = run(Path(folder), kills, count, arguments.seed)
    print(json.dumps(found["verdict"], indent=1))
    if not arguments.smoke:
        write("store_kill", found)
    if not all(found["verdict"].values()):
        sys.exit(1)


# --- the process that is killed ---------------------------------------------------------------


def work(folder: Path) -> None:
    """Profile the folder's models and say every measurement, once it is in the store."""
    models = [ExportedModel.load(path) for path in sorted(folder.glob("*.onnx"))]
    with CostStore(folder / STORE) as store:
        profile(
            models,
            get_target(TARGET),
            store=store,
            protocol=PROTOCOL,
            progress=lambda step: print(step.done, flush=True),
        )


def small_models(count: int, seed: int) -> list[ExportedModel]:
    """Two convolutions each, of different widths."""
    random = np.random.default_rng(seed)
    return [_network(8 * (number + 1), random) for number in range(count)]


def _network(channels: int, random: np.random.Generator) -> ExportedModel:
    shape, grid = (channels, channels, 3, 3), [1, channels, 28, 28]
    weights = [
        numpy_helper.from_array(random.normal(0, 0.05, shape).astype(np.float32), name)
        for name in ("v", "w")
    ]
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, grid) for name in "xy")
    graph = helper.make_graph(nodes, f"conv{channels}", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return ExportedModel.from_bytes(proto.SerializeToString(), f"conv{channels}")


# --- the one who kills ------------------------------------------------------------------------


def run(folder: Path, kills: int, count: int, seed: int) -> dict[str, Any]:
    """The whole trial: kill so often, let it finish, look."""
    models = small_models(count, seed)
    for model in models:
        model.save(folder / f"{model.name}.onnx")
    random = np.random.default_rng(seed)
    done: list[Kill] = []
    for number in range(kills):
        done.append(_kill(folder, number, kills, count * PROTOCOL.rounds, random))
        print(f"kill {number + 1} of {kills}: {done[-1].after} rounds are kept", flush=True)
    before = _count(folder)
    last = _start(folder)
    output, _ = last.communicate()
    rows = _rows(folder)
    return {
        "machine": _machine(),
        "setting": {"kills": kills, "models": count, "rounds": PROTOCOL.rounds, "seed": seed},
        "kills": [
            {"after_s": round(kill.after_s, 3), "said": kill.said, "kept": kill.after}
            for kill in done
        ],
        "last_run_measured": len(output.split()),
        "rounds": len(rows),
        "verdict": _verdict(folder, models, done, rows, before, len(output.split()))
        | {"finished": last.returncode == 0},
    }


def _kill(folder: Path, number: int, kills: int, total: int, random: np.random.Generator) -> Kill:
    """Starts the profile and kills it at a random moment of its share of the work.

    A run is watched until it has measured a little, so that the kills are spread over the whole
    table; the moment itself is random: in the middle of a measurement, of a write, of a start.
    Every fourth process is killed before it has measured anything.
    """
    before = _count(folder)
    goal = total * (number + 1) // (kills + 1)
    process, began = _start(folder), time.monotonic()
    early = number % 4 == 3
    while not early and _count(folder) < goal and process.poll() is None:
        time.sleep(0.005)
    time.sleep(float(random.uniform(0, 1.5 if early else 0.3)))
    after_s = time.monotonic() - began
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    said = len([line for line in output.split(b"\n")[:-1] if line])
    return Kill(after_s, said, before, _count(folder))


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, __file__, "--work", str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
        start_new_session=True,
    )


def _count(folder: Path) -> int:
    return len(_rows(folder))


def _rows(folder: Path) -> list[tuple[Any, ...]]:
    """Key, index, session and samples of every round, by SQLite's own means."""
    if not (folder / STORE).exists():
        return []
    with closing(sqlite3.connect(folder / STORE, timeout=60)) as store:
        try:
            query = 'SELECT "key", "index", session, samples FROM rounds'
            return store.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # its tables are being made


def _verdict(
    folder: Path,
    models: Sequence[ExportedModel],
    kills: Sequence[Kill],
    rows: Sequence[tuple[Any, ...]],
    before: int,
    measured: int,
) -> dict[str, bool]:
    each = Counter(key for key, *_ in rows)
    complete = {model.structure: PROTOCOL.rounds for model in models}
    with closing(sqlite3.connect(folder / STORE)) as store:
        sound = store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        referred = store.execute("PRAGMA foreign_key_check").fetchall() == []
    return {
        "complete": each == complete,
        "unique_indices": len({(key, index) for key, index, *_ in rows}) == len(rows),
        "unique_sessions": len({(key, session) for key, _, session, _ in rows}) == len(rows),
        "unique_samples": len({(key, samples) for key, *_, samples in rows}) == len(rows),
        "sound": sound and referred,
        "nothing_said_is_lost": all(kill.lost == 0 for kill in kills),
        "at_most_one_in_flight": all(kill.unsaid <= 1 for kill in kills),
        "nothing_measured_twice": measured == len(rows) - before,
    }


def _machine() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "sqlalchemy", "numpy")},
    }


if __name__ == "__main__":
    main()

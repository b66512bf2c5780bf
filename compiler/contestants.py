"""Contestants: what a contest of engines is given of each, as files in one folder.

`KEY.onnx` and `KEY.npz` are the model and its inputs, `KEY.expected.npz` the answers that are
expected and how close a contestant must come to them, `KEY.pt2` the program that torch runs. This
module knows no torch: the processes that measure other runtimes read it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backends.backend import Array
from backends.model import ExportedModel
from backends.registry import PEERS
from profilers.inputs import write_inputs
from profilers.jobs import Entry

TORCH_EAGER, COMPILED = "torch", "torch.compile"
TORCH = (TORCH_EAGER, COMPILED)
PEER_NAMES = (*PEERS, *TORCH)
"""What a build can be compared with."""

WORKER = f"{__package__}.contest_worker"
"""The module that is run as the child of a contest."""


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """One engine, at one batch.

    Attributes:
        name: what it is called: `build`, `against`, or the peer's name.
        batch: images of one inference.
        model: the network as ONNX.
        runtime: what runs it; empty: the target's backend.
        expected: the answers to the inputs.
        least: the least cosine with them.
    """

    name: str
    batch: int
    model: ExportedModel
    runtime: str
    expected: Array
    least: float

    @property
    def key(self) -> str:
        """Its name and batch."""
        return f"{self.name}@{self.batch}"


def write_contestant(one: Contestant, x: Array, folder: Path) -> Entry:
    """Write its files, but for torch's program."""
    key = one.key
    write_inputs({key: one.model}, lambda model: {model.inputs[0].name: x}, folder)
    np.savez(folder / f"{key}.expected.npz", answers=one.expected, least=np.float64(one.least))
    return Entry(key, f"{key}.onnx", f"{key}.npz", one.runtime)


def read_expected(folder: Path, key: str) -> tuple[Array, float]:
    """The answers that a contestant is expected to give, and the least cosine with them."""
    with np.load(folder / f"{key}.expected.npz", allow_pickle=False) as arrays:
        return arrays["answers"], float(arrays["least"])


def program_file(folder: Path, key: str) -> Path:
    """Where torch's program of a contestant is."""
    return folder / f"{key}.pt2"

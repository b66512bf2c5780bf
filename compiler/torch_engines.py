"""Torch as a runtime to compare with: a network as an exported program, eager or compiled."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from backends.backend import Array, Engine
from backends.model import ExportedModel
from compiler.contestants import COMPILED
from targets.errors import UsageError
from targets.target import Target


def save_program(network: nn.Module, shape: tuple[int, ...], file: Path) -> None:
    """Writes a network as a program of torch's, for inputs of one shape (N, 3, S, S)."""
    with torch.no_grad():
        program = torch.export.export(network.eval(), (torch.zeros(shape),))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that share memory: all of them are on the CPU
        torch.export.save(program, file)


def open_engine(runtime: str, file: Path, model: ExportedModel, target: Target) -> Engine:
    """Loads a program.

    Args:
        runtime: `torch` or `torch.compile`.
        file: what `save_program` wrote.
        model: the same network as ONNX, whose names of inputs and outputs are used.
        target: its number of threads is looked at alone.

    Raises:
        UsageError: torch cannot compile it here.
    """
    torch.set_num_threads(target.threads)
    start = perf_counter()
    module = torch.export.load(file).module()
    network: Any = torch.compile(module) if runtime == COMPILED else module
    engine = _TorchEngine(model, network)
    try:  # compilers and their toolchains raise these
        engine.run({spec.name: torch.zeros(spec.shape).numpy() for spec in model.inputs})
    except (RuntimeError, OSError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"torch cannot run {model.name!r} as {runtime}: {said}") from error
    engine.loaded(perf_counter() - start)
    return engine


class _TorchEngine(Engine):
    """A module in inference mode."""

    def __init__(self, model: ExportedModel, network: Any) -> None:
        super().__init__(model, 0.0)
        self._network = network

    def loaded(self, seconds: float) -> None:
        """Notes how long loading and compiling took."""
        self._load_seconds = seconds

    @torch.inference_mode()
    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        (x,), (out,) = inputs.values(), self._model.outputs
        return {out.name: self._network(torch.from_numpy(x)).numpy()}

    @torch.inference_mode()
    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        (x,) = (torch.from_numpy(array) for array in inputs.values())
        network = self._network
        start = perf_counter()
        for _ in range(repeats):
            network(x)
        return perf_counter() - start

    def _close(self) -> None:
        self._network = None

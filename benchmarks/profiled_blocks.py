"""What the benchmarks of the profiler share: blocks of untrained donors, and what they run on."""

import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from backends.model import ExportedModel
from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.donors import Donors
from compiler.progress import Silent
from compiler.zoo import open_zoo
from profilers.profile import ProfileProgress


def parser(description: str | None, quick: str) -> ArgumentParser:
    """The options that these benchmarks share; `quick` says what `--quick` measures."""
    made = ArgumentParser(description=description)
    made.add_argument("--target", default="cpu:threads=1")
    made.add_argument("--quick", action="store_true", help=f"{quick}; writes nothing")
    return made


def blocks(architectures: Sequence[str], sizes: Sequence[int]) -> list[ExportedModel]:
    """Every block of every donor at every size in pixels, as ONNX; weights are random."""
    with tempfile.TemporaryDirectory() as folder:
        zoo = ",".join(f"random:{name}" for name in architectures)
        donors = Donors(open_zoo(Path(folder), zoo, Silent()))
        exports = BlockExports(donors, Cache(Path(folder) / "cache"))
        return [
            exports.block(block)
            for size in sizes
            for name in donors.names
            for block in donors.dissection(name, size).blocks
        ]


def told(progress: ProfileProgress) -> None:
    """Prints how far a profile is, on one line."""
    print(f"\r{progress.done}/{progress.total} {progress.eta_s:.0f} s left  ", end="", flush=True)

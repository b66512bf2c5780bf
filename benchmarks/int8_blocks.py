"""Int8 beside fp32, block by block: latency measured in one run, interleaved, and output error.

The nodes of three untrained donors, and the donors whole, in both precisions. Their int8 variants
are calibrated with some images; the error is that on others. `ratio` is fp32's time over int8's,
above 1 where int8 is faster; its interval is the widest that the two intervals of 95 % allow.
`integer` is the share of multiply-accumulates in integer kernels, read from what the runtime
executed; `signed` is that share where activations are int8 in place of the native scheme's type.
Random weights have no outliers: the errors of trained donors are larger.

    python benchmarks/int8_blocks.py [--data FOLDER] [--quick]
"""

import argparse
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from backends.deviation import Deviation, compare
from backends.kernels import executed, integer_share
from backends.model import ExportedModel
from backends.quantization import Scheme
from backends.registry import get_backend
from benchmarks.result_files import write
from compiler.block_exports import Activation, BlockExports, noise_images
from compiler.cache import Cache
from compiler.donors import Donors
from compiler.images import ImageSet, load_images
from compiler.preprocessing import Preprocessing
from compiler.zoo import open_zoo
from derycc.console import stdout
from derycc.console import table as printed
from profilers.cost_table import CostTable
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import get_target

DONORS = ("mobilenetv2_100", "resnet18", "vit_tiny_patch16_224")
QUICK_DONORS = ("test_resnet", "test_vit")
SIZE, QUICK_SIZE = 224, 160
CALIBRATION, JUDGES = 8, 8
TARGET = get_target("cpu:threads=1")
SIGNED = Scheme(activations="int8")

COLUMNS = (
    *("block", ">fp32 us", ">int8 us", ">ratio", ">interval"),
    *(">cosine", ">integer", ">signed"),
)
DONOR_COLUMNS = (
    *("donor", ">blocks", ">faster", ">slower"),
    *(">median ratio", ">whole ratio", ">whole cosine"),
)
PRECISIONS = ("fp32_us", "int8_us")

Images = Sequence[torch.Tensor]


@dataclass(frozen=True, slots=True)
class Pair:
    """A block, or a donor whole, in both precisions, with what it is judged by."""

    donor: str
    fp32: ExportedModel
    int8: ExportedModel
    signed: ExportedModel
    arriving: tuple[Activation, ...]
    whole: bool = False

    def deviation(self) -> Deviation:
        """Of int8 from fp32 where images arrive that were not calibrated with."""
        samples = [{spec.name: array} for spec in self.fp32.inputs for array in self.arriving]
        return compare(self.fp32, self.int8, samples, TARGET)


def main() -> None:
    """Measure, print the table, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of photographs; left out: smooth noise")
    parser.add_argument("--quick", action="store_true", help="two tiny donors; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = QUICK_SIZE if arguments.quick else SIZE
    images = _images(arguments.data, size)
    with tempfile.TemporaryDirectory() as folder:
        names = QUICK_DONORS if arguments.quick else DONORS
        pairs = list(_pairs(names, size, images, Path(folder)))
        costs = _costs(pairs, Protocol.quick() if arguments.quick else Protocol(), Path(folder))
    rows = [_row(pair, costs) for pair in pairs]
    _print(rows)
    if not arguments.quick:
        found = {"machine": _machine(arguments.data), "donors": _donors(rows), "rows": rows}
        write("int8_blocks", found)


def _images(folder: Path | None, size: int) -> Images:
    """As many as are calibrated and judged with, each (1, 3, size, size)."""
    wanted = CALIBRATION + JUDGES
    if folder is None:
        return _noise(size, wanted)
    photographs = load_images(folder)
    return list(_pixels(ImageSet(photographs.root, photographs.paths[:wanted]), size))


def _pixels(photographs: ImageSet, size: int) -> Iterator[torch.Tensor]:
    for index in range(len(photographs)):
        yield Preprocessing(size).pixels(photographs.load(index))[None]


def _noise(size: int, count: int) -> Images:
    """The four noise images, and those again under other orders of their colours and sides."""
    base = noise_images(size)
    turned = [torch.rot90(image, turn, (2, 3)).roll(turn, 1) for turn in range(4) for image in base]
    return turned[:count]


def _pairs(names: Sequence[str], size: int, images: Images, folder: Path) -> Iterator[Pair]:
    donors = Donors(open_zoo(folder, ",".join(f"random:{name}" for name in names)))
    calibration, judges = images[: len(images) // 2], images[len(images) // 2 :]
    cache = Cache(folder / "cache")
    native = BlockExports(donors, cache, calibration)
    signed = BlockExports(donors, cache, calibration, SIGNED)
    for name in donors.names:
        seen = [native.activations(name, size, image) for image in judges]
        for block in donors.dissection(name, size).blocks:
            arriving = tuple(found[block.name] for found in seen)
            made = native.block(block), native.quantized(block), signed.quantized(block)
            yield Pair(name, *made, arriving)
        arriving = tuple(found[f"{name}@{size}"] for found in seen)
        whole = native.quantized_whole(name, size), signed.quantized_whole(name, size)
        yield Pair(name, native.whole(name, size), *whole, arriving, whole=True)


def _costs(pairs: Sequence[Pair], protocol: Protocol, folder: Path) -> CostTable:
    """Everything in one run: every round measures both precisions of all blocks, shuffled."""
    models = [model for pair in pairs for model in (pair.fp32, pair.int8)]
    inputs = {model.name: pair.arriving[0] for pair in pairs for model in (pair.fp32, pair.int8)}

    def arriving(model: ExportedModel) -> Mapping[str, Activation]:
        return {spec.name: inputs[model.name] for spec in model.inputs}

    with CostStore(folder / "costs.db") as store:
        return profile(models, TARGET, store=store, protocol=protocol, inputs=arriving)


def _row(pair: Pair, costs: CostTable) -> dict[str, Any]:
    fp32, int8 = costs.cost(pair.fp32), costs.cost(pair.int8)
    (low, high), (fast, slow) = fp32.interval_us, int8.interval_us
    error = pair.deviation()
    return {
        "donor": pair.donor,
        "block": pair.fp32.name,
        "whole": pair.whole,
        "fp32_us": _cost(fp32),
        "int8_us": _cost(int8),
        "ratio": fp32.median_us / int8.median_us,
        "ratio_interval": (low / slow, high / fast if fast else float("inf")),
        "cosine": error.cosine,
        "relative_error": error.relative_error,
        "integer": integer_share(executed(pair.int8, TARGET)),
        "signed": integer_share(executed(pair.signed, TARGET)),
    }


def _cost(cost: Measurement) -> dict[str, Any]:
    return {"median": cost.median_us, "interval": cost.interval_us, "noisy": cost.noisy}


def _donors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per donor: the whole, and on how many blocks int8 is surely faster or slower."""
    found = []
    for name in dict.fromkeys(str(row["donor"]) for row in rows):
        blocks = [row for row in rows if row["donor"] == name and not row["whole"]]
        (whole,) = [row for row in rows if row["donor"] == name and row["whole"]]
        ratios = [row["ratio_interval"] for row in blocks]
        found.append(
            {
                "donor": name,
                "whole_ratio": whole["ratio"],
                "whole_cosine": whole["cosine"],
                "median_block_ratio": median(row["ratio"] for row in blocks),
                "blocks": len(blocks),
                "faster": sum(low > 1 for low, _ in ratios),
                "slower": sum(high < 1 for _, high in ratios),
                "worst_block_cosine": min(row["cosine"] for row in blocks),
            }
        )
    return found


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    stdout().print(printed("int8 beside fp32 (* noisy)", COLUMNS, [_cells(row) for row in rows]))
    cells = [
        (
            donor["donor"],
            *(str(donor[key]) for key in ("blocks", "faster", "slower")),
            f"{donor['median_block_ratio']:.2f}",
            f"{donor['whole_ratio']:.2f}",
            f"{donor['whole_cosine']:.5f}",
        )
        for donor in _donors(rows)
    ]
    stdout().print(printed("donors", DONOR_COLUMNS, cells))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["block"],
        *(f"{row[key]['median']:.1f}" + "*" * row[key]["noisy"] for key in PRECISIONS),
        f"{row['ratio']:.2f}",
        "{:.2f} to {:.2f}".format(*row["ratio_interval"]),
        f"{row['cosine']:.5f}",
        f"{row['integer']:.0%}",
        f"{row['signed']:.0%}",
    )


def _machine(data: Path | None) -> dict[str, Any]:
    packages = ("torch", "timm", "onnx", "onnxruntime", "numpy")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": platform.platform(),
        "environment": asdict(Environment.capture(TARGET, get_backend(TARGET.backend))),
        "scheme": asdict(Scheme.native()),
        "images": "photographs" if data else "smooth noise",
        "versions": {name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()

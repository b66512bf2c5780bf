"""The engine of a build beside the plain export of the same network, and beside other runtimes.

Networks of CNN and transformer families, whole, and stitched ones of the demo zoo's architectures,
with random weights: a latency does not depend on them (batch-norm statistics are drawn too, so that
nothing is trivial). `onnxruntime` is what torch exports, under ONNX Runtime's defaults with the
same number of threads; `build` is the same export folded, under the target's settings. All
contestants of a network are measured in the same rounds, each in fresh processes, and each must
give the build's answers first. A ratio above 1 means that the build is faster.

    python benchmarks/engine.py [--target cpu:threads=1] [--peers LIST] [--seconds 330] [--show]

It goes on where it was stopped: finished rounds are kept in `--record`.
"""

import argparse
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import geometric_mean
from time import monotonic

import numpy as np
import timm
import torch
from torch import nn

from backends.registry import get_backend
from benchmarks.machine import machine
from benchmarks.result_files import shown, write
from compiler.contestants import TORCH, WORKER, Contestant, program_file, write_contestant
from compiler.donors import Donors
from compiler.folding import fold
from compiler.network import Blueprint, Segment, build
from compiler.torch_engines import save_program
from compiler.verification import FP32
from compiler.zoo import open_zoo
from derycc.benching import plain_export
from derycc.console import stdout, table
from profilers.contest import Contest, Stage, contest, read_record
from profilers.jobs import Entry
from profilers.protocol import Protocol
from profilers.verdict import Verdict
from targets.target import Target, get_target

ROUNDS = 5
PROTOCOL = Protocol(rounds=ROUNDS, max_rounds=ROUNDS, max_seconds=0.3)
SIZE = 224
PURE = {
    "CNN": (
        *("resnet18", "resnet50", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0"),
        *("regnety_008", "densenet121", "convnext_atto", "poolformer_s12"),
    ),
    "CNN trained with branches": ("repvgg_a0", "mobileone_s0"),
    "transformer": (
        *("vit_tiny_patch16_224", "deit3_small_patch16_224", "swin_tiny_patch4_window7_224"),
        *("mixer_s32_224", "mobilevit_xs"),
    ),
}
ZOO = "random:tf_efficientnet_lite0,random:tf_efficientnet_lite2,random:mobilenetv2_100"
LITE0, LITE2, MOBILE = "tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv2_100"
STITCHED = {
    "stitched 1": ((LITE2, "input", "blocks.0.0"), (MOBILE, "blocks.1.1", "output")),
    "stitched 2": ((LITE0, "input", "blocks.2.1"), (LITE2, "blocks.2.2", "output")),
    "stitched 3": (
        (MOBILE, "input", "blocks.1.1"),
        (LITE0, "blocks.1.1", "blocks.4.2"),
        (MOBILE, "blocks.4.2", "output"),
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One network that is measured.

    Attributes:
        name: of timm, or of a stitched one.
        family: what it is counted with.
        make: the torch network, in eval mode.
    """

    name: str
    family: str
    make: Callable[[], nn.Module]


def main() -> None:
    """Measure what is missing, as long as the time allows, and write the result file."""
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.show:
        _print(shown("engine"))
        return
    target, peers = get_target(arguments.target), tuple(arguments.peers.split(","))
    begun = monotonic()
    for case in cases():
        record = arguments.record / f"{case.name}.jsonl".replace(" ", "-")
        if len(read_record(record)) < ROUNDS and monotonic() - begun < arguments.seconds:
            entries = _entries(case, target, peers, record.with_suffix(""))
            if not arguments.prepare:
                contest(Stage(record.with_suffix(""), target, PROTOCOL, record, WORKER), entries)
            print(case.name, flush=True)
    if arguments.prepare:
        return
    found = summary(arguments.record, target, peers)
    write("engine", found)
    _print(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="cpu:threads=1")
    parser.add_argument("--peers", default="onnxruntime,openvino")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after them")
    parser.add_argument("--record", type=Path, default=Path(".derycc/engine-benchmark"))
    parser.add_argument("--prepare", action="store_true", help="export everything, measure nothing")
    parser.add_argument("--show", action="store_true", help="print the committed result")
    return parser.parse_args()


def cases() -> Iterator[Case]:
    """All networks: stitched ones first."""
    for name in STITCHED:
        yield Case(name, "stitched", lambda name=name: _stitched(name))  # type: ignore[misc]
    for family, names in PURE.items():
        for name in names:
            yield Case(name, family, lambda name=name: _pure(name))  # type: ignore[misc]


def _pure(name: str) -> nn.Module:
    torch.manual_seed(zlib.crc32(name.encode()))
    network = timm.create_model(name).eval()
    _draw(network)
    head = network.get_classifier()
    if isinstance(head, nn.Linear):  # some are zeros, which compute nothing that can be compared
        nn.init.normal_(head.weight, std=0.02)
    return network


def _stitched(name: str) -> nn.Module:
    torch.manual_seed(zlib.crc32(name.encode()))
    with tempfile.TemporaryDirectory() as folder:
        donors = Donors(open_zoo(Path(folder), ZOO))
        names = {full.split(":")[-1].split(".")[0]: full for full in donors.names}
        parts = STITCHED[name]
        blueprint = Blueprint(SIZE, tuple(Segment(names[m], a, b) for m, a, b in parts))
        network = build(blueprint, donors)
    for stitch in network.stitches:
        for parameter in stitch.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            nn.init.normal_(parameter, std=spread)
    _draw(network)
    return network


def _draw(network: nn.Module) -> None:
    """Statistics and scales of batch-norms that do not happen to be zeros and ones."""
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.1)


def _entries(case: Case, target: Target, peers: Sequence[str], folder: Path) -> list[Entry]:
    """The contestants of a network, with their files in a folder; made where they are not there."""
    ready = folder / f"ready-{'-'.join(peers)}"
    found = [("build", ""), *((peer, peer) for peer in peers)]
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _export(case.make(), target, found, folder)
        ready.touch()
    return [Entry(f"{name}@1", f"{name}@1.onnx", f"{name}@1.npz", run) for name, run in found]


def _export(
    network: nn.Module, target: Target, found: Sequence[tuple[str, str]], folder: Path
) -> None:
    config = getattr(network, "pretrained_cfg", {"input_size": (3, SIZE, SIZE)})
    shape = (1, *config["input_size"])
    plain = plain_export(network, shape)  # type: ignore[arg-type]
    made = fold(plain).model
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with get_backend(target.backend).compile(made, target) as engine:
        (expected,) = engine.run({made.inputs[0].name: x}).values()
    for name, runtime in found:
        model = plain if runtime else made
        one = Contestant(name, 1, model, runtime, expected, FP32.cosine)
        write_contestant(one, x, folder)
        if name in TORCH:
            save_program(network, shape, program_file(folder, one.key))


def summary(records: Path, target: Target, peers: Sequence[str]) -> dict[str, object]:
    """What is known so far, as it is written down."""
    rows = []
    for case in cases():
        rounds = read_record(records / f"{case.name}.jsonl".replace(" ", "-"))
        if len(rounds) >= ROUNDS:
            rows.append(_row(case, Contest(tuple(rounds[:ROUNDS])), peers))
    return {
        "machine": machine(target),
        "openvino": _version("openvino"),
        "target": str(target),
        "rounds": ROUNDS,
        "protocol": asdict(PROTOCOL),
        "geometric_means": {peer: _means(rows, peer) for peer in peers},
        "verdicts": {peer: _verdicts(rows, peer) for peer in peers},
        "networks": rows,
    }


def _row(case: Case, held: Contest, peers: Sequence[str]) -> dict[str, object]:
    beside = {}
    for peer in peers:
        if f"{peer}@1" in held.keys and "build@1" in held.keys:
            found = held.ratio("build@1", f"{peer}@1")
            beside[peer] = {**asdict(found), "verdict": str(found.verdict)}
    measured = {key.removesuffix("@1"): held.measurement(key) for key in held.keys}
    return {
        "name": case.name,
        "family": case.family,
        "median_us": {name: one.median_us for name, one in measured.items()},
        "noisy": {name: one.noise for name, one in measured.items() if one.noisy},
        "build_beside": beside,
    }


def _means(rows: Sequence[Mapping[str, object]], peer: str) -> dict[str, float]:
    """Geometric means of the ratios, over all networks and by family."""
    found: dict[str, list[float]] = {}
    for row in rows:
        beside = row["build_beside"]
        assert isinstance(beside, dict)
        if peer in beside:
            for group in ("all", str(row["family"])):
                found.setdefault(group, []).append(beside[peer]["value"])
    return {group: geometric_mean(ratios) for group, ratios in found.items()}


def _verdicts(rows: Sequence[Mapping[str, object]], peer: str) -> dict[str, int]:
    counts = dict.fromkeys(map(str, Verdict), 0)
    for row in rows:
        beside = row["build_beside"]
        assert isinstance(beside, dict)
        if peer in beside:
            counts[beside[peer]["verdict"]] += 1
    return counts


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(found: Mapping[str, object]) -> None:
    rows, means = found["networks"], found["geometric_means"]
    assert isinstance(rows, list)
    assert isinstance(means, dict)
    cells = [_cells(row, list(means)) for row in rows]
    columns = ("network", "family", ">build (ms)", *(f">{peer} / build" for peer in means))
    stdout().print(table("The build's engine and its peers", columns, cells))
    print(json.dumps({"geometric means": means, "verdicts": found["verdicts"]}, indent=1))


def _cells(row: Mapping[str, object], peers: Sequence[str]) -> tuple[str, ...]:
    beside, medians = row["build_beside"], row["median_us"]
    assert isinstance(beside, dict)
    assert isinstance(medians, dict)
    said = [
        "{value:.3f} ({low:.3f} to {high:.3f}) {verdict}".format(**beside[peer])
        if peer in beside
        else "-"
        for peer in peers
    ]
    noisy = " noisy" if row["noisy"] else ""
    name, family = str(row["name"]), str(row["family"])
    return name, family, f"{medians['build'] / 1000:.2f}{noisy}", *said


if __name__ == "__main__":
    main()

"""Coverage: how many of timm's architectures can be cut, and recompose to bit-identical outputs.

Every architecture is made with seeded random weights, cut at its nodes, and its blocks are run one
after the other: outputs must equal the uncut network's bit for bit in eval mode, and in train mode
with the batch-norm statistics they leave behind. Inputs are reduced where the architecture allows
it. Networks above 300 M parameters are cut on the meta device, by shapes alone.

    python benchmarks/dissection_coverage.py [--out FILE] [--workers N] [NAME ...]

It goes on where it was stopped: what is in the lines file (FILE.jsonl) is not done again.
"""

import argparse
import json
import multiprocessing as mp
import os
import platform
import time
import warnings
from collections.abc import Iterator
from datetime import date
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from compiler.dissection import Dissection, dissect
from targets.errors import ZooError

RESULT = Path(__file__).parent / "results" / "dissection_coverage.json"
LARGEST = 300_000_000
"""Parameters up to which a network is really run."""

PATIENCE_S = 420.0
"""Seconds after which an architecture counts as refused: one core, whatever else runs."""

Row = dict[str, Any]


def main() -> None:
    """Cut what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="architectures; all of timm if left out")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    names = asked.names or timm.list_models()
    lines = asked.out.with_suffix(".jsonl")
    done = _read(lines)
    with lines.open("a") as stream:
        for row in _run([n for n in names if n not in done], asked.workers):
            done[row["name"]] = row
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            print(f"{len(done):5} {_line(row)}", flush=True)
    rows = [done[name] for name in names]
    asked.out.write_text(json.dumps(_summary(rows), indent=1) + "\n")
    print(json.dumps({k: v for k, v in _summary(rows).items() if k != "architectures"}, indent=1))


def examine(name: str) -> Row:
    """Cut one architecture: what was found, or why it is refused."""
    with torch.device("meta"):
        params = sum(p.numel() for p in timm.create_model(name).parameters())
    row: Row = {"name": name, "params": params}
    reasons: list[str] = []
    for options, size in _inputs(name):
        started = time.monotonic()
        try:
            model = _make(name, params, options)
            found = dissect(model, size, name)
        except (ZooError, TypeError, AssertionError, ValueError, RuntimeError) as error:
            reasons.append(f"{size} px: {str(error).splitlines()[0]}")
            continue
        row |= {"size": size, "cuts": len(found.every_cut()), "nodes": len(found.boundaries) - 1}
        row |= _shapes_alone() if params > LARGEST else _compare(model, found, size)
        return row | {"seconds": round(time.monotonic() - started, 1)}
    return row | {"refused": reasons[-1] if reasons else "takes no square pictures"}


def _inputs(name: str) -> Iterator[tuple[dict[str, int], int]]:
    """Options and input sizes to try, cheapest first; the architecture's own comes last."""
    config = timm.get_pretrained_cfg(name)
    channels, height, width = (config.input_size if config else None) or (3, 224, 224)
    if height >= 192:
        half = height // 2
        yield {"img_size": half}, half
        yield {}, max(96, half // 32 * 32)
    yield {}, height


def _make(name: str, params: int, options: dict[str, int]) -> nn.Module:
    if params > LARGEST:
        with torch.device("meta"):
            return timm.create_model(name, **options).eval()
    torch.manual_seed(0)
    return timm.create_model(name, **options).eval()


def _shapes_alone() -> Row:
    return {"identical": None, "train": None}


@torch.no_grad()
def _compare(model: nn.Module, found: Dissection, size: int) -> Row:
    blocks = nn.ModuleList(found.module(b.start, b.end) for b in found.blocks)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    identical = torch.equal(model.eval()(x), _chain(blocks.eval(), x))
    return {"identical": identical, "train": _train(model, blocks, x)}


def _train(model: nn.Module, blocks: nn.ModuleList, x: Tensor) -> bool | str:
    """Outputs and statistics in train mode, both from the same random state."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.manual_seed(2)
    try:
        answer = model.train()(x)
    except (RuntimeError, ValueError) as error:
        return f"not run: {str(error).splitlines()[0]}"
    after = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    torch.manual_seed(2)
    chained = _chain(blocks.train(), x)
    if not isinstance(answer, Tensor):
        return "the network answers with several tensors in train mode"
    statistics = all(_same(buffer, after[name]) for name, buffer in model.named_buffers())
    return torch.equal(answer, chained) and statistics


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _chain(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


def _work(pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    while (name := pipe.recv()) is not None:
        pipe.send(examine(name))


class _Worker:
    """A process that cuts one architecture after the other; stopped when one takes too long."""

    def __init__(self) -> None:
        self.pipe, other = mp.Pipe()
        self.process = mp.Process(target=_work, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.name, self.since = "", time.monotonic()

    def give(self, name: str | None) -> None:
        self.name, self.since = name or "", time.monotonic()
        self.pipe.send(name)

    def take(self) -> Row:
        try:
            return dict(self.pipe.recv())
        except EOFError:
            code = self.process.exitcode
            return {"name": self.name, "refused": f"the process ended with code {code}"}

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.since > PATIENCE_S


def _run(names: list[str], count: int) -> Iterator[Row]:
    waiting, busy = list(reversed(names)), []
    while waiting or busy:
        while waiting and len(busy) < count:
            busy.append(_Worker())
            busy[-1].give(waiting.pop())
        ready = wait([worker.pipe for worker in busy], timeout=5.0)
        for worker in list(busy):
            if worker.pipe in ready:
                yield worker.take()
                if worker.process.is_alive() and waiting:
                    worker.give(waiting.pop())
                    continue
            elif not worker.overdue:
                continue
            else:
                yield {"name": worker.name, "refused": f"took more than {PATIENCE_S:.0f} s"}
            worker.process.kill()
            busy.remove(worker)


def _read(lines: Path) -> dict[str, Row]:
    if not lines.exists():
        return {}
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    return {row["name"]: row for row in rows}


def _line(row: Row) -> str:
    if "refused" in row:
        return f"{row['name']}: REFUSED {row['refused']}"
    return (
        f"{row['name']}: {row['params'] / 1e6:.1f} M, {row['size']} px, {row['cuts']} cuts, "
        f"{row['nodes']} nodes, identical {row['identical']}, train {row['train']}, "
        f"{row['seconds']} s"
    )


def _summary(rows: list[Row]) -> Row:
    small = [row for row in rows if row.get("params", 0) <= LARGEST]
    cut = [row for row in small if row.get("identical")]
    trained = [row for row in small if row.get("train") is True]
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "architectures_in_all": len(rows),
        "up_to_300M": len(small),
        "bit_identical": len(cut),
        "share": round(len(cut) / max(1, len(small)), 5),
        "bit_identical_in_train_mode": len(trained),
        "above_300M_cut_by_shapes": sum("nodes" in row for row in rows if row not in small),
        "refused": {row["name"]: row["refused"] for row in rows if "refused" in row},
        "differing": [r["name"] for r in small if r.get("identical") is False],
        "differing_in_train_mode": {
            r["name"]: r["train"] for r in small if "train" in r and r["train"] is not True
        },
        "architectures": [
            {k: v for k, v in row.items() if k != "refused"} for row in rows if "nodes" in row
        ],
    }


if __name__ == "__main__":
    mp.set_start_method("spawn")
    main()

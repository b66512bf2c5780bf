"""Coverage: how many of timm's architectures can be cut, and recompose to bit-identical outputs.

Every architecture is made with seeded random weights, cut at its nodes, and its blocks are run one
after the other: outputs must equal the uncut network's bit for bit in eval mode, and in train mode
with the batch-norm statistics they leave behind. Inputs are reduced where the architecture allows
it. Networks above 300 M parameters are cut on the meta device, by shapes alone.

    python benchmarks/dissection_coverage.py [--out FILE] [--workers N] [--report] [NAME ...]

It goes on where it was stopped: what is in the lines file (FILE.jsonl) is not done again.
"""

import argparse
import hashlib
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
from torch.overrides import TorchFunctionMode

from compiler.dissection import Dissection, dissect

RESULT = Path(__file__).parent / "results" / "dissection_coverage.json"
LARGEST = 300_000_000
"""Parameters up to which a network is really run."""

_IDLE = ("training", "pretrained_cfg", "default_cfg")

PATIENCE_S = 420.0
"""Seconds after which an architecture counts as refused: one core, whatever else runs."""

Row = dict[str, Any]


def main() -> None:
    """Cut what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="architectures; all of timm if left out")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", action="store_true", help="report what is done, run nothing")
    asked = parser.parse_args()
    names = asked.names or timm.list_models()
    lines = asked.out.with_suffix(".jsonl")
    done = _read(lines)
    missing = [] if asked.report else [name for name in names if name not in done]
    missing.sort(key=_parameters)  # cheapest first
    with lines.open("a") as stream:
        for row in _run(missing, asked.workers):
            done[row["name"]] = row
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            print(f"{len(done):5} {_line(row)}", flush=True)
    found = _summary([done[name] for name in names if name in done])
    found = {"architectures_of_timm": len(names), **found}
    asked.out.write_text(_text(found))
    print(json.dumps({k: v for k, v in found.items() if k != "architectures"}, indent=1))


def examine(name: str, known: dict[str, Row]) -> Row:
    """Cut one architecture: what was found, or why it is refused.

    Some of timm's names differ in their pretrained weights alone. `known` holds the rows of this
    process by signature: the same modules with the same settings are not cut twice.
    """
    params = _parameters(name)
    row: Row = {"name": name, "params": params}
    reasons: list[str] = []
    for options, size in _inputs(name):
        started = time.monotonic()
        try:
            model = _make(name, params, options)
            row["signature"] = _signature(model, size)
            if twin := known.get(row["signature"]):
                return twin | {"name": name, "same_as": twin["name"]}
            found = dissect(model, size, name)
        except Exception as error:  # noqa: BLE001 - a size that is not the network's own
            reasons.append(f"{size} px: {(str(error) or type(error).__name__).splitlines()[0]}")
            continue
        row |= {"size": size, "cuts": len(found.every_cut()), "nodes": len(found.boundaries) - 1}
        row |= _shapes_alone() if params > LARGEST else _compare(model, found, size)
        row |= {"seconds": round(time.monotonic() - started, 1)}
        known[row["signature"]] = row
        return row
    return row | {"refused": reasons[-1] if reasons else "takes no square pictures"}


def _parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters())


def _signature(model: nn.Module, size: int) -> str:
    """Everything that the computation depends on but the values of parameters and buffers."""
    parts: list[object] = [size]
    for path, module in model.named_modules():
        settings = {
            k: v for k, v in vars(module).items() if not k.startswith("_") and k not in _IDLE
        }
        plain = {
            k: v for k, v in settings.items() if isinstance(v, bool | int | float | str | tuple)
        }
        tensors = [(k, tuple(t.shape)) for k, t in module.state_dict(keep_vars=True).items()]
        parts.append(
            (path, type(module).__qualname__, sorted(plain.items()), tensors if not path else 0)
        )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _inputs(name: str) -> Iterator[tuple[dict[str, int], int]]:
    """Options and input sizes to try, cheapest first; the architecture's own comes last."""
    config = timm.get_pretrained_cfg(name)
    _, height, _ = (config.input_size if config else None) or (3, 224, 224)
    small = height
    while small > 144:
        small //= 2
    if small < height:
        yield {"img_size": small}, small
        yield {}, max(96, small // 32 * 32)
    yield {}, height


def _make(name: str, params: int, options: dict[str, int]) -> nn.Module:
    if params > LARGEST:
        with torch.device("meta"):
            return timm.create_model(name, **options).eval()
    torch.manual_seed(0)
    with _Uniform():
        return timm.create_model(name, **options).eval()


class _Uniform(TorchFunctionMode):
    """Random weights quickly: which distribution they come from does not matter here."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.erfinv_:
            return args[0]
        if func is torch.Tensor.normal_:
            return args[0].uniform_(-0.04, 0.04)
        return func(*args, **(kwargs or {}))


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
    known: dict[str, Row] = {}
    while (name := pipe.recv()) is not None:
        try:
            row = examine(name, known)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is why it is refused
            row = {"name": name, "refused": f"{type(error).__name__}: {error}"[:300]}
        pipe.send(row)


class _Worker:
    """A process that cuts one architecture after the other; stopped when one takes too long."""

    def __init__(self) -> None:
        self.pipe, other = mp.Pipe()
        self.process = mp.Process(target=_work, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.name, self.since, self.dead = "", time.monotonic(), False

    def give(self, name: str | None) -> None:
        self.name, self.since = name or "", time.monotonic()
        self.pipe.send(name)

    def take(self) -> Row:
        try:
            return dict(self.pipe.recv())
        except EOFError:
            self.process.join()
            self.dead = True
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
                if waiting and not worker.dead:
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


def _text(found: Row) -> str:
    """As JSON, one line an architecture."""
    head = {key: value for key, value in found.items() if key != "architectures"}
    lines = ",\n".join(json.dumps(row) for row in found["architectures"])
    return json.dumps(head, indent=1)[:-2] + ',\n "architectures": [\n' + lines + "\n ]\n}\n"


def _summary(rows: list[Row]) -> Row:
    small = [row for row in rows if row.get("params", 0) <= LARGEST]
    cut = [row for row in small if row.get("identical")]
    trained = [row for row in small if row.get("train") is True]
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "examined": len(rows),
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
            {k: v for k, v in row.items() if k not in ("refused", "signature")}
            for row in rows
            if "nodes" in row
        ],
    }


if __name__ == "__main__":
    mp.set_start_method("spawn")
    main()

"""Partitions beside those of DeRy's procedure: objective and time, on the same similarity tables.

DeRy's procedure (Yang et al. 2022, section 3.2, and the algorithm of its code), implemented here as
it is described: random cut points and centres; then, in turn, every donor's neighbouring blocks
pass one node to each other where that brings the two nearer to their centres, every set is centred
anew at its medoid, and every block goes to the nearest centre; up to 200 iterations, at most 20 in
a row without a gain, from 200 starts. It gets the same tables, the same similarity of blocks, the
same caps, and starts within the caps; its steps are those of all donors at once in NumPy. `literal`
is the same with the similarity of its code: blocks of different stages are 0 alike, a block and
itself 1, and the input of a block is taken behind its first node; its answer is then valued as all
others are.

Synthetic zoos have the node counts of DeRy's and features that drift along one random path, which
every donor walks at a pace, with a distortion and with noise of its own; their similarity is linear
CKA. Where the number of partitions allows it the optimum is found by enumeration.

    python benchmarks/partition.py [--trials 200] [--home HOME] [--smoke]
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compiler.block_caps import Caps
from compiler.block_space import BlockSpace
from compiler.cache import Cache
from compiler.donors import Donors
from compiler.partition import partition
from compiler.partition_search import search
from compiler.progress import Silent
from compiler.similarity_table import ModelNodes, SimilarityTable
from compiler.zoo import open_zoo
from compiler.zoo_similarity import zoo_similarity
from derycc.console import Bars, stdout
from derycc.console import table as printed
from derycc.options import default_home
from derycc.session import Options, open_photographs

Float, Int = NDArray[np.float64], NDArray[np.int64]
Answer = TypeVar("Answer")

K, EPSILON = 4, 0.2
DERY_NODES = (8, 12, 14, 15, 16, 17, 18, 20, 21, 24, 27, 33)
ZOOS = ((5, 3), (10, 3), (20, 3), (50, 3), (100, 1), (200, 1))
"""Donors, and how many zoos of so many."""

SMALL_ZOOS = 40
ITERATIONS, PATIENCE = 200, 20
STARTS = 20
RESULTS = Path(__file__).resolve().parent / "results"
SILENT = Silent()


def main() -> None:
    """Run the comparisons, print them, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--home", type=Path, default=default_home())
    parser.add_argument("--smoke", action="store_true", help="two small zoos; writes nothing")
    arguments = parser.parse_args()
    trials = 5 if arguments.smoke else arguments.trials
    zoos = ((5, 1), (10, 1)) if arguments.smoke else ZOOS
    small = [_enumerated(seed, trials) for seed in range(2 if arguments.smoke else SMALL_ZOOS)]
    print(_small_line(small), flush=True)
    cases: list[Any] = []
    for name, make, seed in _zoos(zoos, None if arguments.smoke else arguments.home):
        cases.append(_case(name, make(), seed, trials))
        print(f"{name}: done", flush=True)
        if not arguments.smoke:
            _write(trials, small, cases)
    stdout().print(_table(cases))


def _zoos(
    zoos: tuple[tuple[int, int], ...], home: Path | None
) -> Iterator[tuple[str, Callable[[], SimilarityTable], int]]:
    """Name, table and seed of every zoo, small ones first."""
    if home is not None:
        yield "demo zoo", partial(_real, home), 0
    for donors, count in zoos:
        for seed in range(count):
            name = f"synthetic, {donors} donors, seed {seed}"
            yield name, partial(synthetic, donors, seed), seed


def _write(trials: int, small: list[Any], cases: list[Any]) -> None:
    """After every zoo, so that an interrupted run leaves what it has done."""
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": _machine(), "setting": _setting(trials), "small": small, "cases": cases}
    path = RESULTS / "partition.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


# --- the zoos ---------------------------------------------------------------------------------


def synthetic(donors: int, seed: int, nodes: tuple[int, ...] = DERY_NODES) -> SimilarityTable:
    """Linear CKA of 48 samples between the boundaries of donors that walk along one random path."""
    draw = np.random.default_rng([donors, seed])
    lengths = draw.choice(nodes, donors)
    path = draw.normal(size=(1, 48, 12)) + np.cumsum(draw.normal(size=(300, 48, 12)) / 6, axis=0)
    features = [row for length in lengths for row in _walk(draw, path, int(length))]
    grams = np.array([(x @ x.T).ravel() for x in (x - x.mean(axis=0) for x in features)])
    grams /= np.linalg.norm(grams, axis=1, keepdims=True)
    models = tuple(
        ModelNodes(f"m{i}", tuple(f"n{j}" for j in range(length)), (1,) * int(length))
        for i, length in enumerate(lengths)
    )
    return SimilarityTable(models, grams @ grams.T)


def _walk(draw: np.random.Generator, path: Float, length: int) -> list[Float]:
    """Features at the boundaries of one donor, with a pace, a distortion and noise of its own."""
    pace = np.concatenate([[0.0], np.cumsum(draw.gamma(2.0, size=length))])
    places = (pace / pace[-1]) ** draw.uniform(0.7, 1.4)
    own = 0.35 * draw.normal(size=path[0].shape)
    found = []
    for place in places:
        own = 0.97 * own + 0.09 * draw.normal(size=own.shape)
        scale = draw.uniform(0.5, 1.5, size=own.shape[1])
        found.append((path[int(place * (len(path) - 1))] + own) * scale)
    return found


def _real(home: Path) -> SimilarityTable:
    """The demo donors on the demo photographs."""
    bars = Bars()
    donors = Donors(open_zoo(home, None, bars))
    images = open_photographs(Options(home), bars).calibration
    return zoo_similarity(donors, images, Cache(home / "cache"), bars)


# --- DeRy's procedure -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """DeRy's procedure on one table; positions are (donor, stage), cuts (donors, K + 1)."""

    table: SimilarityTable
    k: int
    epsilon: float | None
    literal: bool = False

    def run(self, trials: int, seed: int) -> float:
        """The best objective of all trials, as all partitions are valued."""
        space = BlockSpace(self.table, self.k, Caps(self.epsilon))
        allowed = self._allowed()
        answers = [self._trial(space, allowed, [seed, trial]) for trial in range(trials)]
        return max(answers)[1]

    def _trial(self, space: BlockSpace, allowed: NDArray[np.bool_], seed: list[int]) -> Any:
        """The best objective of one trial: as the procedure sees it, and as it is."""
        draw = np.random.default_rng(seed)
        blocks = space.partition(draw.random(len(space)))
        assert blocks is not None
        cuts = np.column_stack([space.start[blocks], space.end[blocks][:, -1:]])
        centres = draw.choice(blocks.size, self.k, replace=False)
        sets = self._nearest(cuts, centres)
        best, idle = (-np.inf, -np.inf), 0
        for _ in range(ITERATIONS):
            cuts = self._passed_on(cuts, self._spans(cuts)[centres][sets], allowed)
            centres = self._medoids(cuts, sets)
            sets = self._nearest(cuts, centres)
            seen = self._objective(cuts, centres, sets, self.literal)
            if seen > best[0] + 1e-12:
                best, idle = (seen, self._objective(cuts, centres, sets, False)), 0
            else:
                idle += 1
            if idle > PATIENCE:
                break
        return best

    def _allowed(self) -> NDArray[np.bool_]:
        """Which (donor, first boundary, last boundary) keep the caps."""
        width = max(map(len, self.table.models)) + 1
        found = np.zeros((len(self.table.models), width, width), dtype=bool)
        for donor, model in enumerate(self.table.models):
            one = Caps(self.epsilon).allowed(model, self.k)
            found[donor, : len(one), : len(one)] = one
        return found

    def _spans(self, cuts: Int) -> Int:
        """(positions, 4): row where a block begins and where it ends, its stage, its first row."""
        first = np.array(self.table.offsets)[:, None]
        enter, leave = first + cuts[:, :-1], first + cuts[:, 1:]
        stage = np.broadcast_to(np.arange(self.k), enter.shape)
        inner = enter + 1 if self.literal else enter
        return np.stack([enter, leave, stage, inner], axis=-1).reshape(-1, 4)

    def _alike(self, blocks: Int, centres: Int, literal: bool) -> Float:
        """S of blocks and centres, shapes (..., 4) that go together."""
        values = self.table.values
        same = (blocks[..., :2] == centres[..., :2]).all(axis=-1)
        if not literal:
            found = (
                values[blocks[..., 0], centres[..., 0]] + values[blocks[..., 1], centres[..., 1]]
            )
            return np.where(same, 2.0, found)
        found = values[blocks[..., 3], centres[..., 3]] + values[blocks[..., 1], centres[..., 1]]
        found = np.where(blocks[..., 2] == centres[..., 2], found, 0.0)
        return np.where(same, 1.0, found)

    def _nearest(self, cuts: Int, centres: Int) -> Int:
        """The set of every position: that of the nearest centre; a centre's own is its own."""
        spans = self._spans(cuts)
        sets = self._alike(spans[:, None], spans[centres][None], self.literal).argmax(axis=1)
        sets[centres] = np.arange(self.k)
        return sets

    def _medoids(self, cuts: Int, sets: Int) -> Int:
        spans, found = self._spans(cuts), []
        for number in range(self.k):
            members = np.flatnonzero(sets == number)
            alike = self._alike(spans[members][:, None], spans[members][None], self.literal)
            found.append(members[alike.sum(axis=0).argmax()])
        return np.array(found)

    def _passed_on(self, cuts: Int, goals: Int, allowed: NDArray[np.bool_]) -> Int:
        """Neighbours pass on the node, if any, that brings both nearest to their goals in sum."""
        goals = goals.reshape(len(cuts), self.k, 4)
        donors = np.arange(len(cuts))
        for stage in range(self.k - 1):
            options, worth = [], []
            for shift in (0, -1, 1):
                moved = cuts.copy()
                moved[:, stage + 1] += shift
                left, right = moved[:, stage : stage + 2], moved[:, stage + 1 : stage + 3]
                fits = (left[:, 1] > left[:, 0]) & (right[:, 1] > right[:, 0])
                fits &= allowed[donors, left[:, 0], left[:, 1]]
                fits &= allowed[donors, right[:, 0], right[:, 1]]
                spans = self._spans(np.where(fits[:, None], moved, cuts)).reshape(goals.shape)
                pair = slice(stage, stage + 2)
                alike = self._alike(spans[:, pair], goals[:, pair], self.literal).sum(axis=1)
                options.append(moved)
                worth.append(np.where(fits | (shift == 0), alike, -np.inf))
            chosen = np.argmax(np.array(worth), axis=0)
            cuts = np.array(options)[chosen, donors]
        return cuts

    def _objective(self, cuts: Int, centres: Int, sets: Int, literal: bool) -> float:
        spans = self._spans(cuts)
        return float(self._alike(spans, spans[centres][sets], literal).sum())


# --- enumeration ------------------------------------------------------------------------------


def _enumerated(seed: int, trials: int) -> dict[str, Any]:
    """One small zoo: the optimum of all partitions and anchors, and what is found of it."""
    zoo = synthetic(3, seed, (5, 6, 7))
    k, best = 3, -np.inf
    for chosen in product(*(_cuts(len(model), k) for model in zoo.models)):
        spans = [(o + a, o + b) for o, own in zip(zoo.offsets, chosen, strict=True) for a, b in own]
        starts, ends = np.array(spans).T
        alike = zoo.values[np.ix_(starts, starts)] + zoo.values[np.ix_(ends, ends)]
        np.fill_diagonal(alike, 2.0)
        anchors = np.array(list(combinations(range(len(spans)), k)))
        best = max(best, float(alike[:, anchors].max(axis=2).sum(axis=0).max()))
    found = partition(zoo, k, epsilon=None)
    space = BlockSpace(zoo, k, Caps(None))
    return {
        "optimum": best,
        "partition": found.objective,
        "proven": found.proven,
        "search": search(space, 0, STARTS, SILENT).value,
        "reference": Reference(zoo, k, None).run(trials, 0),
    }


def _cuts(count: int, k: int) -> list[tuple[tuple[int, int], ...]]:
    """All ways to cut `count` nodes into `k` blocks."""
    return [tuple(pairwise((0, *c, count))) for c in combinations(range(1, count), k - 1)]


# --- the comparison ---------------------------------------------------------------------------


def _case(name: str, zoo: SimilarityTable, seed: int, trials: int) -> dict[str, Any]:
    """All procedures on one zoo."""
    space = BlockSpace(zoo, K, Caps(EPSILON))
    reference, literal = Reference(zoo, K, EPSILON), Reference(zoo, K, EPSILON, literal=True)
    whole, seconds = _timed(lambda: partition(zoo, K, epsilon=EPSILON, seed=seed, starts=STARTS))
    return {
        "zoo": name,
        "donors": len(zoo.models),
        "nodes": sum(map(len, zoo.models)),
        "blocks": len(space),
        "reference": _found(lambda: reference.run(trials, seed)),
        "literal": _found(lambda: literal.run(trials, seed)),
        "search": _found(lambda: search(space, seed, STARTS, SILENT).value),
        "partition": {
            "objective": whole.objective,
            "seconds": seconds,
            "bound": whole.bound,
            "proven": whole.proven,
            "solver": whole.solver,
        },
    }


def _found(run: Callable[[], float]) -> dict[str, float]:
    objective, seconds = _timed(run)
    return {"objective": objective, "seconds": seconds}


def _timed(run: Callable[[], Answer]) -> tuple[Answer, float]:
    start = time.perf_counter()
    return run(), time.perf_counter() - start


def _table(cases: list[dict[str, Any]]) -> Any:
    columns = ("zoo", ">blocks", ">DeRy literal", ">DeRy", ">search", ">partition", ">bound", "")
    rows = [
        (
            case["zoo"],
            str(case["blocks"]),
            *(_cell(case[kind]) for kind in ("literal", "reference", "search", "partition")),
            f"{case['partition']['bound']:.3f}",
            "proven" if case["partition"]["proven"] else "",
        )
        for case in cases
    ]
    return printed("Objective (seconds)", columns, rows)


def _cell(found: dict[str, float]) -> str:
    return f"{found['objective']:.3f} ({found['seconds']:.1f} s)"


def _small_line(small: list[dict[str, Any]]) -> str:
    """How often each procedure finds the optimum of enumeration."""
    hits = {
        kind: sum(abs(case[kind] - case["optimum"]) < 1e-6 for case in small)
        for kind in ("partition", "search", "reference")
    }
    said = ", ".join(f"{kind} {count}" for kind, count in hits.items())
    return f"Optimum of enumeration found in {len(small)} small zoos: {said}."


def _setting(trials: int) -> dict[str, object]:
    return {"k": K, "epsilon": EPSILON, "trials": trials, "starts": STARTS}


def _machine() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": {name: version(name) for name in ("numpy", "ortools")},
    }


if __name__ == "__main__":
    main()

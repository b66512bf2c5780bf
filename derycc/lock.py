"""The lock of a build: what its answer followed from, and the answer; and the same network again.

A search depends on what was measured, and on another machine something else is measured. The
network does not: given the same donors, photographs and versions, the lock's network is built to
the same bits anywhere.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from compiler.candidates import Candidate
from compiler.design import has_int8
from compiler.folding import FOLDING
from compiler.formats import checked_content, first_fault, read_text
from compiler.judged import MAX_DROP
from compiler.recipe import Recipe
from compiler.recipe_network import SEED
from compiler.workbench import Workbench
from derycc.building import Built
from derycc.manifest_asked import Replayed
from derycc.papers import AnyBuilt, AnyRequest, built_recipe, versions
from derycc.papers_asked import beliefs
from derycc.papers_targets import costs_digest, locked_targets
from derycc.session import Options
from targets.errors import DataError, UsageError, ZooError

FORMAT = "derycc.lock/1"
NAME = "derycc.lock"


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class Lock:
    """What a lock says of its network.

    Attributes:
        versions: of the packages that it was built with.
        views: crops and flips of each photograph that stitches were fitted to.
        donors: sha256 of the weights of every donor of the zoo, by full name.
        images: digest of the photographs.
        recipe: the network.
        model_sha256: of its model.onnx.
        int8: its parts in int8: number of the segment, start, end.
        max_drop: most score that these might cost it.
        folding: by which version its graph was folded; 0: before that was noted.
    """

    versions: dict[str, str]
    views: int
    donors: dict[str, str]
    images: str
    recipe: dict[str, Any]
    model_sha256: str
    int8: tuple[tuple[int, str, str], ...] = ()
    max_drop: float = MAX_DROP
    folding: int = 0

    def network(self, where: str) -> Recipe:
        """The network as a recipe."""
        return Recipe.from_json(json.dumps(self.recipe), f"The network in {where}")

    def require(self, bench: Workbench) -> None:
        """Refuse a workbench on which another network would come out.

        Raises:
            ZooError: a donor has other weights.
            DataError: the photographs are others, or split in another way.
        """
        for model in bench.zoo:
            locked = self.donors.get(model.name)
            if locked is not None and locked != model.weights_sha256:
                raise ZooError(
                    f"The lock was made with other weights of {model.name} (sha256 "
                    f"{locked[:12]}, here {model.weights_sha256[:12]}). Name the donors that it "
                    "was made with by --zoo."
                )
        if bench.photographs.digest != self.images:
            raise DataError(
                "The stitches of the lock were fitted to other photographs, or to other views of "
                "them. Name the photographs that it was made with by --data and --judge-data."
            )

    def compared(self, candidate: Candidate) -> Replayed:
        """Whether this is the lock's network, and if not, the likely reason."""
        same = hashlib.sha256(candidate.model.onnx).hexdigest() == self.model_sha256
        said = "The network is the lock's, bit for bit." if same else self._other()
        return Replayed(self.model_sha256, same, said)

    def _other(self) -> str:
        now = versions()
        changed = [
            f"{name} {was}, now {now.get(name)}"
            for name, was in self.versions.items()
            if was != now.get(name)
        ]
        found = [f"it was built with {'; '.join(changed)}"] if changed else []
        if self.folding != FOLDING:
            was = (
                f"by version {self.folding} of the rewrites"
                if self.folding
                else "by older rewrites"
            )
            found.append(f"its graph was folded {was}, now by version {FOLDING}")
        why = ", and ".join(found) or "this machine rounds otherwise"
        return f"The network is the lock's, but not bit for bit: {why}."


def lock_text(built: AnyBuilt, request: AnyRequest, options: Options, bench: Workbench) -> str:
    """What `derycc.lock` of a build holds."""
    searched = isinstance(built, Built)
    content: dict[str, object] = {
        "format": FORMAT,
        "versions": versions(),
        "folding": FOLDING,
        "target": str(bench.target),
        "zoo": options.zoo,
        "sizes": list(bench.settings.sizes),
        "request": asdict(request),
        "budget_us": built.budget_us,
        "views": options.views,
        "donors": {model.name: model.weights_sha256 for model in bench.zoo},
        "images": bench.photographs.digest,
        "cost_table": costs_digest(bench) if searched else None,
        "targets": locked_targets(bench) if searched else [],
        "judged": _judged(bench) if searched else None,
        "beliefs": _beliefs(built),
        "seed": built.trial.assembly.seed if isinstance(built, Built) else SEED,
        "answer": _answer(built) if isinstance(built, Built) else None,
        "network": asdict(built.candidate.design),
        "recipe": built_recipe(built, bench).content(),
        "model_sha256": hashlib.sha256(built.candidate.model.onnx).hexdigest(),
    }
    design = built.candidate.design
    if has_int8(design):
        content |= {"int8": design.int8, "max_drop": bench.settings.max_drop}
    return json.dumps(content, indent=2) + "\n"


def is_lock(named: str) -> bool:
    """Whether a text names a lock, not a recipe."""
    return Path(named).suffix == ".lock" and Path(named).is_file()


def read_lock(path: Path) -> Lock:
    """A lock file.

    Raises:
        UsageError: it cannot be read, or is none that tells its network.
    """
    where = f"The lock '{path}'"
    return _validated(checked_content(read_text(path, "lock", FORMAT), where, FORMAT), where)


def _validated(content: Mapping[str, Any], where: str) -> Lock:
    try:
        return _adapter().validate_python(content)
    except ValidationError as error:
        raise UsageError(f"{where} cannot be used: {first_fault(error)}") from error


@cache
def _adapter() -> TypeAdapter[Lock]:
    return TypeAdapter(Lock)


def _judged(bench: Workbench) -> dict[str, object]:
    """The drops that the search started from: how many were judged, and the hash of their file."""
    judged = bench.judged_stitches
    return {"networks": len(judged.read()), "sha256": judged.sha256}


def _beliefs(built: AnyBuilt) -> dict[str, object] | None:
    """What the chosen network was predicted by: all that the solver knew besides the costs."""
    noted = beliefs(built)
    return None if noted is None else asdict(noted)


def _answer(built: Built) -> dict[str, object]:
    """The solver's, without what differs from run to run, and what it was given."""
    answer = built.trial.assembly
    return {
        "solver": answer.solver,
        "status": answer.status,
        "arcs": list(answer.arcs),
        "objective": answer.objective,
        "bound": answer.bound,
        "tried_before": built.trial.order,
    }

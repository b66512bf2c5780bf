"""Partitioning: from a zoo and photographs to equivalence sets in a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from compiler.block_caps import Caps, legal_blocks
from compiler.cache import Cache, digest, write_atomic
from compiler.donors import Donors
from compiler.equivalence import Partition
from compiler.partition import STARTS, TIME_LIMIT_S, Effort, Exactness, partition
from compiler.progress import Progress
from compiler.similarity_table import ModelNodes
from compiler.zoo import open_zoo
from compiler.zoo_similarity import Method, zoo_nodes, zoo_similarity
from derycc.session import Options, make_home, open_photographs
from targets.errors import UnknownNameError, UsageError
from targets.scratch import scratch_folder

_NAMED = 60
"""So many letters of a zoo's text are in the name of a partition's file."""


@dataclass(frozen=True, slots=True)
class PartitionRequest:
    """What a partition is asked for.

    Attributes:
        k: blocks of every donor, and equivalence sets.
        epsilon: cap on a block's nodes, see `Caps`; None: none.
        param_epsilon: cap on a block's parameters.
        size: input size in pixels for all donors; None: each donor's own.
        measure: of similarity.
        biased: take the biased estimator of CKA.
        seed: of the search.
        starts: of the search.
        time_limit_s: effort of bound and proof.
        exact: "auto", "always" or "never".
        device: where donors run: "cpu", "cuda".
    """

    k: int
    epsilon: float | None = 0.2
    param_epsilon: float | None = None
    size: int | None = None
    measure: str = "linear_cka"
    biased: bool = False
    seed: int = 0
    starts: int = STARTS
    time_limit_s: float = TIME_LIMIT_S
    exact: Exactness = "auto"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what makes no sense before anything is opened."""
        Effort(self.seed, self.starts, self.time_limit_s, self.exact)
        Caps(self.epsilon, self.param_epsilon)
        Method(self.measure, not self.biased)

    @property
    def caps(self) -> Caps:
        """The caps on blocks."""
        return Caps(self.epsilon, self.param_epsilon)

    def sizes(self, donors: Donors) -> dict[str, int]:
        """Input sizes by donor; empty: their own."""
        return {} if self.size is None else dict.fromkeys(donors.names, self.size)


def partition_zoo(request: PartitionRequest, options: Options, progress: Progress) -> Partition:
    """Compare all boundaries of a zoo on the calibration photographs, and partition it.

    Photographs that are held out take no part: what is chosen by the sets is judged on them.

    Raises:
        UsageError: the caps leave no partition of some donor; photographs are too few.
        ZooError, DataError: weights or images cannot be used.
    """
    make_home(options.home)
    donors = Donors(open_zoo(options.home, options.zoo, progress))
    cache, sizes = Cache(options.home / "cache"), request.sizes(donors)
    _check_caps(request, zoo_nodes(donors, cache, progress, sizes))
    images = open_photographs(options, progress).calibration
    table = zoo_similarity(
        donors,
        images,
        cache,
        progress,
        request.measure,
        unbiased=not request.biased,
        sizes=sizes,
        device=request.device,
    )
    return partition(
        table,
        request.k,
        epsilon=request.epsilon,
        param_epsilon=request.param_epsilon,
        seed=request.seed,
        starts=request.starts,
        time_limit_s=request.time_limit_s,
        exact=request.exact,
        progress=progress,
    )


def plan_partition(
    request: PartitionRequest, options: Options, path: Path, progress: Progress
) -> list[str]:
    """What a partition would do; compares nothing, and leaves the home folder as it is.

    Only donors that are not there yet are fetched.
    """
    donors = Donors(open_zoo(options.home, options.zoo, progress))
    with scratch_folder() as temporary:
        models = zoo_nodes(donors, Cache(temporary), progress, request.sizes(donors))
    _check_caps(request, models)
    boundaries = sum(len(model) + 1 for model in models)
    return [
        *(f"{m.name}: {len(m)} nodes, {sum(m.params):,} parameters in them." for m in models),
        f"Would compare {boundaries} boundaries of {len(models)} donors by {request.measure}, and "
        f"group {request.k * len(models)} blocks into {request.k} sets.",
        f"Would write {path}. Nothing was compared (--dry-run).",
    ]


def _check_caps(request: PartitionRequest, models: tuple[ModelNodes, ...]) -> None:
    """Refuse what cannot be cut before donors run."""
    for model in models:
        legal_blocks(model, request.k, request.caps)


def parse_epsilon(option: str, text: str) -> float | None:
    """A cap as the user wrote it: a number, or `none`.

    Raises:
        UsageError: it is neither.
    """
    if text.strip().lower() == "none":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(
            f"Cannot read {text!r} as {option}. Give a number such as 0.2, or none."
        ) from error


def parse_exact(text: str) -> Exactness:
    """When to try a proof, as the user wrote it.

    Raises:
        UnknownNameError: there is no such choice.
    """
    for choice in get_args(Exactness):
        if text == choice:
            return cast(Exactness, choice)
    raise UnknownNameError("choice of --exact", text, get_args(Exactness))


def partition_file(out: Path | None, request: PartitionRequest, options: Options) -> Path:
    """Where the partition goes: as asked, else under the home folder.

    Its name has the zoo's beginning, the number of sets and the measure, and a hash of all that it
    follows from: another request does not replace it.
    """
    if out is not None:
        return out
    asked = f"{(options.zoo or 'demo')[:_NAMED]} k{request.k} {request.measure}"
    words = "".join(c if c.isalnum() or c in "._" else " " for c in asked).split()
    key = digest(options.zoo, options.data, options.sizes, request)[:8]
    return options.home / "partitions" / f"{'-'.join([*words, key])}.json"


def check_file(path: Path) -> None:
    """Refuse a file that a partition must not replace.

    Raises:
        UsageError: it is there and is no partition.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file with --out.")
    if path.exists():
        try:
            Partition.load(path)
        except UsageError as error:
            raise UsageError(
                f"{path} exists and is no partition of derycc, so it is not overwritten. Name "
                "another file with --out."
            ) from error


def write_partition(path: Path, found: Partition) -> None:
    """Write the file; it is there whole or not at all.

    Raises:
        WorkspaceError: it cannot be written.
    """
    write_atomic(path, found.to_json().encode())

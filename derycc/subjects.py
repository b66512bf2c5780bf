"""Subjects: what a prediction is asked for: a build, a recipe, or a donor left whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.demo_zoo import DEMO_DONORS
from compiler.design import Design
from compiler.network import Blueprint
from compiler.progress import Progress
from compiler.recipe import read_recipe, shipped
from compiler.recipe_zoo import Weights, open_recipe_zoo
from compiler.zoo import Zoo, open_zoo
from compiler.zoo_model import untagged
from derycc.checking import recorded_design
from derycc.manifest import NAME, Manifest, read_manifest
from derycc.session import Options
from targets.errors import UnknownNameError, UsageError

DEFAULT_TARGET = "cpu"


@dataclass(frozen=True, slots=True)
class Subject:
    """A network whose latency is asked for.

    Attributes:
        what: as it was asked for.
        design: what it is made of, under its donors' full names.
        zoo: where these come from; it is profiled.
        sizes: input sizes in pixels at which it is profiled; the network's is among them.
        folder: the build; None: it is none.
        manifest: what the build says of itself.
    """

    what: str
    design: Design
    zoo: Zoo
    sizes: tuple[int, ...]
    folder: Path | None = None
    manifest: Manifest | None = None

    @property
    def target(self) -> str:
        """The device, as `--target` takes it, where the user names none."""
        return DEFAULT_TARGET if self.manifest is None else self.manifest.target


def open_subject(what: str, options: Options, weights: Weights, progress: Progress) -> Subject:
    """Find out what is meant, and open its donors, fetching what is not there yet.

    Args:
        what: a build's folder, a recipe's file or name, or a donor of the zoo.
        options: of the command; their target is not looked at.
        weights: of a recipe's models that are not in the zoo.
        progress: told about whatever has to be fetched.

    Raises:
        UnknownNameError: it is none of these; the message says what there is.
        UsageError, ZooError: it is one, and cannot be used.
    """
    path = Path(what)
    if (path / NAME).is_file():
        return _build(path, options, weights, progress)
    if what in shipped() or path.is_file() or _names_a_file(path):
        return _recipe(what, options, weights, progress)
    return _donor(what, options, progress)


def _build(folder: Path, options: Options, weights: Weights, progress: Progress) -> Subject:
    manifest = read_manifest(folder)
    if manifest.precision is not None:
        raise UsageError(
            f"{folder} has blocks in int8, and a prediction by its recipe knows fp32 alone. "
            "Use derycc explain, which says what its search predicted, or derycc bench."
        )
    design, zoo = recorded_design(folder, manifest, options, progress, weights)
    sizes = _with(design.input_size, options.sizes or _recorded_sizes(manifest))
    return Subject(str(folder), design, zoo, sizes, folder, manifest)


def _recipe(what: str, options: Options, weights: Weights, progress: Progress) -> Subject:
    asked = read_recipe(what)
    recipe, zoo = open_recipe_zoo(asked, options.home, options.zoo, weights, progress)
    return Subject(what, recipe, zoo, _with(recipe.input_size, options.sizes))


def _donor(what: str, options: Options, progress: Progress) -> Subject:
    if options.zoo is None:
        _check_known(what, [donor.name for donor in DEMO_DONORS])  # before any of them is fetched
    zoo = open_zoo(options.home, options.zoo, progress)
    _check_known(what, zoo.names)
    model = zoo.find(what)
    size = (*options.sizes, model.preprocessing.input_size)[0]
    design = Blueprint.pure(model.name, size)
    return Subject(what, design, zoo, _with(size, options.sizes or _own_sizes(zoo)))


def _names_a_file(path: Path) -> bool:
    return path.suffix == ".json" or (path.name != str(path) and not path.is_dir())


def _check_known(what: str, donors: Sequence[str]) -> None:
    if any(what in (name, untagged(name)) for name in donors):
        return
    if Path(what).is_dir():
        read_manifest(Path(what))  # says why the folder is no build
    raise UnknownNameError("build, recipe or donor", what, (*shipped(), *donors))


def _own_sizes(zoo: Zoo) -> tuple[int, ...]:
    return tuple(model.preprocessing.input_size for model in zoo)


def _recorded_sizes(manifest: Manifest) -> tuple[int, ...]:
    """The sizes at which its zoo was profiled for a build; none where nobody noted them."""
    session = manifest.session
    return () if session is None or manifest.network.recipe is not None else session.sizes


def _with(size: int, sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({size, *sizes}))

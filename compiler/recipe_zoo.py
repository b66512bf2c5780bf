"""Recipe zoo: the donors that a recipe names, opened."""

from pathlib import Path
from typing import Literal, get_args

from compiler.progress import Progress
from compiler.recipe import Recipe
from compiler.user_models import is_user_code
from compiler.zoo import Zoo, open_zoo
from compiler.zoo_model import ZooModel, untagged
from targets.errors import UnknownNameError, UsageError, ZooError

Weights = Literal["random", "pretrained"]

_RANDOM = ".random"


def parse_weights(text: str) -> Weights:
    """`random` or `pretrained`; raises UnknownNameError for any other."""
    for known in get_args(Weights):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise UnknownNameError("kind of weights", text, get_args(Weights))


def open_recipe_zoo(
    recipe: Recipe,
    home: Path,
    zoo: str | None = None,
    weights: Weights = "pretrained",
    progress: Progress | None = None,
) -> tuple[Recipe, Zoo]:
    """Open the donors of a recipe, fetching what is not there yet.

    A model is looked for in the zoo first, by its full name or by its name without the tag. Else it
    is opened by its name: with timm's own pretrained weights, or with random ones.

    Args:
        recipe: names the models.
        home: the workspace folder.
        zoo: as `open_zoo` takes it; None: there is none to look in.
        weights: of models that are not in the zoo.
        progress: told about whatever has to be fetched.

    Returns:
        The recipe under the full names of the donors, and the zoo of these and of all in `zoo`.

    Raises:
        UnknownNameError: a model that is neither in the zoo nor an architecture.
        UsageError: a model's text that names several networks.
        ZooError: weights that cannot be used or fetched, or code that the user has not named.
    """
    opened = open_zoo(home, zoo, progress) if zoo is not None else Zoo(())
    found = {name: _open(name, opened, home, weights, progress) for name in recipe.donors}
    models = {model.name: model for model in (*found.values(), *opened)}
    names = {asked: model.name for asked, model in found.items()}
    return recipe.renamed(names), Zoo(tuple(models.values()))


def _open(
    name: str, opened: Zoo, home: Path, weights: Weights, progress: Progress | None
) -> ZooModel:
    if any(name in (model.name, model.untagged) for model in opened):
        return opened.find(name)
    if is_user_code(name):
        raise ZooError(
            f"The recipe names code as a model: {name}. A file may not choose what code is run; "
            f"that is for you to do: --zoo {name}."
        )
    random = weights == "random" or name.endswith(_RANDOM)
    found = open_zoo(home, f"random:{untagged(name)}" if random else name, progress)
    if len(found) != 1:
        raise UsageError(
            f"The recipe's model '{name}' is {len(found)} networks: {', '.join(found.names)}. Name "
            "one of them."
        )
    return found.models[0]

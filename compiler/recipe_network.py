"""Recipe network: the torch module that a recipe describes. The one counted is the one built."""

import torch
from torch import Tensor, nn

from compiler.dery_stitch import DeryHead, DeryShape, DeryStem, DeryStitch, seeded
from compiler.donors import Donors
from compiler.linear_stitch import LinearStitch
from compiler.preprocessing import Preprocessing
from compiler.recipe import Recipe
from compiler.recipe_plan import JointShape, RecipePlan, plan_recipe

SEED = 0
"""Of the new layers' first weights."""


class RecipeNetwork(nn.Module):
    """Segments of donors joined by stitches: normalized (N, 3, S, S) in, logits (N, classes) out.

    The donors' parameters and statistics are copied in. The network is made in eval mode, with
    every parameter trainable; `freeze` leaves the new layers alone to be trained.
    """

    def __init__(
        self,
        recipe: Recipe,
        preprocessing: Preprocessing,
        segments: list[nn.Module],
        stitches: list[nn.Module],
        stem: nn.Module | None = None,
        head: nn.Module | None = None,
    ) -> None:
        """Take the parts.

        Args:
            recipe: what they follow.
            preprocessing: how the network wants its pictures.
            segments: of the donors, in order.
            stitches: what joins them, one fewer.
            stem: before the first segment; None: it begins with the donor's.
            head: behind the last segment; None: it ends with the donor's.
        """
        super().__init__()
        self.recipe = recipe
        self.preprocessing = preprocessing
        self.stem = stem or nn.Identity()
        self.segments = nn.ModuleList(segments)
        self.stitches = nn.ModuleList(stitches)
        self.head = head or nn.Identity()
        self._frozen = False

    def forward(self, x: Tensor) -> Tensor:
        """Stem, segments with the stitches between them, head."""
        y: Tensor = self.head(self.segments[-1](self._entering(x, len(self.segments) - 1)))
        return y

    def prefix(self, x: Tensor, index: int) -> Tensor:
        """The activation that arrives at stitch `index`."""
        y: Tensor = self.segments[index](self._entering(x, index))
        return y

    def _entering(self, x: Tensor, index: int) -> Tensor:
        """The activation that enters segment `index`."""
        x = self.stem(x)
        for segment, stitch in zip(self.segments[:index], self.stitches[:index], strict=True):
            x = stitch(segment(x))
        return x

    def freeze(self) -> "RecipeNetwork":
        """Freeze the donors' segments: no gradients, and batch-norm statistics that never move.

        DeRy's own frozen blocks kept their parameters alone; their statistics went on moving.
        """
        self._frozen = True
        self.segments.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> "RecipeNetwork":
        """Set the mode; frozen segments stay in eval mode."""
        super().train(mode)
        if self._frozen:
            self.segments.eval()
        return self


def build_recipe(recipe: Recipe, donors: Donors, seed: int = SEED) -> RecipeNetwork:
    """Build a recipe's network, untrained where it is new.

    Args:
        recipe: its models are names of `donors`.
        donors: where the segments are copied from; on the meta device if these have shapes only.
        seed: of the new layers' first weights; torch's global random state stays.

    Raises:
        UnknownNameError, UsageError, ZooError: as `plan_recipe`.
    """
    return build_plan(plan_recipe(recipe, donors), donors, seed)


def build_plan(plan: RecipePlan, donors: Donors, seed: int = SEED) -> RecipeNetwork:
    """Build a planned recipe's network; see `build_recipe`."""
    recipe = plan.recipe
    device = torch.device("meta") if donors.shapes_only else torch.device("cpu")
    with seeded(seed), device:
        stem = DeryStem(plan.stem) if plan.stem else None
        stitches = [_stitch(shape) for shape in plan.stitches]
        head = DeryHead(plan.head) if plan.head else None
    segments = [run.module() for run in plan.runs]
    preprocessing = donors.preprocessing(recipe.segments[0].model, recipe.input_size)
    network = RecipeNetwork(recipe, preprocessing, segments, stitches, stem, head)
    return network.requires_grad_(True).eval()


def _stitch(shape: JointShape) -> nn.Module:
    return DeryStitch(shape) if isinstance(shape, DeryShape) else LinearStitch(shape)

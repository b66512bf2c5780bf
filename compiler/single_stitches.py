"""Single stitches: a sample of a space's networks that have one stitch, to be really judged.

The idea is Puzzle's "replace one block" (design, section 5): what one stitch costs is measured
where nothing else has changed.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise, zip_longest

from compiler.cache import digest
from compiler.compatibility import StitchOption
from compiler.dissection import INPUT, OUTPUT
from compiler.network import Blueprint, Segment
from compiler.search_space import option_id

PARTS = 3


def single_stitch(option: StitchOption) -> Blueprint:
    """The network that has this stitch and no other."""
    head = Segment(option.source_model, INPUT, option.source.name)
    tail = Segment(option.target_model, option.target.name, OUTPUT)
    return Blueprint(option.size, (head, tail))


def sample(options: Iterable[StitchOption], count: int) -> tuple[StitchOption, ...]:
    """A stratified choice; a larger one begins with the smaller one.

    The pairs of donors take turns. Of each pair, cells take turns: thirds by depth and by residual
    of the stitches on one grid, thirds by residual of those that halve the resolution. Within a
    cell the order is that of a hash, so that it hangs on nothing but the stitches themselves.

    Args:
        options: stitches on offer, at any input sizes.
        count: how many to choose; fewer where there are fewer.
    """
    pairs: dict[tuple[str, str], list[StitchOption]] = {}
    for option in sorted(options, key=_shuffled):
        pairs.setdefault((option.source_model, option.target_model), []).append(option)
    found = [_turns(pairs[pair], number) for number, pair in enumerate(sorted(pairs))]
    return tuple(_mixed(found)[:count])


def _turns(options: Sequence[StitchOption], first: int) -> list[StitchOption]:
    """The stitches of one pair of donors; pairs begin with different cells."""
    plain = [option for option in options if option.shape.stride == 1]
    strided = [option for option in options if option.shape.stride > 1]
    cells: list[list[StitchOption]] = []
    for part, others in zip(_parts(plain, _depth), _parts(strided, _residual), strict=True):
        cells += [*_parts(part, _residual), others]
    first %= len(cells)
    return _mixed([*cells[first:], *cells[:first]])


def _parts(
    options: Sequence[StitchOption], by: Callable[[StitchOption], float]
) -> list[list[StitchOption]]:
    """Thirds of the options, each in the order in which they came."""
    ranked = sorted(range(len(options)), key=lambda i: (by(options[i]), i))
    bounds = [len(options) * part // PARTS for part in range(PARTS + 1)]
    return [[options[i] for i in sorted(ranked[low:high])] for low, high in pairwise(bounds)]


def _mixed(rows: Sequence[Sequence[StitchOption]]) -> list[StitchOption]:
    """One of each row, then the next of each."""
    return [option for option in chain(*zip_longest(*rows)) if option is not None]


def _depth(option: StitchOption) -> float:
    return option.source.depth


def _residual(option: StitchOption) -> float:
    return 1.0 - option.r2


def _shuffled(option: StitchOption) -> str:
    return digest(option_id(option))

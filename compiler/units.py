"""Units: the repeated modules of a network (residual unit, MBConv, transformer block)."""

from collections.abc import Container, Iterable, Mapping

from torch import fx

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


def unit_ends(nodes: list[fx.Node], legal: Container[int]) -> dict[int, str]:
    """Position of the last node of every unit, with the unit's module name.

    A unit is a composite module with a computation of its own (no bare container) that stands in
    a row of its like: it has a numbered name, or siblings of its class. Of nested units the
    innermost counts whose end is at a `legal` position. A composite module beside the units of a
    stage (patch merging, downsampling) is a unit too. A network without any (a plain chain of
    layers) falls back to its numbered layers.
    """
    last: dict[str, int] = {}
    kinds: dict[str, str] = {}
    for position, node in enumerate(nodes):
        for path, kind in module_stack(node):
            last[path] = position
            kinds[path] = kind
    units = {path for path in _units(kinds) if last[path] in legal}
    innermost = {path for path in units if not any(_inside(other, path) for other in units)}
    beside = {path for path in _beside(kinds, innermost) if last[path] in legal}
    return {last[path]: path for path in sorted(innermost | beside, key=last.__getitem__)}


def first_positions(nodes: list[fx.Node], names: Container[str]) -> dict[str, int]:
    """Position of the first node of every module in `names`."""
    first: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for path, _ in module_stack(node):
            if path in names:
                first.setdefault(path, position)
    return first


def module_stack(node: fx.Node) -> list[tuple[str, str]]:
    """(module path, class name) of every module around a node, outermost first."""
    stack = (node.meta.get("nn_module_stack") or {}).values()
    return [(path, kind if isinstance(kind, str) else kind.__name__) for path, kind in stack]


def _units(kinds: Mapping[str, str]) -> set[str]:
    own = {path for path in kinds if path and not kinds[path].endswith(_CONTAINERS)}
    rows = {path for path in own & _parents(kinds) if _is_row(path, kinds)}
    places = {_place(path, kinds) for path in rows}
    # Alone in its stage, like the only block of RegNetY-16GF's last one (`s4.b1`).
    composite = {path for path in own & _parents(kinds) if _place(path, kinds) in places}
    return composite or {path for path in own if _number(path)}


def _place(path: str, kinds: Mapping[str, str]) -> tuple[str, str | None]:
    """The class of a module, and of the one around it."""
    return kinds[path], kinds.get(path.rpartition(".")[0])


def _beside(kinds: Mapping[str, str], units: set[str]) -> set[str]:
    """Composite modules that stand in a numbered stage beside its units."""
    stages = {path for path in _parents(units) if _number(path)}
    return {
        path
        for path in kinds.keys() & _parents(kinds) - units
        if path.rpartition(".")[0] in stages
        and not any(_inside(unit, path) or _inside(path, unit) for unit in units)
    }


def _parents(paths: Iterable[str]) -> set[str]:
    """By name, at any distance: a list of modules is never called, so it has no kind."""
    return {path[:end] for path in paths for end, sign in enumerate(path) if sign == "."}


def _inside(path: str, around: str) -> bool:
    return path.startswith(around + ".")


def _is_row(path: str, kinds: Mapping[str, str]) -> bool:
    """Numbered (`blocks.4.2`), or one of several of its class side by side (`s1.b1`, `s1.b2`)."""
    if _number(path):
        return True
    parent = path.rpartition(".")[0]
    alike = [
        other
        for other, kind in kinds.items()
        if kind == kinds[path] and other.rpartition(".")[0] == parent
    ]
    holds_layers = sum(other.startswith(path + ".") for other in kinds) > 3
    return len(alike) > 1 and holds_layers


def _number(path: str) -> bool:
    return path.rpartition(".")[2].isdigit()

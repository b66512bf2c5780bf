"""Units: the repeated modules of a network (residual unit, MBConv, transformer block)."""

from collections.abc import Container

from torch import fx

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


def unit_ends(nodes: list[fx.Node], legal: Container[int]) -> dict[int, str]:
    """Position of the last node of every unit, with the unit's module name.

    A unit is a composite module with a computation of its own (no bare container) that stands in
    a row of its like: it has a numbered name, or siblings of its class. Of nested units the
    innermost counts whose end is at a `legal` position. A network without any (a plain chain of
    layers) falls back to its numbered layers.
    """
    last: dict[str, int] = {}
    kinds: dict[str, str] = {}
    for position, node in enumerate(nodes):
        for path, kind in module_stack(node):
            last[path] = position
            kinds[path] = kind
    units = {path for path in _units(kinds) if last[path] in legal}
    innermost = {path for path in units if not any(o.startswith(path + ".") for o in units)}
    return {last[path]: path for path in sorted(innermost, key=last.__getitem__)}


def module_stack(node: fx.Node) -> list[tuple[str, str]]:
    """(module path, class name) of every module around a node, outermost first."""
    stack = (node.meta.get("nn_module_stack") or {}).values()
    return [(path, kind if isinstance(kind, str) else kind.__name__) for path, kind in stack]


def _units(kinds: dict[str, str]) -> set[str]:
    # By name, at any distance: a list of modules is never called, so it is not in `kinds`.
    parents = {path[:end] for path in kinds for end, sign in enumerate(path) if sign == "."}
    own = {path for path in kinds if path and not kinds[path].endswith(_CONTAINERS)}
    composite = {path for path in own & parents if _is_row(path, kinds)}
    return composite or {path for path in own if _number(path)}


def _is_row(path: str, kinds: dict[str, str]) -> bool:
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

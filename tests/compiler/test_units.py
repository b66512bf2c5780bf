"""Units: rows of like modules, whatever they are called."""

from torch import Tensor, fx, nn

from compiler.graph import aten_graph
from compiler.units import module_stack, unit_ends


class Pair(nn.Module):
    """Two layers: a computation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.conv(x))
        return y


class Triple(nn.Module):
    """A shortcut around two rows of two: more than three modules inside."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Pair()
        self.b = Pair()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.b(self.a(x))
        return y


class Named(nn.Module):
    """Two of a kind side by side, and one alone of another kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Triple()
        self.second = Triple()
        self.tail = Pair()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tail(self.second(self.first(x)))
        return y


def nodes(module: nn.Module) -> list[fx.Node]:
    graph = aten_graph(module.eval(), 4)
    return [node for node in graph.graph.nodes if node.op.startswith("call_")]


def everywhere(found: list[fx.Node]) -> range:
    return range(len(found))


def test_numbered_modules_are_units() -> None:
    found = nodes(nn.Sequential(Pair(), Pair()))

    assert unit_ends(found, everywhere(found)) == {1: "0", 3: "1"}


def test_siblings_of_one_class_are_units_if_they_hold_enough() -> None:
    found = nodes(Named())

    ends = unit_ends(found, everywhere(found))

    # conv relu conv relu add, twice, then conv relu: Pairs are too small to be a row.
    assert ends == {4: "first", 9: "second"}


def test_containers_are_no_units() -> None:
    found = nodes(nn.Sequential(nn.Sequential(Pair(), Pair()), nn.Sequential(Pair())))

    assert unit_ends(found, everywhere(found)) == {1: "0.0", 3: "0.1", 5: "1.0"}


def test_of_nested_units_the_innermost_counts_whose_end_is_legal() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row = nn.ModuleList([Pair(), Pair()])

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = x + self.row[1](self.row[0](x))
            return y

    found = nodes(nn.Sequential(Outer(), Outer()))

    assert unit_ends(found, everywhere(found)) == {
        1: "0.row.0",
        3: "0.row.1",
        6: "1.row.0",
        8: "1.row.1",
    }
    assert unit_ends(found, {4, 9}) == {4: "0", 9: "1"}
    assert unit_ends(found, ()) == {}


def test_a_plain_chain_falls_back_to_its_numbered_layers() -> None:
    found = nodes(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)))

    assert unit_ends(found, everywhere(found)) == {0: "0", 1: "1", 2: "2"}


def test_a_node_knows_the_modules_around_it() -> None:
    found = nodes(Named())

    assert [(path, kind.rpartition(".")[2]) for path, kind in module_stack(found[0])] == [
        ("", "Named"),
        ("first", "Triple"),
        ("first.a", "Pair"),
        ("first.a.conv", "Conv2d"),
    ]


def test_the_only_one_of_its_stage_is_a_unit_like_those_of_other_stages() -> None:
    class Stage(nn.Module):
        def __init__(self, blocks: int) -> None:
            super().__init__()
            for i in range(blocks):
                self.add_module(f"b{i}", Triple())

        def forward(self, x: Tensor) -> Tensor:
            for block in self.children():
                x = block(x)
            return x

    class Stages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s1 = Stage(2)
            self.s2 = Stage(1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.s2(self.s1(x))
            return y

    found = nodes(Stages())

    assert list(unit_ends(found, everywhere(found)).values()) == ["s1.b0", "s1.b1", "s2.b0"]

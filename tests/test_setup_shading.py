import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derycc_setup", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETUP = load_setup()


@pytest.mark.parametrize("package", SETUP.SHADED)
def test_an_import_from_an_own_package_points_inside_derycc(package: str) -> None:
    moved = SETUP.shade(f"from {package} import x\nfrom {package}.part import y\n", "m.py")

    assert moved == f"from derycc.{package} import x\nfrom derycc.{package}.part import y\n"


def test_an_indented_import_is_moved_and_keeps_its_indentation() -> None:
    moved = SETUP.shade(
        "def f():\n    from targets.budget import Budget\n    return Budget\n", "m.py"
    )

    assert moved == "def f():\n    from derycc.targets.budget import Budget\n    return Budget\n"


def test_an_import_over_several_lines_is_moved_with_its_names_untouched() -> None:
    moved = SETUP.shade("from compiler.zoo import (\n    Zoo,\n    compiler,\n)\n", "m.py")

    assert moved == "from derycc.compiler.zoo import (\n    Zoo,\n    compiler,\n)\n"


def test_imports_after_a_colon_or_a_semicolon_are_moved() -> None:
    moved = SETUP.shade("if é := 1: from targets import a; from backends import b\n", "m.py")

    assert moved == ("if é := 1: from derycc.targets import a; from derycc.backends import b\n")


@pytest.mark.parametrize(
    "source",
    [
        "from compilers import x\n",
        "from derycc.compiler import x\n",
        "from . import compiler\n",
        "from .compiler import x\n",
        "import targets_of_others\n",
        '"""\nfrom compiler to backends is one step.\nimport targets\n"""\n',
        "compiler = 'from compiler import x'\n",
        "name = 'compiler'\n",
        "key = 'targets.no_such_module'\n",
        "x = 1\r\ny = '\x0c\u2028'\n# no newline at the end",
    ],
)
def test_everything_else_stays_as_it_is(source: str) -> None:
    assert SETUP.shade(source, "m.py") == source


@pytest.mark.parametrize(
    "source",
    ["import compiler\n", "import numpy, compiler.zoo\n", "def f():\n    import compiler as c\n"],
)
def test_a_bare_import_of_an_own_package_fails_the_build_and_says_what_to_write(
    source: str,
) -> None:
    with pytest.raises(SETUP.ShadingError) as caught:
        SETUP.shade(source, "profilers/m.py")

    message = str(caught.value)
    assert message.startswith("profilers/m.py:")
    assert "'import compiler" in message
    assert "Write 'from compiler" in message


def test_an_own_module_named_in_a_string_fails_the_build() -> None:
    with pytest.raises(SETUP.ShadingError) as caught:
        SETUP.shade("x = 1\nname = 'targets.errors'\n", "m.py")

    assert str(caught.value) == (
        "m.py:2: the string 'targets.errors' names a module that is elsewhere in the wheel. "
        "Name it relative to __package__."
    )


@given(st.lists(st.sampled_from([*SETUP.SHADED, "os", "derycc", "numpy"]), max_size=6))
def test_moving_twice_is_moving_once(packages: list[str]) -> None:
    source = "".join(f"from {package} import x\n" for package in packages)

    moved = SETUP.shade(source, "m.py")

    assert SETUP.shade(moved, "m.py") == moved
    assert all(f"\nfrom {package} " not in f"\n{moved}" for package in SETUP.SHADED)


def test_only_own_packages_get_a_new_name() -> None:
    names = [SETUP.shaded(name) for name in ("compiler", "compiler.sub", "derycc", "derycc.sub")]

    assert names == ["derycc.compiler", "derycc.compiler.sub", "derycc", "derycc.sub"]

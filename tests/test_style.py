"""Rules that no linter has: sizes of files and functions, and what must not be written down."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("backends", "compiler", "derycc", "profilers", "targets")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40

# What reads or runs on a user's machine must not know ours.
MACHINE_PATH = re.compile(r"(?<![\w.~])(/work/|/root/|/home/\w|/Users/\w|/opt/\w|[A-Z]:\\Users)")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|pypi\.nvidia\.com|anaconda\.org"
    r"|registry\.npmjs\.org|--(?:extra-)?index-url|--trusted-host|--find-links"
)
FORBIDDEN_TEXT = {"a path of one machine": MACHINE_PATH, "a package registry": REGISTRY}


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def public_texts() -> list[Path]:
    """Product code with its data, the build, CI, and every page at the root."""
    inside = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    suffixes = {".py", ".toml", ".txt", ".html", ".json", ".md", ".tmpl"}
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.py")]
    build = [ROOT / name for name in ("pyproject.toml", "setup.py", "constraints.txt", "Makefile")]
    return [*(p for p in inside if p.suffix in suffixes), *pages, *build, ROOT / ".ci" / "run"]


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Yields the name, first line and length of every function, decorators left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def long_files(paths: list[Path]) -> list[str]:
    sizes = ((path, len(path.read_text("utf-8").splitlines())) for path in paths)
    return [
        f"{path}: {lines} lines, at most {MAX_FILE_LINES}"
        for path, lines in sizes
        if lines > MAX_FILE_LINES
    ]


def long_functions(paths: list[Path]) -> list[str]:
    return [
        f"{path}:{line}: {name} has {lines} lines, at most {MAX_FUNCTION_LINES}"
        for path in paths
        for name, line, lines in functions(path.read_text("utf-8"))
        if lines > MAX_FUNCTION_LINES
    ]


def forbidden_text(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{number}: {what}: {found.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN_TEXT.items()
        if (found := pattern.search(line))
    ]


def test_every_package_is_there_and_says_what_it_is_for() -> None:
    inits = [path for path in modules() if path.name == "__init__.py"]

    silent = [
        str(path) for path in inits if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]

    assert {path.parent.name for path in inits} >= set(PACKAGES)
    assert silent == []


def test_a_file_is_one_room() -> None:
    assert long_files(modules()) == []


def test_a_function_is_one_thought() -> None:
    assert long_functions(modules()) == []


def test_no_text_knows_a_machine_or_a_package_registry() -> None:
    texts = [path for path in public_texts() if path.exists()]

    offenders = [line for path in texts for line in forbidden_text(path, path.read_text("utf-8"))]

    assert offenders == []


def test_the_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_checker_finds_a_long_file_and_a_long_function(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("@cache\ndef f():\n" + "    x = 1\n" * 40 + "# end\n" * 400)

    found = long_files([path]) + long_functions([path])

    assert found == [
        f"{path}: 442 lines, at most 400",
        f"{path}:2: f has 41 lines, at most 40",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("open('/home/ada/x')", "/home/a"),
        ("cd /work/main", "/work/"),
        ("https://pypi.org/simple", "pypi.org"),
        ("pip install --extra-index-url X", "--extra-index-url"),
    ],
)
def test_the_checker_finds_text_that_is_not_wanted(text: str, found: str) -> None:
    offenders = forbidden_text(Path("page.md"), f"fine\n{text}\n")

    assert len(offenders) == 1
    assert offenders[0].startswith("page.md:2: ")
    assert offenders[0].endswith(f": {found}")


@pytest.mark.parametrize("text", ["/proc/cpuinfo", "/tmp/x", "~/home/x", "a/home/b", "./work/x"])
def test_the_checker_lets_ordinary_paths_be(text: str) -> None:
    assert forbidden_text(Path("page.md"), text) == []

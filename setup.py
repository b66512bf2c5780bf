"""Builds the wheel: moves every root package inside `derycc`.

In the repository the packages are the folders at the root, so that `compiler/assembly.py` is
`compiler.assembly` for every reader and tool. Installed, such common names would collide with
other projects. So the wheel holds `derycc/compiler/assembly.py`, and the build rewrites
`from compiler...` to `from derycc.compiler...`. Everything else about the build stands in
pyproject.toml.
"""

import ast
import re
from pathlib import Path
from typing import NoReturn

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

HOME = "derycc"
SHADED = ("backends", "compiler", "profilers", "targets")


class ShadingError(Exception):
    """A module that cannot be moved inside `derycc`; the build ends."""


def shaded(package: str) -> str:
    """Returns a package's dotted name in the wheel."""
    return f"{HOME}.{package}" if package.split(".")[0] in SHADED else package


def shade(source: str, filename: str) -> str:
    """Returns a module's source with its imports of own packages pointing inside `derycc`.

    Statements are found in the syntax tree, so that prose and strings stay as they are.

    Args:
        source: the module's text.
        filename: its path, for messages.

    Raises:
        ShadingError: the module imports an own package as `import compiler`, which binds a name
            that does not exist in the wheel, or names an own module in a string.
    """
    lines = source.split("\n")
    places = []
    for node in ast.walk(ast.parse(source, filename)):
        if isinstance(node, ast.Import):
            _refuse_bare_import(node, filename)
        elif isinstance(node, ast.Constant):
            _refuse_module_in_string(node, filename)
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_own(node.module):
            places.append((node.lineno - 1, node.col_offset))
    for row, column in sorted(places, reverse=True):
        line = lines[row].encode()  # the tree counts columns in bytes
        statement = re.sub(rb"^from\s+", f"from {HOME}.".encode(), line[column:])
        lines[row] = (line[:column] + statement).decode()
    return "\n".join(lines)


def _is_own(module: str | None) -> bool:
    return module is not None and module.split(".")[0] in SHADED


def _refuse_bare_import(node: ast.Import, filename: str) -> None:
    for alias in node.names:
        if _is_own(alias.name):
            _fail(
                filename,
                node.lineno,
                f"'import {alias.name}' cannot be moved inside {HOME}",
                f"Write 'from {alias.name} import ...'",
            )


def _refuse_module_in_string(node: ast.Constant, filename: str) -> None:
    """Refuses the dotted name of an existing own module: in the wheel it names nothing."""
    text = node.value
    if not isinstance(text, str) or not re.fullmatch(r"\w+(\.\w+)+", text) or not _is_own(text):
        return
    path = Path(__file__).parent.joinpath(*text.split("."))
    if path.with_suffix(".py").is_file() or path.is_dir():
        _fail(
            filename,
            node.lineno,
            f"the string {text!r} names a module that is elsewhere in the wheel",
            "Name it relative to __package__",
        )


def _fail(filename: str, line: int, what: str, advice: str) -> NoReturn:
    raise ShadingError(f"{filename}:{line}: {what}. {advice}.")


class ShadingBuildPy(build_py):
    """`build_py` that writes every package at its place in the wheel.

    An editable install is left alone: it is a path to the repository.
    """

    def run(self) -> None:
        """Moves the packages, unless the install is editable, and builds them."""
        if not self.editable_mode:
            roots = {shaded(root): root for root in SHADED}
            self.packages = [shaded(package) for package in self.packages or ()]
            self.package_dir = {**self.package_dir, **roots}
            # Computed from the packages when first asked for, perhaps by an earlier command.
            self.__dict__.pop("data_files", None)
        super().run()

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        """Copies one module and rewrites its imports in the copy."""
        outfile, copied = super().build_module(module, module_file, package)
        if copied and not self.editable_mode:
            path = Path(outfile)
            source = path.read_bytes().decode()
            path.write_bytes(shade(source, module_file).encode())
        return outfile, copied


class HonestEggInfo(egg_info):
    """`egg_info` without top_level.txt, which would list the packages under their root names."""

    def run(self) -> None:
        """Writes everything else as usual."""
        super().run()
        Path(self.egg_info, "top_level.txt").unlink(missing_ok=True)


if __name__ == "__main__":
    setup(cmdclass={"build_py": ShadingBuildPy, "egg_info": HonestEggInfo})

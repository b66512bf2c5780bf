"""`python -s -B backends/trt_worker`: makes this folder importable under its name, and serves.

The folder that derycc lies in does not become importable: what is beside it there was installed
for another interpreter. Nor is anything of derycc run but this folder.
"""

import os
import sys
from types import ModuleType

NAMES = ("backends", "derycc.backends")
"""What the package around this folder is called: in the repository, and where it is installed."""


def main() -> int:
    """Serves until the pipe is closed."""
    own = os.path.dirname(os.path.abspath(__file__))
    # Python puts it first, where modules of others would be looked for in it.
    sys.path[:] = [path for path in sys.path if path != own]
    folder = os.path.dirname(own)
    _name("derycc", [])
    for name in NAMES:
        _name(name, [folder])
    from backends.trt_worker.serving import main as serve

    return serve()


def _name(name: str, path: "list[str]") -> None:
    """Has a name mean a package of these folders, without running its code."""
    package = ModuleType(name)
    package.__path__ = path
    sys.modules[name] = package


if __name__ == "__main__":
    sys.exit(main())

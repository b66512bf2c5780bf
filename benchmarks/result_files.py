"""Result files of benchmarks: written whole, named, and shown again."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def write(name: str, content: object) -> None:
    """Writes a result file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    print(f"written to {path.relative_to(RESULTS.parent.parent)}")


def shown(name: str) -> Any:
    """The content of a result file that is committed; ends the program where none is."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"There is no {path.name} yet. Measure one first, without this option.")
    return json.loads(path.read_text(encoding="utf-8"))

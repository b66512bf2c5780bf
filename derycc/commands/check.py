"""What the commands on a finished build have in common."""

from pathlib import Path
from typing import Annotated

import typer

BuildFolder = Annotated[Path, typer.Argument(help="A folder that `derycc build` has written.")]

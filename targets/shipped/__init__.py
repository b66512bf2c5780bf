"""The targets that come with derycc, one TOML file each."""

from pathlib import Path

FOLDER = Path(__file__).parent

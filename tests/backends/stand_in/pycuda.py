"""Stand-in for pycuda, on the host's own memory: `pycuda.driver` is the file beside this one."""

import sys

import pycuda_driver as driver

VERSION_TEXT = "2026.1"
__path__: list[str] = []
sys.modules[f"{__name__}.driver"] = driver

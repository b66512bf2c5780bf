"""Compiles and runs exported models, one runtime a file, found by name in `registry`."""

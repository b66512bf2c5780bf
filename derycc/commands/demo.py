"""`derycc demo`: everything once, on this machine."""

from derycc.options import Home, TargetText, frame


def demo(home: Home, target: TargetText = "cpu:threads=1") -> None:
    """Fetches the demo donors, profiles them here, sweeps budgets, and builds one network."""
    from derycc.demo import run_demo

    with frame():
        run_demo(home, target)

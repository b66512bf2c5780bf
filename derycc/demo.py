"""The demo: what `make demo` runs, the steps a user would take by hand, each announced."""

from pathlib import Path

from derycc.commands.build import build
from derycc.commands.profile import profile
from derycc.commands.sweep import sweep
from derycc.commands.zoo import zoo_fetch, zoo_list
from derycc.console import stdout

LATENCY = "75% of tf_efficientnet_lite2"
SIZE = 224
"""One input size keeps the demo short; without --size networks may have any donor's own."""


def run_demo(home: Path, target: str) -> None:
    """Fetch, list, profile, sweep and build with the demo donors and photographs."""
    _say(f"derycc zoo fetch demo --home {home}", "pretrained ImageNet weights, 70 photographs")
    zoo_fetch(home)
    _say("derycc zoo list", "the donors")
    zoo_list(home)
    _say(
        f"derycc profile --target {target} --size {SIZE}", "what every block costs on this machine"
    )
    profile(home, target=target, size=[SIZE])
    _say(
        f"derycc sweep --target {target} --size {SIZE}", "the best network for each of six budgets"
    )
    sweep(home, target=target, size=[SIZE])
    _say(
        f'derycc build --target {target} --size {SIZE} --latency "{LATENCY}"',
        "one budget, all the way to a verified engine",
    )
    build(home, latency=LATENCY, target=target, size=[SIZE])


def _say(command: str, why: str) -> None:
    out = stdout()
    out.print()
    out.print(f"$ {command}", style="bold", markup=False)
    out.print(f"  ({why})", style="dim", markup=False)

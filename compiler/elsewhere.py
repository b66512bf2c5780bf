"""Elsewhere: one network on several targets at once.

A search looks for a network on one target, here; on others, elsewhere, the same network has
budgets of its own. `latency_us` is the latency here, `latency_us@TARGET` that on another target:
one more resource of every arc, from that target's own cost table. Stitches cost more, or less, than
predicted by a residual of each target's own.
"""

from collections.abc import Mapping

from compiler.latency_model import Interval, LatencyModel, Residual

HERE = ""
"""Stands for the target that is searched for, among those that have a name."""

Models = Mapping[str, LatencyModel]
"""Latency models of other targets, by target."""

Correction = Interval | Residual
"""What a stitch costs beyond its own layer; a residual also corrects blocks in int8."""

Residuals = Mapping[str, Correction]
"""What a stitch costs beyond its own layer on other targets, by target; missing: nothing."""

NO_RESIDUAL = Interval(0.0, 0.0)

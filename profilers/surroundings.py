"""What a target is measured in: captured before a run, and compared before each of its rounds."""

from backends.registry import get_backend
from profilers.environment import Environment
from targets.errors import TargetUnavailableError
from targets.power import mode_problem
from targets.target import Target


def capture(target: Target) -> Environment:
    """The environment as it is now.

    Raises:
        TargetUnavailableError: The runtime is not installed, or the machine is not in the power
            mode that the target asks for.
    """
    backend = get_backend(target.backend)
    reason = backend.unavailable()
    if reason is None:
        environment = Environment.capture(target, backend)
        reason = mode_problem(target.power_mode, environment.power_mode)
        if reason is None:
            return environment
    raise TargetUnavailableError(f"The target {str(target)!r} cannot be used here: {reason}")


def check_unchanged(target: Target, before: Environment) -> None:
    """Refuses to go on in another environment than that in which a run began.

    Raises:
        TargetUnavailableError: Something that measurements depend on has changed.
    """
    now = Environment.capture(target, get_backend(target.backend))
    changed = before.differences(now, ("before", "now"))
    if changed:
        raise TargetUnavailableError(
            f"The machine has changed since the measuring of {str(target)!r} began: "
            f"{'; '.join(changed)}. What was measured is kept. Set it back and run the same "
            f"command again to go on, or run it as it is now to measure everything in the new "
            f"state."
        )

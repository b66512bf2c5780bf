"""Whether the machine is in the power mode that a target asks for."""


def mode_problem(asked: str | None, found: str | None) -> str | None:
    """What is wrong and what to do, as a sentence; None where nothing is.

    Args:
        asked: The target's power mode; None: any.
        found: The machine's; None where it does not tell.
    """
    if asked is None or asked == found:
        return None
    there = "does not tell its power mode" if found is None else f"is in the power mode {found!r}"
    return (
        f"The target asks for the power mode {asked!r}, and this machine {there}. Set the mode "
        f"(nvpmodel on a Jetson, powerprofilesctl on a laptop), or use power_mode=any."
    )

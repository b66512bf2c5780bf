"""What a device is: targets, budgets, machine facts and errors (standard library only)."""

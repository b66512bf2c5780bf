"""What a device is: targets and their files, budgets, machine facts and errors."""

"""From a zoo of pretrained networks to one exported network: torch and the solver live here."""

"""Times exported models on a target and keeps what was measured in a cost store."""

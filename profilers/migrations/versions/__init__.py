"""One module a step, `schema_N` from schema N - 1; none imports code that may change later."""

"""Faults: what the worker answers with where something is wrong; the host words it for users."""

KINDS = {
    "usage": "what was asked for makes no sense: derycc's mistake",
    "runtime": "TensorRT or pycuda cannot be imported, or is too old",
    "device": "there is no GPU, or its driver does not do",
    "parse": "TensorRT cannot read the graph",
    "build": "TensorRT can read the graph, and build no engine of it",
    "plan": "a plan was made by another version or for another GPU, or is damaged",
    "memory": "the GPU's memory does not suffice",
    "run": "an engine did not run",
    "disk": "a file cannot be read or written",
    "lost": "the GPU's context is of no use any more: the worker ends",
}
"""What is wrong, in one word."""


class Fault(Exception):
    """Something is wrong; the worker goes on."""

    def __init__(self, kind: str, message: str) -> None:
        """Keeps what kind it is, one of `KINDS`, and the message."""
        assert kind in KINDS
        super().__init__(message)
        self.kind = kind

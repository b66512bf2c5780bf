"""Finds a backend by name: a table of strings and entry points, imported when asked for."""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from backends.backend import Backend
from targets.errors import TargetUnavailableError, UnknownNameError

ENTRY_POINTS = "derycc.backends"
"""The group in which an installed package registers backend classes of its own."""

_SHIPPED = {
    "ort": "ort:OrtBackend",
    "reference": "reference:ReferenceBackend",
    "trt": "trt:TrtBackend",
}

PEERS = {"onnxruntime": "ort:DefaultOrtBackend", "openvino": "ov:OpenVinoBackend"}
"""What engines are compared with; no target names them."""


def get_backend(name: str) -> Backend:
    """The backend of that name; its runtime is first imported when the backend is used.

    Raises:
        UnknownNameError: No backend has that name.
        TargetUnavailableError: An installed package registers it, but cannot be imported.
    """
    if name in _SHIPPED:
        return _shipped(_SHIPPED[name])
    registered = _registered()
    if name not in registered:
        raise UnknownNameError("backend", name, list_backends())
    try:
        found = registered[name].load()
    except ImportError as error:
        raise TargetUnavailableError(
            f"The backend {name!r} is registered as {registered[name].value!r} but cannot be "
            f"imported: {error}. Install what it needs or remove the package that registers it."
        ) from error
    return _instance(found)


def get_peer(name: str) -> Backend:
    """The runtime of that name that engines are compared with.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in PEERS:
        raise UnknownNameError("peer", name, PEERS)
    return _shipped(PEERS[name])


def list_backends() -> tuple[str, ...]:
    """Names of all shipped and registered backends, sorted."""
    return tuple(sorted({*_SHIPPED, *_registered()}))


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _shipped(place: str) -> Backend:
    module, _, attribute = place.partition(":")
    return _instance(getattr(import_module(f".{module}", __package__), attribute))


def _instance(found: type[Backend]) -> Backend:
    return found()

"""Building: a plan of an ONNX file, and what the network was before the builder changed it.

From TensorRT 10 on, networks are strongly typed: precision is what the graph says. On 8.6, where
there is no such thing, the builder's flags allow what the graph holds, and it is told to obey it.
"""

import os
import time
from typing import Any, Dict, List, Optional

from backends.trt_worker.faults import Fault
from backends.trt_worker.runtime import Runtime, word

_CACHE_KEPT = 2**30


def build(runtime: Runtime, asked: Dict[str, Any]) -> Dict[str, Any]:
    """Builds a plan.

    Args:
        runtime: TensorRT.
        asked: `onnx` (file), `plan` (file that is written), `cache` (timing cache's file, or None),
            and `settings`: `workspace_bytes`, `level`, `timing_iterations`, `aux_streams`, `tf32`,
            `fp16`, `int8`, `version_compatible`, `refit`, `capability` (of TensorRT-RTX),
            `profiles` ({input: [least, usual, most shape]}).

    Returns:
        `seconds`, `bytes`, `cached` (bytes of the timing cache that was used), `layers` (of the
        network as it was parsed: name, type, metadata, precision), `log`.

    Raises:
        Fault: `parse`, `build` or `usage`.
    """
    begun = time.perf_counter()
    runtime.lines.clear()
    builder = runtime.trt.Builder(runtime.logger)
    network = builder.create_network(_network_flags(runtime))
    # The parser must live as long as the network that it has read.
    parser = _parsed(runtime, network, asked["onnx"])
    if asked["settings"]["fp16"] and not runtime.strongly_typed:
        _hold_types(network)
    layers = [_layer(network.get_layer(i)) for i in range(network.num_layers)]
    config = builder.create_builder_config()
    _configure(runtime, config, asked["settings"])
    _add_profiles(builder, config, network, asked["settings"].get("profiles") or {})
    cached = _use_cache(config, asked.get("cache"))
    content = _plan(runtime, builder, network, config)
    write_whole(asked["plan"], content)
    _keep_cache(config, asked.get("cache"), cached)
    del parser
    seconds, log = time.perf_counter() - begun, list(runtime.lines)
    about = {"seconds": seconds, "bytes": len(content), "cached": len(cached)}
    return {**about, "layers": layers, "log": log}


def _plan(runtime: Runtime, builder: Any, network: Any, config: Any) -> bytes:
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Fault("build", " ".join(runtime.errors()[-3:]) or "the builder returned nothing")
    return bytes(memoryview(plan))


def _network_flags(runtime: Runtime) -> int:
    flags = 0
    members = runtime.trt.NetworkDefinitionCreationFlag.__members__
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
        if name in members:
            flags |= 1 << int(members[name])
    return flags


def _parsed(runtime: Runtime, network: Any, path: str) -> Any:
    parser = runtime.trt.OnnxParser(network, runtime.logger)
    if parser.parse_from_file(path):
        return parser
    said = [_parser_error(parser.get_error(i)) for i in range(parser.num_errors)]
    raise Fault("parse", "; ".join(said) or "the parser gave no reason")


def _parser_error(error: Any) -> str:
    """The parser's own words, with the node where it tells one."""
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    where = f" (node {name!r}, operator {operator})" if name or operator else ""
    return f"{word(error.code())}: {' '.join(error.desc().split())}{where}"


def _hold_types(network: Any) -> None:
    """Has every layer compute in the type that the graph gives it.

    TensorRT 8 runs what is float32 in float16 where it may, and obeys only what a layer demands.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kinds = [layer.get_output(i).dtype for i in range(layer.num_outputs)]
        floats = [kind for kind in kinds if word(kind) in ("FLOAT", "HALF")]
        if floats and len(floats) == len(kinds):
            layer.precision = floats[0]
            for i, kind in enumerate(kinds):
                layer.set_output_type(i, kind)


def _layer(layer: Any) -> Dict[str, Any]:
    return {
        "name": layer.name,
        "type": word(layer.type),
        "metadata": getattr(layer, "metadata", ""),
        "precision": _precisions(layer),
    }


def _precisions(layer: Any) -> List[str]:
    """Of its outputs."""
    outputs = (layer.get_output(i) for i in range(layer.num_outputs))
    return [word(one.dtype) for one in outputs if one is not None]


def _configure(runtime: Runtime, config: Any, settings: Dict[str, Any]) -> None:
    trt = runtime.trt
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings["workspace_bytes"])
    config.builder_optimization_level = settings["level"]
    config.avg_timing_iterations = settings["timing_iterations"]
    if settings.get("aux_streams") is not None:
        config.max_aux_streams = settings["aux_streams"]
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    flags = {
        "TF32": settings["tf32"],
        "FP16": settings["fp16"] and not runtime.strongly_typed,
        "INT8": settings["int8"] and not runtime.strongly_typed,
        "OBEY_PRECISION_CONSTRAINTS": settings["fp16"] and not runtime.strongly_typed,
        "VERSION_COMPATIBLE": settings["version_compatible"],
        "REFIT": settings["refit"],
    }
    for name, wanted in flags.items():
        _set_flag(trt, config, name, bool(wanted))
    _leave_out_libraries(trt, config)
    if settings.get("capability"):
        _set_capability(runtime, config, int(settings["capability"]))


def _set_flag(trt: Any, config: Any, name: str, wanted: bool) -> None:
    flag = trt.BuilderFlag.__members__.get(name)
    if flag is not None:
        (config.set_flag if wanted else config.clear_flag)(flag)
    elif wanted:
        raise Fault("usage", f"this TensorRT has no flag {name}")


def _leave_out_libraries(trt: Any, config: Any) -> None:
    """On 8.6 tactics of cuBLAS and cuDNN are on; those libraries are not asked of a machine."""
    sources = trt.TacticSource.__members__
    if "CUDNN" not in sources:
        return
    kept = [source for name, source in sources.items() if not name.startswith(("CUBLAS", "CUDNN"))]
    config.set_tactic_sources(sum(1 << int(source) for source in kept))
    features = trt.PreviewFeature.__members__
    if "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805" in features:
        config.set_preview_feature(features["DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"], True)


def _set_capability(runtime: Runtime, config: Any, capability: int) -> None:
    if not runtime.is_rtx:
        raise Fault("usage", "only TensorRT-RTX builds for a GPU that is not there")
    known = [int(one) for one in runtime.trt.ComputeCapability.__members__.values()]
    config.num_compute_capabilities = 1
    if capability not in known or not config.set_compute_capability(
        runtime.trt.ComputeCapability(capability), 0
    ):
        raise Fault("build", f"this TensorRT builds for none of compute capability {capability}")


def _add_profiles(
    builder: Any, config: Any, network: Any, asked: Dict[str, List[List[int]]]
) -> None:
    """One optimization profile; fixed shapes need none."""
    if not asked:
        return
    profile = builder.create_optimization_profile()
    inputs = [network.get_input(i).name for i in range(network.num_inputs)]
    for name, shapes in asked.items():
        if name not in inputs or len(shapes) != 3:
            raise Fault("usage", f"the network has the inputs {inputs}, and no profile {name!r}")
        profile.set_shape(name, *map(tuple, shapes))
    if config.add_optimization_profile(profile) < 0:
        raise Fault("build", f"the shapes {asked} make no optimization profile")


def _use_cache(config: Any, path: Optional[str]) -> bytes:
    """Gives the builder what it timed before, and returns that.

    A cache of another GPU or version is refused by TensorRT; it is begun anew then.
    """
    content = b"" if path is None else _content(path)
    if path is None:
        return content
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        if cache is not None:
            config.set_timing_cache(cache, False)
    return content


def _keep_cache(config: Any, path: Optional[str], loaded: bytes) -> None:
    """Writes the builder's timings, with what others have written since they were `loaded`."""
    cache = config.get_timing_cache() if path is not None else None
    if path is None or cache is None:
        return
    now = _content(path)
    if now and now != loaded:
        other = config.create_timing_cache(now)
        if other is not None:
            cache.combine(other, False)
    content = cache.serialize()
    if content is not None:
        write_whole(path, bytes(memoryview(content)))


def _content(path: str) -> bytes:
    """Of a timing cache; nothing where there is none, or where it has grown beyond all use."""
    if not os.path.exists(path) or os.path.getsize(path) > _CACHE_KEPT:
        return b""
    with open(path, "rb") as file:
        return file.read()


def write_whole(path: str, content: bytes) -> None:
    """A file is there whole or not at all."""
    part = f"{path}.{os.getpid()}.part"
    with open(part, "wb") as file:
        file.write(content)
    os.replace(part, path)

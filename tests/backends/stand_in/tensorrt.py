"""Stand-in for TensorRT: computes with ONNX's own evaluator, on pycuda's stand-in.

It has what backends/trt_worker calls of TensorRT 8.6, 10 and 11, with the names that each of them
has (introspected: shared/reference/tensorrt-api-tables.md), and raises AttributeError for the rest.

    STAND_IN_VERSION   8.6.0, 10.16.1.11 (unless it is given) or 11.4.0.106
    STAND_IN_FAULT     die-build, hang-build, garbage-build, die-run, hang-run, stick-run: what
                       happens there
"""

import ctypes
import enum
import json
import os
import signal
import sys
import time

import libraries
import numpy as np
import onnx
import pycuda_driver
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator

__version__ = os.environ.get("STAND_IN_VERSION", "10.16.1.11")
_MAJOR = int(__version__.split(".")[0])


def _fault(place):
    kind, _, where = os.environ.get("STAND_IN_FAULT", "").partition("-")
    if where != place:
        return
    if kind == "die":
        sys.stderr.write("free(): invalid pointer\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "stick":
        pycuda_driver.broken = True
    if kind == "hang":
        time.sleep(3600)
    if kind == "garbage":
        # Whatever descriptor the answers go by: libraries write where they like.
        for descriptor in range(3, 16):
            try:
                os.write(descriptor, b"\xff" * 64)
            except OSError:
                continue


def _enum(name, members):
    return enum.IntEnum(name, members)


_OLD, _TEN = _MAJOR == 8, _MAJOR == 10
NetworkDefinitionCreationFlag = _enum(
    "NetworkDefinitionCreationFlag",
    {"EXPLICIT_BATCH": 0, "EXPLICIT_PRECISION": 1}
    if _OLD
    else {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}
    if _TEN
    else {"STRONGLY_TYPED": 0},
)
BuilderFlag = _enum(
    "BuilderFlag",
    {"FP16": 0, "INT8": 1, "REFIT": 5, "TF32": 7, "OBEY_PRECISION_CONSTRAINTS": 10}
    | {"VERSION_COMPATIBLE": 17}
    if _OLD
    else {"FP16": 0, "INT8": 1, "REFIT": 4, "TF32": 6, "OBEY_PRECISION_CONSTRAINTS": 9}
    | {"VERSION_COMPATIBLE": 14}
    if _TEN
    else {"REFIT": 4, "TF32": 6, "VERSION_COMPATIBLE": 12},
)
TacticSource = _enum(
    "TacticSource",
    {"EDGE_MASK_CONVOLUTIONS": 0, "JIT_CONVOLUTIONS": 1}
    if _MAJOR >= 11
    else {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2}
    | {"EDGE_MASK_CONVOLUTIONS": 3, "JIT_CONVOLUTIONS": 4},
)
PreviewFeature = _enum(
    "PreviewFeature",
    {"FASTER_DYNAMIC_SHAPES_0805": 0, "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805": 1}
    if _OLD
    else {"ALIASED_PLUGIN_IO_10_03": 1},
)
MemoryPoolType = _enum("MemoryPoolType", {"WORKSPACE": 0})
ProfilingVerbosity = _enum("ProfilingVerbosity", {"LAYER_NAMES_ONLY": 0, "NONE": 1, "DETAILED": 2})
LayerInformationFormat = _enum("LayerInformationFormat", {"ONELINE": 0, "JSON": 1})
TensorIOMode = _enum("TensorIOMode", {"NONE": 0, "INPUT": 1, "OUTPUT": 2})
LayerType = _enum("LayerType", {"CONVOLUTION": 0, "ELEMENTWISE": 1})
DataType = _enum(
    "DataType",
    {"FLOAT": 0, "HALF": 1, "INT8": 2, "INT32": 3, "BOOL": 4} | ({} if _OLD else {"INT64": 8}),
)
ErrorCode = _enum(
    "ErrorCode",
    {"SUCCESS": 0, "INVALID_NODE": 5, "MODEL_DESERIALIZE_FAILED": 3, "INVALID_VALUE": 4},
)
_TYPES = {
    np.dtype("float32"): "FLOAT",
    np.dtype("float16"): "HALF",
    np.dtype("int64"): "INT64",
    np.dtype("int32"): "INT32",
    np.dtype("bool"): "BOOL",
}


def nptype(dtype):
    return {DataType[name]: kind for kind, name in _TYPES.items() if name in DataType.__members__}[
        dtype
    ].type


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3

    def __init__(self):
        pass


class IProfiler:
    def __init__(self):
        pass


class _Closed:
    """Has the attributes that it was made with, and takes no others: a misspelt one is an error."""

    def __setattr__(self, name, value):
        if getattr(self, "_sealed", False) and not hasattr(self, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        object.__setattr__(self, name, value)

    def _seal(self):
        object.__setattr__(self, "_sealed", True)


class _Tensor:
    def __init__(self, dtype):
        self.dtype = dtype


class _Layer:
    num_outputs = 1

    def __init__(self, node, dtype):
        self._set = {}
        self.name = node.name or f"node_of_{node.output[0]}"
        self.type = LayerType.CONVOLUTION if node.op_type == "Conv" else LayerType.ELEMENTWISE
        self.metadata = f"[ONNX Layer: {self.name}]"
        self._dtype = dtype

    def get_output(self, index):
        return _Tensor(self._dtype)

    def set_output_type(self, index, dtype):
        assert _OLD, "gone since precisions are what the graph says"
        self._set[index] = dtype
        HELD.append((self.name, self.precision.name, dtype.name))


HELD = []
"""What layers were told to compute in: name, precision, type of the output."""


class _Input:
    def __init__(self, name):
        self.name = name


class _Network:
    def __init__(self, flags):
        known = sum(1 << int(member) for member in NetworkDefinitionCreationFlag)
        assert not flags & ~known, "a flag of another version"
        assert _OLD or flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        assert not _OLD or flags & 1, "8.6 needs an explicit batch"
        self.proto = None

    @property
    def num_layers(self):
        return len(self.proto.graph.node)

    def get_layer(self, index):
        return _Layer(self.proto.graph.node[index], DataType.FLOAT)

    @property
    def num_inputs(self):
        return len(self.proto.graph.input)

    def get_input(self, index):
        return _Input(self.proto.graph.input[index].name)


class _ParserError:
    def __init__(self, code, desc, node=None):
        self._code, self._desc, self._node = code, desc, node
        if not _OLD:
            self.node_name = lambda: self._node.name if self._node else ""
            self.node_operator = lambda: self._node.op_type if self._node else ""

    def code(self):
        return self._code

    def desc(self):
        return self._desc


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse_from_file(self, path):
        try:
            proto = onnx.load(path)
        except Exception:  # noqa: BLE001
            self._errors.append(_ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, "no protobuf"))
            return False
        for node in proto.graph.node:
            if node.domain not in ("", "ai.onnx"):
                said = 'creator && "Plugin not found, are the plugin name, version, and namespace"'
                self._errors.append(_ParserError(ErrorCode.INVALID_NODE, said, node))
                return False
        self._network.proto = proto
        return True

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class _Cache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content + b"timed;"

    def combine(self, other, ignore_mismatch):
        self.content += other.content
        return True


class _Config(_Closed):
    def __init__(self):
        self.builder_optimization_level = 3
        self.avg_timing_iterations = 1
        self.max_aux_streams = -1
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.flags = {BuilderFlag.TF32}
        self.pools = {}
        self._cache = None
        self._seal()

    def set_memory_pool_limit(self, pool, size):
        self.pools[MemoryPoolType(pool)] = size

    def set_flag(self, flag):
        assert _OLD or flag not in (BuilderFlag.__members__.get("FP16"),), "strongly typed"
        self.flags.add(BuilderFlag(flag))

    def clear_flag(self, flag):
        self.flags.discard(BuilderFlag(flag))

    def set_tactic_sources(self, sources):
        assert not sources & ~sum(1 << int(source) for source in TacticSource)
        return True

    def set_preview_feature(self, feature, wanted):
        PreviewFeature(feature)

    def create_timing_cache(self, content):
        return _Cache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache.content.startswith(b"other"):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    def add_optimization_profile(self, profile):
        return 0


class Builder:
    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags):
        return _Network(flags)

    def create_builder_config(self):
        return _Config()

    def build_serialized_network(self, network, config):
        _fault("build")
        for node in network.proto.graph.node:
            if node.op_type == "Det":
                self._logger.log(
                    1, "[optimizer.cpp] Error Code 10: Could not find any implementation"
                )
                return None
        about = {"config": sorted(map(int, config.flags)), "held": list(HELD)}
        HELD.clear()
        head = json.dumps({"version": __version__, **about})
        return head.encode() + b"\n" + network.proto.SerializeToString()


class Runtime:
    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, content):
        head, _, proto = bytes(content).partition(b"\n")
        try:
            version = json.loads(head)["version"]
        except ValueError:
            self._logger.log(1, "IRuntime::deserializeCudaEngine: Error Code 1: Serialization")
            return None
        if version != __version__:
            self._logger.log(1, f"The engine plan file is of version {version}, expecting another")
            return None
        return _Engine(onnx.ModelProto.FromString(proto))


class _Engine:
    def __init__(self, proto):
        self.proto = proto
        held = {tensor.name for tensor in proto.graph.initializer}
        inputs = [value for value in proto.graph.input if value.name not in held]
        # Not in the graph's order: nobody is promised that.
        self._tensors = {v.name: v for v in sorted((*proto.graph.output, *inputs), key=_name)}
        self._inputs = {value.name for value in inputs}
        if _MAJOR >= 11:
            self.device_memory_size_v2 = 4096
        else:
            self.device_memory_size = 4096

    @property
    def num_layers(self):
        return len(self.proto.graph.node)

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        kind = tensor_dtype_to_np_dtype(self._tensors[name].type.tensor_type.elem_type)
        return DataType[_TYPES[np.dtype(kind)]]

    def create_execution_context(self):
        return _Context(self)

    def create_engine_inspector(self):
        return _Inspector(self)


def _name(value):
    return value.name


class _Context(_Closed):
    def __init__(self, engine):
        self._engine = engine
        self._evaluator = ReferenceEvaluator(engine.proto)
        self._places = {}
        self.profiler = None
        self.enqueue_emits_profile = True
        self._seal()

    def get_tensor_shape(self, name):
        dims = self._engine._tensors[name].type.tensor_type.shape.dim
        return tuple(dim.dim_value for dim in dims)

    def set_tensor_address(self, name, address):
        self._places[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        _fault("run")
        places, profiler = dict(self._places), self.profiler
        stream = pycuda_driver.Stream.known[stream_handle]
        libraries.enqueue(lambda: self._execute(places), stream)
        if profiler is not None and libraries.capturing is not None:
            return False
        return not pycuda_driver.broken

    def _execute(self, places):
        given = {}
        for name in self._engine._inputs:
            kind = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
            shape = self.get_tensor_shape(name)
            size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
            content = ctypes.string_at(places[name], size)
            given[name] = np.frombuffer(content, kind).reshape(shape)
        names = [value.name for value in self._engine.proto.graph.output]
        for name, array in zip(names, self._evaluator.run(None, given), strict=True):
            array = np.ascontiguousarray(array)
            ctypes.memmove(places[name], array.ctypes.data, array.nbytes)

    def report_to_profiler(self):
        for node in self._engine.proto.graph.node:
            self.profiler.report_layer_time(node.name or node.output[0], 0.25)
        return True


class _Inspector(_Closed):
    def __init__(self, engine):
        self._engine = engine
        self.execution_context = None
        self._seal()

    def get_engine_information(self, form):
        assert form == LayerInformationFormat.JSON
        kind = {"Format": "kLINEAR", "DataType": "Float"}
        if _MAJOR < 11:
            kind = {"Format/Datatype": "Row major linear FP32"}
        layers = [
            {
                "Name": node.name,
                "LayerType": node.op_type,
                "Inputs": [{"Name": name, **kind} for name in node.input],
                "Outputs": [{"Name": name, **kind} for name in node.output],
                "Metadata": f"[ONNX Layer: {node.name or 'node_of_' + node.output[0]}]",
            }
            for node in self._engine.proto.graph.node
        ]
        bindings = "Bindings" if _MAJOR < 11 else "I/O Tensors"
        return json.dumps({"Layers": layers, bindings: list(self._engine._tensors)})

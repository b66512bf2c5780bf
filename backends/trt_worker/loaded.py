"""Loaded: a plan on the device, ready to run, to be timed, and to be looked into."""

import json
import time
from typing import Any, Callable, Dict, List, Set, Tuple

import numpy as np

from backends.trt_worker.buffers import Buffers, Host, Tensor
from backends.trt_worker.cuda import Device, Graph, milliseconds
from backends.trt_worker.faults import Fault
from backends.trt_worker.runtime import Runtime

HOT, ROTATE, COLD = "hot", "rotate", "cold"
"""What a run finds in the caches: the same tensors as before; those of another set, so many sets
that all of them do not fit in L2; nothing, as L2 was overwritten."""

_CAPTURED = 16
"""Inferences of one graph at the most."""
_MOST_SETS = 64


Given = Dict[str, Any]
"""Inputs: `file`, an .npz whose arrays arr_0, arr_1, ... belong to the `names`."""


class Loaded:
    """An engine with its context, its buffers and the graphs that were captured of it."""

    def __init__(self, runtime: Runtime, device: Device, plan: str) -> None:
        """Deserializes a plan and runs it once, so that nothing lazy is left.

        Raises:
            Fault: `plan`, `memory` or `run`.
        """
        self._runtime, self._device = runtime, device
        self._sets: List[Buffers] = []
        self._captured: Dict[Tuple[str, int], Graph] = {}
        self._uncaptured: Set[Tuple[str, int]] = set()
        self._flush: Any = None
        begun = time.perf_counter()
        runtime.lines.clear()
        with open(plan, "rb") as file:
            content = file.read()
        # TensorRT does not keep them alive: engine and context need their runtime.
        self._deserializer = runtime.trt.Runtime(runtime.logger)
        self._engine = self._deserializer.deserialize_cuda_engine(content)
        if self._engine is None:
            raise Fault("plan", " ".join(runtime.errors()[-3:]) or "it cannot be deserialized")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise Fault("memory", " ".join(runtime.errors()[-3:]) or "no context can be made")
        self._open()
        self.seconds = time.perf_counter() - begun

    def _open(self) -> None:
        """Memory for everything, and a first run of zeros."""
        runtime, device = self._runtime, self._device
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self.tensors = [Tensor(runtime.trt, self._engine, self._context, name) for name in names]
        self._host = Host(device, self.tensors)
        self._sets.append(Buffers(device, self.tensors))
        self._sets[0].bind(self._context)
        self._enqueue()
        device.stream.synchronize()

    def facts(self) -> Dict[str, Any]:
        """How long it took to load, layers, and device memory in bytes."""
        engine = self._engine
        memory = getattr(engine, "device_memory_size_v2", None)
        return {
            "seconds": self.seconds,
            "layers": engine.num_layers,
            "memory_bytes": int(engine.device_memory_size if memory is None else memory),
            "tensors": [
                {"name": t.name, "input": t.is_input, "dtype": t.dtype.name, "shape": t.shape}
                for t in self.tensors
            ],
        }

    def run(self, inputs: Given, outputs: str) -> List[str]:
        """Runs once and writes the outputs to an .npz file, in the order of the names it returns.

        Raises:
            Fault: `run`.
        """
        self._upload(inputs)
        first, written = self._sets[0], [t for t in self.tensors if not t.is_input]
        for tensor in written:
            first.fill(tensor, 0xA5)  # an output that is not written shows
        first.bind(self._context)
        self._enqueue()
        found = [self._host.download(tensor.name, first) for tensor in written]
        self._device.stream.synchronize()
        np.savez(outputs, *found)
        return [tensor.name for tensor in written]

    def time(self, inputs: Given, repeats: int, mode: str) -> Dict[str, Any]:
        """Times consecutive inferences by events around replays of a CUDA graph.

        Args:
            inputs: Every set of buffers gets them.
            repeats: How many.
            mode: `HOT`, `ROTATE` or `COLD`.

        Returns:
            `seconds` of so many, `graph` (False: the stream could not be captured, and what is
            timed has the launches of the host in it), `sets` of buffers, and `exceeds_l2`: whether
            their tensors take more than that.
        """
        self._prepare(inputs, mode)
        each = 1 if mode == COLD else min(repeats, _CAPTURED)
        each = max(each, len(self._sets)) if mode == ROTATE else each
        replays = max(1, round(repeats / each))
        launch, graph = self._launcher(mode, each)
        spent = self._replay(launch, replays, mode == COLD)
        sets = len(self._sets) if mode == ROTATE else 1
        return {
            "seconds": spent / (replays * each) * repeats,
            "graph": graph,
            "sets": sets,
            "exceeds_l2": sets * sum(t.bytes for t in self.tensors) > self._device.l2_bytes,
        }

    def latency(self, inputs: Given, count: int) -> List[float]:
        """Seconds of each of some inferences as a caller on the host sees them, copies included."""
        first, found, given = self._sets[0], [], self._arrays(inputs)
        outputs = [tensor.name for tensor in self.tensors if not tensor.is_input]
        first.bind(self._context)
        for _ in range(count):
            begun = time.perf_counter()
            for name, array in given.items():
                self._host.upload(name, array, [first])
            self._enqueue()
            for name in outputs:
                self._host.download(name, first)
            self._device.stream.synchronize()
            found.append(time.perf_counter() - begun)
        return found

    def inspect(self) -> Any:
        """What the engine says of its layers: names, precisions, tactics; as TensorRT writes it."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        form = self._runtime.trt.LayerInformationFormat.JSON
        return json.loads(inspector.get_engine_information(form))

    def layer_times(self, inputs: Given, runs: int) -> Dict[str, List[float]]:
        """Milliseconds of every layer in each of some runs; profiling adds to them.

        A context of its own is profiled: one that a profiler was attached to stays slower.
        """
        self._upload(inputs)
        context = self._engine.create_execution_context()
        if context is None:
            raise Fault("memory", "no second context can be made")
        profiler = _profiler(self._runtime.trt)
        context.profiler = profiler
        context.enqueue_emits_profile = False
        self._sets[0].bind(context)
        for _ in range(runs):
            self._enqueue(context)
            self._device.stream.synchronize()
            context.report_to_profiler()
        times: Dict[str, List[float]] = profiler.times
        return times

    def close(self) -> None:
        """Frees everything, graphs before the context that they run in."""
        try:
            self._device.stream.synchronize()
        finally:
            while self._captured:
                self._captured.popitem()[1].destroy()
            while self._sets:
                self._sets.pop().free()
            if self._flush is not None:
                self._flush.free()
            self._flush = self._context = self._engine = self._deserializer = None

    def _prepare(self, inputs: Given, mode: str) -> None:
        if mode not in (HOT, ROTATE, COLD):
            raise Fault("usage", f"there is no cache mode {mode!r}")
        l2 = self._device.l2_bytes
        if mode == COLD and self._flush is None:
            self._flush = self._device.allocate(4 * l2)
        if mode == ROTATE:
            each = max(1, sum(tensor.bytes for tensor in self.tensors))
            wanted = min(_MOST_SETS, 2 * l2 // each + 1)
            while len(self._sets) < wanted:
                self._sets.append(Buffers(self._device, self.tensors))
        self._upload(inputs)

    def _upload(self, inputs: Given) -> None:
        for name, array in self._arrays(inputs).items():
            self._host.upload(name, array, self._sets)

    def _arrays(self, inputs: Given) -> Dict[str, Any]:
        """The inputs by name; each fits its tensor, as its bytes are copied as they are."""
        with np.load(inputs["file"], allow_pickle=False) as arrays:
            given = {name: arrays[f"arr_{i}"] for i, name in enumerate(inputs["names"])}
        wanted = {t.name: (t.shape, t.dtype) for t in self.tensors if t.is_input}
        found = {name: (array.shape, array.dtype) for name, array in given.items()}
        if found != wanted:
            raise Fault("usage", f"the engine takes {wanted}, and was given {found}")
        return given

    def _launcher(self, mode: str, each: int) -> Tuple[Callable[[], object], bool]:
        """What puts so many inferences on the stream, and whether it is a graph."""
        key = (mode, each)
        if key not in self._captured and key not in self._uncaptured:
            try:
                self._captured[key] = self._device.graphs.capture(lambda: self._burst(each, mode))
            except Fault:
                self._uncaptured.add(key)
        if key in self._captured:
            return self._captured[key].launch, True
        return (lambda: self._burst(each, mode)), False

    def _burst(self, count: int, mode: str = HOT) -> bool:
        """So many inferences, each on the next set of buffers where sets rotate."""
        sets = self._sets if mode == ROTATE else self._sets[:1]
        for index in range(count):
            sets[index % len(sets)].bind(self._context)
            self._enqueue()
        return True

    def _enqueue(self, context: Any = None) -> None:
        used = self._context if context is None else context
        if not used.execute_async_v3(self._device.stream.handle):
            raise Fault("run", " ".join(self._runtime.errors()[-3:]) or "it did not start")

    def _replay(self, launch: Any, replays: int, cold: bool) -> float:
        """Seconds of all replays: one pair of events around all, or around each where L2 goes."""
        cuda, stream = self._device.cuda, self._device.stream
        pairs = [(cuda.Event(), cuda.Event()) for _ in range(replays if cold else 1)]
        for before, after in pairs:
            if cold:
                cuda.memset_d8_async(self._flush, 0, 4 * self._device.l2_bytes, stream)
            before.record(stream)
            for _ in range(1 if cold else replays):
                launch()
            after.record(stream)
        stream.synchronize()
        return milliseconds(pairs) / 1000


def _profiler(trt: Any) -> Any:
    class Times(trt.IProfiler):  # type: ignore[misc]
        """Collects what is reported."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: Dict[str, List[float]] = {}

        def report_layer_time(self, name: str, ms: float) -> None:
            self.times.setdefault(name, []).append(ms)

    return Times()

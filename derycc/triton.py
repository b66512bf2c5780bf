"""Triton: a build as a model of NVIDIA's Triton Inference Server, a folder of a model repository.

The text of config.pbtxt follows Triton's `ModelConfig` (model_config.proto of its `common`
repository) and the parameters of its ONNX Runtime backend.
"""

import re
from dataclasses import dataclass

from targets.errors import UsageError

MAX_BATCH = 8
"""Requests that the server may join where nobody says how many."""
QUEUE_MICROSECONDS = 500
"""How long a request waits for others that it can be computed with."""


@dataclass(frozen=True, slots=True)
class TritonModel:
    """What a config says.

    Attributes:
        name: of the model, and of its folder.
        size: pixels a side.
        classes: logits.
        max_batch: most images that are computed at once; 1: the graph's batch is fixed.
        picture: takes uint8 pictures, channels last.
        threads: of one instance.
    """

    name: str
    size: int
    classes: int
    max_batch: int
    picture: bool
    threads: int

    def __post_init__(self) -> None:
        """Refuse a batch that is none."""
        if self.max_batch < 1:
            raise UsageError(f"A server cannot compute {self.max_batch} images at once. Use 1 up.")

    @property
    def dims(self) -> tuple[int, ...]:
        """One input without its batch."""
        return (self.size, self.size, 3) if self.picture else (3, self.size, self.size)

    @property
    def data_type(self) -> str:
        """Of the input."""
        return "TYPE_UINT8" if self.picture else "TYPE_FP32"

    def config(self) -> str:
        """The text of config.pbtxt."""
        batched = self.max_batch > 1
        first = () if batched else (1,)
        parts = [
            f'name: "{self.name}"',
            'backend: "onnxruntime"',
            f"max_batch_size: {self.max_batch if batched else 0}",
            _tensor("input", "image", self.data_type, (*first, *self.dims)),
            _tensor("output", "logits", "TYPE_FP32", (*first, self.classes), "labels.txt"),
            "instance_group [\n  {\n    count: 1\n    kind: KIND_CPU\n  }\n]",
            *([self._batching()] if batched else []),
            *(self._warmup(n, (*first, *self.dims)) for n in sorted({1, self.max_batch})),
            _parameter("intra_op_thread_count", self.threads),
            _parameter("inter_op_thread_count", 1),
        ]
        return "\n".join(parts) + "\n"

    def _batching(self) -> str:
        return (
            f"dynamic_batching {{\n  preferred_batch_size: [ {self.max_batch} ]\n"
            f"  max_queue_delay_microseconds: {QUEUE_MICROSECONDS}\n}}"
        )

    def _warmup(self, batch: int, dims: tuple[int, ...]) -> str:
        """A request that is computed before the server says that the model is ready."""
        return (
            f'model_warmup [\n  {{\n    name: "batch {batch}"\n    batch_size: {batch}\n'
            f'    inputs {{\n      key: "image"\n      value {{\n        data_type: '
            f"{self.data_type}\n        dims: [ {_numbers(dims)} ]\n        random_data: true\n"
            f"      }}\n    }}\n    count: 3\n  }}\n]"
        )


def triton_name(text: str) -> str:
    """A text as the name of a model: letters, digits, `_`, `-` and `.`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("._") or "network"


def _tensor(
    what: str, name: str, kind: str, dims: tuple[int, ...], labels: str | None = None
) -> str:
    named = f'\n    label_filename: "{labels}"' if labels else ""
    return (
        f'{what} [\n  {{\n    name: "{name}"\n    data_type: {kind}\n'
        f"    dims: [ {_numbers(dims)} ]{named}\n  }}\n]"
    )


def _parameter(key: str, value: int) -> str:
    return f'parameters {{\n  key: "{key}"\n  value {{\n    string_value: "{value}"\n  }}\n}}'


def _numbers(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))

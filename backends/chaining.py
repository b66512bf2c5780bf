"""`chain`: several ONNX models, one behind the other, as one model."""

from collections.abc import Sequence
from itertools import pairwise

from onnx import ModelProto
from onnx.compose import add_prefix, merge_models

from backends.model import ExportedModel
from targets.errors import UsageError


def chain(models: Sequence[ExportedModel], name: str) -> ExportedModel:
    """Joins models of one input and one output each: what one puts out the next takes in.

    Args:
        models: at least one; each puts out a tensor of the shape and dtype that the next takes in.
        name: of the model that comes out.

    Raises:
        UsageError: there is no model, or two neighbours do not fit.
    """
    if not models:
        raise UsageError(f"Cannot make the chain {name!r} of no models. Give at least one.")
    _check(models)
    protos = [_prefixed(model, f"part{index}.") for index, model in enumerate(models)]
    joined, opsets = protos[0], list(protos[0].opset_import)
    for proto in protos[1:]:
        edge = (joined.graph.output[0].name, proto.graph.input[0].name)
        joined = merge_models(joined, proto, io_map=[edge])
    del joined.opset_import[:]
    joined.opset_import.extend(opsets)
    joined.graph.name = name
    return ExportedModel.from_bytes(joined.SerializeToString(), name)


def _prefixed(model: ExportedModel, prefix: str) -> ModelProto:
    return add_prefix(ModelProto.FromString(model.onnx), prefix)


def _check(models: Sequence[ExportedModel]) -> None:
    for model in models:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise UsageError(
                f"Cannot chain {model.name!r}: it has {len(model.inputs)} inputs and "
                f"{len(model.outputs)} outputs. Give models of one input and one output."
            )
    for left, right in pairwise(models):
        out, into = left.outputs[0], right.inputs[0]
        if (out.shape, out.dtype) != (into.shape, into.dtype):
            raise UsageError(
                f"Cannot chain {left.name!r} and {right.name!r}: the first puts out {out.dtype} "
                f"{out.shape}, the second takes in {into.dtype} {into.shape}. Put a stitch between."
            )
        if _opsets(left) != _opsets(right):
            raise UsageError(
                f"Cannot chain {left.name!r} and {right.name!r}: their opsets are "
                f"{_opsets(left)} and {_opsets(right)}. Export both with one opset."
            )


def _opsets(model: ExportedModel) -> dict[str, int]:
    """Versions of the operator sets that a model uses, by domain."""
    return {o.domain: o.version for o in ModelProto.FromString(model.onnx).opset_import}

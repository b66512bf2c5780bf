"""Builds as somebody who means ill, or a broken disk, would leave them."""

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Change = Callable[[Path], object]
DEEP = "[" * 200_000


def restamp(build: Path) -> None:
    """Have manifest and verify.json name the files as they are now, as who means ill would."""
    manifest = json.loads((build / "manifest.json").read_text())
    for name in manifest["files"]:
        if (build / name).is_file():
            content = (build / name).read_bytes()
            manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (build / "manifest.json").write_text(json.dumps(manifest))
    verified = json.loads((build / "verify.json").read_text())
    verified["model_sha256"] = manifest["files"]["model.onnx"]
    (build / "verify.json").write_text(json.dumps(verified))


# --- bytes --------------------------------------------------------------------------------------


def truncated(name: str, share: float) -> Change:
    def change(build: Path) -> None:
        content = (build / name).read_bytes()
        (build / name).write_bytes(content[: int(len(content) * share)])

    return change


def flipped(name: str, seed: int) -> Change:
    """A bit is another, among the first or the last 2,000 bytes: where the structure is."""

    def change(build: Path) -> None:
        content = bytearray((build / name).read_bytes())
        random = np.random.default_rng(seed)
        at = int(random.integers(0, min(4000, len(content)))) - min(2000, len(content) // 2)
        content[at] ^= 1 << int(random.integers(0, 8))
        (build / name).write_bytes(bytes(content))

    return change


def written(name: str, content: str | bytes) -> Change:
    def change(build: Path) -> None:
        raw = content.encode() if isinstance(content, str) else content
        (build / name).write_bytes(raw)

    return change


def stamped(change: Change) -> Change:
    def both(build: Path) -> None:
        change(build)
        restamp(build)

    return both


# --- graphs -------------------------------------------------------------------------------------


def graph(edit: Callable[[onnx.ModelProto], object]) -> Change:
    """The model, edited, under its new hash."""

    def change(build: Path) -> None:
        model = onnx.ModelProto.FromString((build / "model.onnx").read_bytes())
        edit(model)
        (build / "model.onnx").write_bytes(model.SerializeToString())
        restamp(build)

    return change


def external(location: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return edit


def external_constant(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret/secret.txt")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def dims(*values: int) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = values

    return edit


def grown(op: str, shape: list[int], *, through: bool = True) -> Callable[[onnx.ModelProto], None]:
    """A tensor of a huge shape on the way to the answer."""

    def edit(model: onnx.ModelProto) -> None:
        nodes = model.graph.node
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape, "i8"), "huge"))
        last = nodes[-1].output[0]
        nodes[-1].output[0] = "before"
        if op == "ConstantOfShape":
            nodes.append(helper.make_node(op, ["huge"], ["large"]))
        else:
            nodes.append(helper.make_node(op, ["before", "huge"], ["large"]))
        nodes.append(helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0))
        nodes.append(helper.make_node("Add", ["before", "most"], [last]))

    return edit


def counted(model: onnx.ModelProto) -> None:
    limit = numpy_helper.from_array(np.float32(1e12), "limit")
    model.graph.initializer.extend(
        [
            limit,
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(1), "one"),
        ]
    )
    last = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Range", ["zero", "limit", "one"], ["large"]))
    model.graph.node.append(helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["before", "most"], [last]))


def looped(model: onnx.ModelProto) -> None:
    """A loop without an end."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.bool_(True), "yes"))
    model.graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))


def nested(model: onnx.ModelProto) -> None:
    """Graphs inside of graphs."""
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    for _ in range(30):
        node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "g", [], [])
        if inner.ByteSize() > 2**20:
            break
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner))


def functions(model: onnx.ModelProto) -> None:
    imports = [helper.make_opsetid("", 18)]
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("", "Conv", ["x"], ["y"], [node], imports))


def domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil", 1))
    model.graph.node.append(helper.make_node("Run", ["image"], ["z"], domain="evil"))


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def unknown_value(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def many_nodes(model: onnx.ModelProto) -> None:
    made = [helper.make_node("Relu", ["image"], [f"n{i}"]) for i in range(100_001)]
    model.graph.node.extend(made)


def renamed_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "picture"
    model.graph.node[0].input[0] = "picture"


def input_shape(*shape: int | str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        value = helper.make_tensor_value_info("image", TensorProto.FLOAT, list(shape))
        model.graph.input[0].CopyFrom(value)

    return edit


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def other_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(
        helper.make_tensor_value_info(model.graph.node[0].output[0], TensorProto.FLOAT, [1])
    )


def output_shape(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7


def strings(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("s", TensorProto.STRING, [1], [b"x"]))


def sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**9]))


def short_data(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]


def element_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 999


def opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9999


def ir_version(model: onnx.ModelProto) -> None:
    model.ir_version = 9999


def attribute(model: onnx.ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    del conv.attribute[:]
    conv.attribute.append(helper.make_attribute("pads", [2**40] * 4))


GRAPHS: dict[str, Callable[[onnx.ModelProto], object]] = {
    "weights in an absolute place": external("/etc/hostname"),
    "weights in a folder above": external("../secret/secret.txt"),
    "weights beside": external("labels.txt"),
    "weights nowhere": external(""),
    "a constant in a folder above": external_constant,
    "a huge weight": dims(2**40),
    "a weight of a product that overflows": dims(2**32, 2**32),
    "a weight of a negative size": dims(-1, 3),
    "a weight of no size": dims(0),
    "a weight of many dimensions": dims(*[1] * 1000),
    "a weight with too little data": short_data,
    "a weight of an unknown type": element_type,
    "a weight of words": strings,
    "a sparse weight": sparse,
    "a huge constant": grown("ConstantOfShape", [2**20, 2**20]),
    "a huge expansion": grown("Expand", [2**31, 1, 1000]),
    "a huge tile": grown("Tile", [2**40, 1]),
    "a huge reshape": grown("Reshape", [2**40, -1]),
    "a huge range": counted,
    "huge pads": attribute,
    "a loop without an end": looped,
    "graphs in graphs": nested,
    "an operator of its own": functions,
    "an operator of another domain": domain,
    "a cycle": cycle,
    "a value of nowhere": unknown_value,
    "no operators": no_nodes,
    "too many operators": many_nodes,
    "an input of another name": renamed_input,
    "an input of another size": input_shape(1, 3, 32, 32),
    "a huge input": input_shape(1, 3, 2**20, 2**20),
    "an input of any size": input_shape("n", 3, "h", "w"),
    "an input of a negative size": input_shape(-1, 3, 64, 64),
    "a second input": second_input,
    "a second answer": other_output,
    "an answer of another size": output_shape,
    "an opset of the future": opset,
    "a format of the future": ir_version,
}

# --- manifests ----------------------------------------------------------------------------------


def said(place: str, value: Any) -> Change:
    """The manifest says something else in one place."""

    def change(build: Path) -> None:
        manifest = json.loads((build / "manifest.json").read_text())
        *path, last = place.split(".")
        inside = manifest
        for step in path:
            inside = inside[int(step) if isinstance(inside, list) else step]
        if value is ...:
            del inside[last]
        else:
            inside[last] = value
        (build / "manifest.json").write_text(json.dumps(manifest))

    return change


def held(name: str) -> Change:
    """The manifest holds a file by a name."""

    def change(build: Path) -> None:
        manifest = json.loads((build / "manifest.json").read_text())
        manifest["files"][name] = "0" * 64
        (build / "manifest.json").write_text(json.dumps(manifest))

    return change


def replaced(old: str, new: str) -> Change:
    """A text in the manifest is another, the first time it is there."""

    def change(build: Path) -> None:
        text = (build / "manifest.json").read_text()
        assert old in text
        (build / "manifest.json").write_text(text.replace(old, new, 1))

    return change


MANIFESTS: dict[str, Change] = {
    "nothing": written("manifest.json", b""),
    "no JSON": written("manifest.json", "not JSON"),
    "no text": written("manifest.json", b"\xff\xfe\x00"),
    "null": written("manifest.json", "null"),
    "a list": written("manifest.json", "[]"),
    "deep lists": written("manifest.json", DEEP),
    "deep objects": written("manifest.json", '{"a":' * 100_000),
    "deep inside": replaced('"machine":', '"machine": {"x": ' + DEEP + '}, "y":'),
    "a long text": written("manifest.json", b" " * (65 * 2**20)),
    "no format": said("format", ...),
    "another format": said("format", "derycc.manifest/99"),
    "a format of numbers": said("format", 3),
    "files as a list": said("files", []),
    "files as numbers": said("files", {"model.onnx": 1}),
    "no files": said("files", {}),
    "a file above": held("../secret/secret.txt"),
    "a file anywhere": held("/etc/hostname"),
    "a file below": held("a/b"),
    "the folder above": held(".."),
    "a file without a name": held(""),
    "a file with a zero": held("a\0b"),
    "a file of Windows": held("..\\x"),
    "a file that is not there": held("more.bin"),
    "a wrong hash": held("labels.txt"),
    "a latency in words": said("latency.measured_us", "fast"),
    "a latency that is infinite": replaced('"measured_us":', '"measured_us": 1e999, "was":'),
    "a latency that is no number": replaced('"measured_us":', '"measured_us": NaN, "was":'),
    "a number without an end": replaced('"samples":', f'"samples": {"9" * 5000}, "was":'),
    "an enormous input": said("network.input_size", 10**9),
    "an input of nothing": said("network.input_size", 0),
    "an enormous resize": said("network.crop", 1e-12),
    "no crop": said("network.crop", 0),
    "an unknown interpolation": said("network.interpolation", "__class__"),
    "deviations of nothing": said("network.std", [0, 0, 0]),
    "two means": said("network.mean", [0, 0]),
    "no segments": said("network.segments", []),
    "segments in words": said("network.segments", "all"),
    "no network": said("network", None),
    "no target": said("target", "warp:drive"),
    "another gate": said("verified.gate", -1.0),
}

# --- what lies in the folder --------------------------------------------------------------------


def link(name: str, where: str) -> Change:
    def change(build: Path) -> None:
        (build / name).unlink()
        (build / name).symlink_to(where)

    return change


def pipe(name: str) -> Change:
    def change(build: Path) -> None:
        (build / name).unlink()
        os.mkfifo(build / name)

    return change


def folder(name: str) -> Change:
    def change(build: Path) -> None:
        (build / name).unlink()
        (build / name).mkdir()

    return change


def gone(name: str) -> Change:
    return lambda build: (build / name).unlink()


def enormous(name: str) -> Change:
    """A file that has 8 GiB and takes no place."""
    return lambda build: os.truncate(build / name, 2**33)


FOLDERS: dict[str, Change] = {
    "a model that is a link above": link("model.onnx", "../secret/secret.txt"),
    "a model that is a link to zeros": link("model.onnx", "/dev/zero"),
    "a model that is a pipe": pipe("model.onnx"),
    "a model that is a folder": folder("model.onnx"),
    "a model that is gone": gone("model.onnx"),
    "a model of 8 GiB": enormous("model.onnx"),
    "a manifest that is a link above": link("manifest.json", "../secret/secret.txt"),
    "a manifest that is a link to zeros": link("manifest.json", "/dev/zero"),
    "a manifest that is a pipe": pipe("manifest.json"),
    "a manifest that is a folder": folder("manifest.json"),
    "a manifest that is gone": gone("manifest.json"),
    "a manifest of 8 GiB": enormous("manifest.json"),
    "weights that are a link": link("network.safetensors", "../secret/secret.txt"),
    "labels that are a link": link("labels.txt", "../secret/secret.txt"),
    "labels that are a pipe": pipe("labels.txt"),
    "labels that are gone": gone("labels.txt"),
    "labels that are no text": stamped(written("labels.txt", b"\xff" * 10)),
    "a model of another input than is said": said("network.input_size", 32),
    "too few labels": stamped(written("labels.txt", "one\n")),
    "no labels": stamped(written("labels.txt", b"")),
}


def untold(name: str) -> Change:
    """The manifest tells nothing of a file."""

    def change(build: Path) -> None:
        manifest = json.loads((build / "manifest.json").read_text())
        del manifest["files"][name]
        (build / "manifest.json").write_text(json.dumps(manifest))

    return change


ZIPPED: dict[str, Change] = {
    "a script that the manifest does not tell of": untold("run.py"),
    "a verification that is a link": link("verify.json", "../secret/secret.txt"),
    "a verification that is a pipe": pipe("verify.json"),
    "a verification that is a folder": folder("verify.json"),
}

# --- weights of torch, verifications, locks ------------------------------------------------------


def header(text: str, length: int | None = None) -> Change:
    """A safetensors file with this header."""
    raw = text.encode()
    size = len(raw) if length is None else length
    return stamped(written("network.safetensors", struct.pack("<Q", size) + raw + b"\0" * 64))


WEIGHTS: dict[str, Change] = {
    "no weights": stamped(written("network.safetensors", b"")),
    "half of the weights": stamped(truncated("network.safetensors", 0.5)),
    "a header without an end": header("{}", 2**60),
    "a header that is no JSON": header("evil"),
    "a header of deep lists": header(DEEP),
    "weights of a huge shape": header(
        '{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,64]}}'
    ),
    "weights outside of the file": header(
        '{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,999999]}}'
    ),
    "other weights": header('{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}'),
    "a pickle": stamped(written("network.safetensors", b"\x80\x04cos\nsystem\n.")),
}


VERIFICATIONS: dict[str, Change] = {
    "deep lists": written("verify.json", DEEP),
    "no JSON": written("verify.json", "{"),
    "another format": written("verify.json", '{"format": "derycc.verify/7"}'),
    "no rows": written("verify.json", '{"format": "derycc.verify/1"}'),
    "rows in words": written(
        "verify.json",
        '{"format":"derycc.verify/1","model_sha256":"0","photographs":"","targets":"all"}',
    ),
    "another model": written(
        "verify.json",
        '{"format":"derycc.verify/1","model_sha256":"0","photographs":"","targets":[]}',
    ),
    "no text": written("verify.json", b"\xff\xfe"),
    "too long": written("verify.json", b" " * 2**23),
    "a link": link("verify.json", "../secret/secret.txt"),
    "a pipe": pipe("verify.json"),
    "gone": gone("verify.json"),
}


def lock(place: str, value: Any) -> Change:
    """The lock says something else in one place."""

    def change(build: Path) -> None:
        content = json.loads((build / "derycc.lock").read_text())
        *path, last = place.split(".")
        inside = content
        for step in path:
            inside = inside[int(step) if isinstance(inside, list) else step]
        inside[last] = value
        (build / "derycc.lock").write_text(json.dumps(content))

    return change


LOCKS: dict[str, Change] = {
    "nothing": written("derycc.lock", b""),
    "no JSON": written("derycc.lock", "evil"),
    "no text": written("derycc.lock", b"\xff\xfe"),
    "deep lists": written("derycc.lock", DEEP),
    "a list": written("derycc.lock", "[]"),
    "half of it": truncated("derycc.lock", 0.5),
    "another format": lock("format", "derycc.lock/9"),
    "views in words": lock("views", "many"),
    "a recipe in words": lock("recipe", "everything"),
    "an enormous input": lock("recipe.input", [3, 10**9, 10**9]),
    "classes without an end": lock("recipe.classes", -1),
    "no segments": lock("recipe.segments", []),
    "an unknown donor": lock("recipe.segments.0.model", "../secret/secret.txt"),
    "an unknown node": lock("recipe.segments.0.last", "nowhere"),
    "other images": lock("images", "0"),
}

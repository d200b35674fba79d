"""ONNX files with tensors in other files are refused, wherever these are, by everything that opens one."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ganpress.edge.graphs.onnx_export import graph_content
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import CheckpointError
from ganpress.files.frames import frame_of, read_content
from ganpress.files.onnx_files import check_self_contained, read_onnx
from ganpress.registries import TARGETS
from models.wdcgan import wdcgan_generator


@pytest.fixture(scope="module")
def content():
    return graph_content(wdcgan_generator("1", 8, 1).eval(), torch.zeros(2, 100))


def _external(tensor, location="secret.bin"):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def _tensor(name="t"):
    return _external(numpy_helper.from_array(torch.zeros(4).numpy(), name))


def _sparse():
    values, indices = _tensor("v"), numpy_helper.from_array(torch.arange(4).numpy(), "i")
    return helper.make_sparse_tensor(values, indices, [9])


def _graph(*nodes, initializer=()):
    return helper.make_graph(list(nodes), "g", [], [], list(initializer))


def _constant(**attributes):
    return helper.make_node("Constant", [], ["c"], **attributes)


def _branch():
    return helper.make_node("If", ["x"], ["y"], then_branch=_graph(initializer=[_tensor()]), else_branch=_graph())


def _function():
    return helper.make_function("d", "F", [], ["c"], [_constant(value=_tensor())], [helper.make_opsetid("", 17)])


def _in_training(model):
    model.training_info.add().algorithm.initializer.append(_tensor())


PLACES = {
    "initializer": lambda model: _external(model.graph.initializer[0]),
    "outside": lambda model: _external(model.graph.initializer[0], "/etc/hostname"),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(_sparse()),
    "attribute": lambda model: model.graph.node.append(_constant(value=_tensor())),
    "sparse attribute": lambda model: model.graph.node.append(_constant(sparse_value=_sparse())),
    "tensors": lambda model: model.graph.node.append(helper.make_node("X", [], ["c"], many=[_tensor(), _tensor()])),
    "subgraph": lambda model: model.graph.node.append(_branch()),
    "subgraph of a subgraph": lambda model: model.graph.node.append(
        helper.make_node("Loop", [], ["z"], body=_graph(_branch()))
    ),
    "graphs": lambda model: model.graph.node.append(helper.make_node("X", [], ["c"], many=[_graph(_branch())])),
    "function": lambda model: model.functions.append(_function()),
    "training": _in_training,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("packed", [False, True])
def test_external_data_is_refused_before_the_runtime_opens_the_file(content, tmp_path, monkeypatch, place, packed):
    model = onnx.load_from_string(content)
    PLACES[place](model)
    (tmp_path / "secret.bin").write_bytes(bytes(10**6))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("generator.onnx.zst" if packed else "generator.onnx")
    written = model.SerializeToString()
    path.write_bytes(frame_of(written) if packed else written)
    for read in (OnnxGenerator, read_onnx, TARGETS["onnx"].open):
        with pytest.raises(CheckpointError, match="reads its weights from other files, which is refused") as caught:
            read(path)
        assert str(caught.value).isprintable()


def test_a_location_without_the_mark_is_refused(content, tmp_path):
    model = onnx.load_from_string(content)
    model.graph.initializer[0].external_data.add(key="location", value="secret.bin")
    with pytest.raises(CheckpointError, match="from other files"):
        check_self_contained(model.SerializeToString(), tmp_path / "g.onnx")


def test_honest_files_are_read(content, tmp_path):
    (tmp_path / "generator.onnx").write_bytes(content)
    assert read_onnx(tmp_path / "generator.onnx") == read_content(tmp_path / "generator.onnx")
    assert OnnxGenerator(tmp_path / "generator.onnx")(torch.zeros(1, 100)).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    "noise",
    [b"\x00", b"\xff" * 99, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b" * 40, b"\x08" + b"\x80" * 20, b"\x18\0\0\0ORTM\0\0"],
)
def test_noise_is_refused_in_one_line(tmp_path, noise):
    path = tmp_path / "generator.onnx"
    path.write_bytes(noise)
    with pytest.raises(CheckpointError) as caught:
        OnnxGenerator(path)
    assert str(caught.value).isprintable()


def test_messages_inside_each_other_end_somewhere(tmp_path):
    graph = b""
    for _ in range(200):
        node = b"\x2a" + _length(b"\x32" + _length(graph))
        graph = b"\x0a" + _length(node)
    with pytest.raises(CheckpointError, match="not a complete ONNX file"):
        check_self_contained(b"\x3a" + _length(graph), tmp_path / "g.onnx")


def _length(content):
    size, made = len(content), bytearray()
    while size > 127:
        made.append(size & 127 | 128)
        size >>= 7
    return bytes([*made, size]) + content


def test_inputs_of_open_size_are_refused(content, tmp_path):
    model = onnx.load_from_string(content)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "any"
    path = tmp_path / "generator.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError):
        OnnxGenerator(path)


@pytest.mark.parametrize("start", [b"", b"\x08\x0a", b"noise", b"<html>", b"<?xml", b"<net>", b"<?xml?><net/>"])
def test_openvino_takes_nothing_but_its_own_xml(content, tmp_path, monkeypatch, start):
    if TARGETS["openvino"].missing():
        pytest.skip(f"needs {TARGETS['openvino'].missing()}")
    model = onnx.load_from_string(content)
    _external(model.graph.initializer[0])
    (tmp_path / "secret.bin").write_bytes(bytes(10**6))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "generator.xml"
    path.write_bytes(model.SerializeToString() if start == b"\x08\x0a" else start)
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be loaded by OpenVINO: .*; export it again") as caught:
        TARGETS["openvino"].open(path)
    assert str(caught.value).isprintable()

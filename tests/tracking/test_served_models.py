"""Registered edge files as MLflow serves them: pictures for right inputs, a refusal for others; no code of ganpress."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from ganpress.files.frames import read_content
from ganpress.tracking.model_registry import register_edge_models
from ganpress.tracking.promotion import version_of
from ganpress.tracking.recorder import record_all
from ganpress.tracking.served_models import (
    description_of,
    example_of,
    signature_of,
    tensors_of_card,
    tensors_of_onnx,
)

NAME = "ganpress-edge"
LATENT = 5
"""Of the chain's files."""


def evaluated(project):
    """What was measured of the chain."""
    return json.loads((project.root / "artifacts/evaluate/metrics.json").read_text())


def graph(*shape):
    tensor = helper.make_tensor_value_info("source", TensorProto.FLOAT, shape)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    made = helper.make_graph([helper.make_node("Neg", ["source"], ["images"])], "g", [tensor], [images])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(("n", 5), (2, 5)), (("n", 3, 16, 8), (1, 3, 16, 8)), ((1, 3, "h", "w"), (1, 3, 64, 64)), ((4, 7), (4, 7))],
)
def test_the_example_fits_the_graph(shape, expected):
    proto = graph(*shape)
    tensors = tensors_of_onnx(proto)
    (example,) = example_of(tensors, None).values()
    assert (example.shape, example.dtype) == (expected, np.float32)
    (spec,) = signature_of(tensors).inputs.inputs
    assert spec.shape == tuple(-1 if isinstance(side, str) else side for side in shape)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    assert session.run(None, {"source": example})[0].shape == expected


def test_the_example_of_label_maps_gives_each_pixel_one_label(tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"inputs": [{"name": "source", "meaning": "one-hot labels: sky, road, tree"}]}))
    (example,) = example_of(tensors_of_onnx(graph("n", 3, 4, 4)), card).values()
    assert set(np.unique(example)) == {0.0, 1.0}
    np.testing.assert_array_equal(example.sum(axis=1), np.ones((1, 4, 4), np.float32))
    card.write_text("{")
    assert example_of(tensors_of_onnx(graph("n", 3, 4, 4)), card)["source"].min() < 0


def test_each_version_bears_signature_example_and_its_scores(chain):
    import mlflow

    for reference in ("export/small", "export/large"):
        (version,) = [
            one
            for one in chain.store.client.search_model_versions(f"name = '{NAME}'")
            if one.tags["reference"] == reference
        ]
        model = mlflow.pyfunc.load_model(version.source)
        (spec,) = model.metadata.get_input_schema().inputs
        assert (spec.name, spec.shape, spec.type) == ("z", (-1, LATENT), np.dtype("float32"))
        example = model.input_example
        assert example["z"].shape == (2, LATENT)
        assert model.predict(example)["images"].shape[0] == 2
        row = evaluated(chain)[reference]
        for words in (
            f"`{reference}`",
            f"IS {row['is_10_judge']:.4g}",
            f"{row['size_bytes']:,} bytes",
            "0.1 ms a picture",
        ):
            assert words in version.description


def test_a_new_evaluation_changes_the_words(chain, tmp_path):
    project = chain.copy(tmp_path / "copy")
    rows = {"export/small": evaluated(chain)["export/small"] | {"is_10_judge": 7.5}}
    register_edge_models(project.root, rows, None, project.store, evaluated=True)
    assert "IS 7.5 (`is_10_judge`)" in version_of(project.store, NAME, "candidate").description


def test_a_description_says_how_sure_and_how_it_is_opened():
    words = description_of("export/x", {"fid_9_test_judge": 4.0, "fid_9_test_judge_error": 0.5}, serves=False)
    assert "FID 4 ± 0.5 (`fid_9_test_judge`)." in words
    assert "where ganpress and the file's own runtime are installed" in words


def test_a_card_that_cannot_be_read_has_no_tensors(tmp_path):
    card = tmp_path / "card.json"
    for text in ("{", "[]", '{"inputs": [{}], "outputs": []}', '{"inputs": [], "outputs": []}'):
        card.write_text(text)
        assert tensors_of_card(card) is None


@pytest.mark.slow
def test_a_file_of_another_runtime_answers_with_pictures_too(project):
    import mlflow
    import torch
    from mlflow.exceptions import MlflowException

    from ganpress import Generator, export
    from ganpress.registries import TARGETS
    from models.family import Canvas

    if (command := TARGETS["openvino"].missing()) is not None:
        pytest.skip(command)
    made = export(
        Generator.fresh("wdcgan:2", Canvas(1, 16, 16)), project.root / "artifacts/export/vino", target="openvino"
    )
    project.make_model("export/vino", model=made.file)
    record_all(project.root)
    model = mlflow.pyfunc.load_model(project.models()["export@vino"].artifact_location)
    images = model.predict(model.input_example)["images"]
    expected = TARGETS["openvino"].open(made.file, 1)(torch.from_numpy(model.input_example["z"]))
    np.testing.assert_array_equal(images, expected.numpy())
    assert images.shape == (2, 1, 16, 16)
    with pytest.raises(MlflowException, match="does not match expected shape"):
        model.predict({"z": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda: {"z": np.zeros((2, LATENT + 1), np.float32)}, "does not match expected shape"),
        (lambda: {"z": np.zeros((2, LATENT))}, "dtype of input float64 does not match"),
        (lambda: {"latent": np.zeros((2, LATENT), np.float32)}, "missing inputs"),
    ],
)
def test_what_would_be_wrong_is_refused(chain, given, reason):
    import mlflow
    from mlflow.exceptions import MlflowException

    version = chain.store.client.get_model_version_by_alias(NAME, "champion")
    with pytest.raises(MlflowException, match=reason):
        mlflow.pyfunc.load_model(version.source).predict(given())


@pytest.fixture(scope="module")
def server(chain, tmp_path_factory):
    """`mlflow models serve` of the champion, started elsewhere than in the project."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{chain.root}/mlflow/tracking.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    options = [
        "--model-uri",
        f"models:/{NAME}@champion",
        "--env-manager",
        "local",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    folder = tmp_path_factory.mktemp("elsewhere")
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", *options],
        cwd=folder,
        env={**os.environ, **store, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=2)
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
    yield address
    os.killpg(process.pid, 15)
    process.wait(30)


def ask(address, content):
    """POST to the model; its status and what it says."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", json.dumps(content).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_server_answers_with_pictures_and_refuses_a_table_of_numbers(chain, server):
    z = np.random.default_rng(1).standard_normal((3, LATENT)).astype(np.float32)
    status, said = ask(server, {"inputs": {"z": z.tolist()}})
    assert status == 200
    session = onnxruntime.InferenceSession(read_content(chain.root / "artifacts/export/small/generator.onnx.zst"))
    np.testing.assert_array_equal(np.float32(said["predictions"]["images"]), session.run(None, {"z": z})[0])
    columns = [f"z{place}" for place in range(LATENT)]
    for wrong in (
        {"dataframe_split": {"columns": columns, "data": z.tolist()}},  # answered one number a row (mlflow#25942)
        {"dataframe_split": {"columns": ["z"], "data": z[:, :1].tolist()}},
        {"inputs": {"z": z[:, :3].tolist()}},
        {"inputs": {"latent": z.tolist()}},
        {"inputs": {"z": "pictures"}},
    ):
        status, said = ask(server, wrong)
        assert status == 400, (wrong, said)
    version = chain.store.client.get_model_version_by_alias(NAME, "champion")
    example = Path(version.source.removeprefix("file://")) / "serving_input_example.json"
    assert ask(server, json.loads(example.read_text()))[0] == 200

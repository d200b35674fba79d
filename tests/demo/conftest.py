"""Generators for the page, and a real browser."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.data.prepared.arrays import Conditioning
from ganpress.demo.page_runtime import FILES_SHA256, BrowserRuntime
from ganpress.demo.server import open_server
from ganpress.edge.graphs.graph_writer import IR_VERSION, OPSET
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage
from ganpress.edge.proof.verification import Verification

CHECKOUT = Path(__file__).resolve().parents[2]
LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="wdcgan_generator")
SEMANTIC = Conditioning("semantic", 3, 16, 16, ["sky", "sea", "sun"], {"test": 1})


@dataclass
class Visit:
    """An open page, and what it did that it should not."""

    page: object
    url: str
    complaints: list[str] = field(default_factory=list)

    def ready(self):
        """Wait until the page has started, or has said why it cannot."""
        self.page.wait_for_selector("html[data-state]", state="attached", timeout=120_000)
        return self.page.evaluate("document.documentElement.dataset.state")

    def settle(self):
        """Wait until both generators have drawn the newest input."""
        self.page.wait_for_timeout(50)
        for _ in range(600):
            if self.page.evaluate("demo.idle"):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("the page is still running after 30 s")

    def pixels(self, canvas):
        """Bytes (H, W, 3) of a canvas."""
        script = """id => { const {width, height} = document.getElementById(id);
            const data = document.getElementById(id).getContext('2d').getImageData(0, 0, width, height).data;
            return [height, width, Array.from(data)]; }"""
        height, width, values = self.page.evaluate(script, canvas)
        rgba = np.array(values, np.uint8).reshape(height, width, 4)
        assert (rgba[..., 3] == 255).all()
        return rgba[..., :3]

    def input(self):
        """What both generators were given last, float32 (numbers,)."""
        return torch.tensor(self.page.evaluate("Array.from(demo.input)"), dtype=torch.float32)


def write_drawing(model, path):
    """The file by hand: torch's exporter takes seconds to import."""
    weights = (model.conv.weight, model.conv.bias)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["source", "weight", "bias"], ["drawn"], pads=[1] * 4),
            helper.make_node("Tanh", ["drawn"], ["images"]),
        ],
        "drawing",
        [helper.make_tensor_value_info("source", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [
            numpy_helper.from_array(one.detach().numpy(), name)
            for one, name in zip(weights, ("weight", "bias"), strict=True)
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), path)


@pytest.fixture(scope="session")
def write_exported():
    """(folder, model, example, conditioning=None, trained=None) -> an edge file with its card, as a stage leaves it."""

    def write(folder, model, example, conditioning=None, trained=None):
        folder.mkdir(parents=True)
        path = folder / "generator.onnx"
        write_drawing(model, path) if isinstance(model, Drawing) else export_onnx(model, path, example)
        proof = Verification(images=1, max_abs_error=0.0, snr_db=None, tolerance=0.1)
        write_card(path, model, example[:1], proof, LINEAGE, conditioning, trained)
        return path

    return write


def is_complaint(message):
    """Whether it is an error or warning; that canvases are read often is the tests' doing, not the page's."""
    return message.type in ("error", "warning") and "willReadFrequently" not in message.text


class Drawing(nn.Module):
    """A generator of maps (N, C, H, W) that needs no tracing of many layers."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, source):
        return torch.tanh(self.conv(source))


@pytest.fixture(scope="session")
def latent_exports(trained_like, write_exported, tmp_path_factory):
    """artifacts/ with a float teacher and two compressed forms of 16 x 16 pixels."""
    artifacts = tmp_path_factory.mktemp("latents") / "artifacts"
    model, z = trained_like("4", 16, 1), torch.randn(32, 100, generator=torch.Generator().manual_seed(0))
    write_exported(artifacts / "export" / "teacher", model, z)
    for name, bits in {"int8": (8, 8), "stored-int8": (8, None), "activations-int8": (None, 8)}.items():
        write_exported(artifacts / "export" / name, quantize(model, z, QuantizationConfig(*bits)), z, trained=model)
    return artifacts


@pytest.fixture(scope="session")
def label_exports(write_exported, tmp_path_factory):
    """artifacts/ with two generators of label maps (3, 16, 16)."""
    artifacts = tmp_path_factory.mktemp("labels") / "artifacts"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name in ("teacher", "other"):
            write_exported(artifacts / "export" / name, Drawing(3).eval(), torch.zeros(2, 3, 16, 16), SEMANTIC)
    return artifacts


@pytest.fixture
def files_of_runtime(tmp_path):
    """A folder with files of the runtime's names: enough where a site is written and not run."""
    folder = tmp_path / "runtime-files"
    folder.mkdir()
    for name in FILES_SHA256:
        (folder / name).write_text(name)
    return BrowserRuntime(folder)


@pytest.fixture
def visit(chromium):
    """(folder of a site) -> `Visit`; at the end the page may neither have complained nor looked elsewhere."""
    ends, visits = [], []

    def go(folder, query=""):
        server = open_server(folder, 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        page = chromium.new_page(viewport={"width": 1120, "height": 900})
        seen = Visit(page, url)
        told = seen.complaints.append
        page.on("console", lambda message: told(message.text) if is_complaint(message) else None)
        page.on("pageerror", lambda error: told(str(error)))
        inside = (url, f"blob:{url}", "data:")
        page.on("request", lambda one: None if one.url.startswith(inside) else told(f"requested {one.url}"))
        ends.extend([page.close, server.shutdown, server.server_close])
        visits.append(seen)
        page.goto(url + query)
        return seen

    yield go
    for end in ends:
        end()
    assert [complaint for seen in visits for complaint in seen.complaints] == []

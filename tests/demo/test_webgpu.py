"""Files for WebGPU in a real browser, whose GPU is emulated on the CPU: the images, not the speed."""

import threading

import pytest
import torch

from ganpress.demo.generators import choose_pair
from ganpress.demo.server import open_server
from ganpress.demo.site import build_site
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage
from ganpress.edge.proven_export import ExportSettings, proven_export
from ganpress.registries import TARGETS
from models.resnet import resnet_generator

pytestmark = pytest.mark.slow
TARGET = TARGETS["webgpu"]
LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="resnet_generator")
GPU_FLAGS = "--no-sandbox --no-first-run --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader"
RUN = """async (input) => {
    const { Engine } = await import('./engine.js');
    const manifest = await (await fetch('manifest.json')).json();
    const engine = await Engine.open(manifest, 1);
    const images = {};
    for (const { role } of manifest.generators) {
        images[role] = Array.from((await engine.run(role, new Float32Array(input), 1)).images);
    }
    engine.close();
    return { providers: engine.providers, images };
}"""


def sources(images, seed=0):
    noise = torch.randn(images, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=32, mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def generators(trained_like):
    """Of latents (transposed convolutions) and of pictures (mirrored borders, instance normalisations)."""
    torch.manual_seed(0)
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    return {
        "latents": (trained_like("8", 32, 1), z),
        "pictures": (resnet_generator("ngf=8", 3, 3, separable=False).eval(), sources(8)),
    }


@pytest.fixture(scope="module")
def exports(generators, tmp_path_factory):
    """artifacts/ of each, with floats and halves for WebGPU."""
    found = {}
    for kind, (model, inputs) in generators.items():
        artifacts = tmp_path_factory.mktemp(kind) / "artifacts"
        for item, number_type in (("teacher", "float32"), ("half", "float16")):
            path = artifacts / "export" / item / "generator.web.onnx"
            facts, proof = proven_export(TARGET, model, path, inputs, ExportSettings(number_type))
            write_card(path, model, inputs[:1], proof, LINEAGE, facts=facts)
        found[kind] = artifacts
    return found


@pytest.fixture(scope="module")
def gpu_browser(launch_chromium):
    """A Chromium whose WebGPU is SwiftShader."""
    browser = launch_chromium(GPU_FLAGS)
    yield browser
    browser.close()


def decibels(wanted, found):
    return 10 * float(torch.log10(wanted.square().sum() / (wanted - found).square().sum()))


def drawn(browser, site, inputs):
    """What both generators of a site draw of inputs (n, …), and what they ran on."""
    server = open_server(site, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("html[data-state]", state="attached", timeout=180_000)
        assert page.evaluate("document.documentElement.dataset.state") == "ready"
        shown = page.locator("#facts tr", has_text="Runs on").locator("td").all_text_contents()
        answers = [page.evaluate(RUN, one.flatten().tolist()) for one in inputs]
    finally:
        page.close()
        server.shutdown()
        server.server_close()
    providers = answers[0]["providers"]
    images = {role: torch.tensor([one["images"][role] for one in answers]) for role in providers}
    return providers, images, shown


@pytest.mark.parametrize("kind", ["latents", "pictures"])
def test_the_graphics_processor_draws_what_torch_draws(
    exports, generators, browser_runtime, gpu_browser, tmp_path, kind
):
    model, inputs = generators[kind]
    build_site(*choose_pair(exports[kind], "teacher", "half"), browser_runtime, tmp_path / "none", tmp_path / "site")
    providers, images, shown = drawn(gpu_browser, tmp_path / "site", inputs[:3])
    if providers["original"] == "wasm":
        pytest.skip("this Chromium has no WebGPU adapter, not even SwiftShader")
    assert providers == {"original": "webgpu", "compressed": "webgpu"}
    assert shown == ["WebGPU", "WebGPU"]
    with torch.no_grad():
        wanted = model(inputs[:3]).flatten(1)
    snr = {role: decibels(wanted, found) for role, found in images.items()}
    assert snr["original"] > 100
    assert snr["compressed"] > 50


def test_without_webgpu_the_page_falls_back_to_webassembly(exports, generators, browser_runtime, chromium, tmp_path):
    model, inputs = generators["pictures"]
    build_site(
        *choose_pair(exports["pictures"], "teacher", "half"), browser_runtime, tmp_path / "none", tmp_path / "site"
    )
    providers, images, shown = drawn(chromium, tmp_path / "site", inputs[:2])
    assert providers == {"original": "wasm", "compressed": "wasm"}
    assert shown == ["WebAssembly", "WebAssembly"]
    with torch.no_grad():
        assert decibels(model(inputs[:2]).flatten(1), images["original"]) > 100


def test_only_pages_that_use_webgpu_hold_its_runtime(exports, browser_runtime, tmp_path):
    build_site(
        *choose_pair(exports["latents"], "teacher", "half"), browser_runtime, tmp_path / "none", tmp_path / "site"
    )
    held = {path.name for path in (tmp_path / "site" / "runtime").iterdir()}
    assert held == {path.name for path in browser_runtime.files(webgpu=True)}
    assert len(held) == len(browser_runtime.files()) + 2

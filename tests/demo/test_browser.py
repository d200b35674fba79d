"""The page in a real browser: it runs both generators, and its images equal those of the native runtime."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.basics.seeding import seeded_initialisation
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.demo.generators import choose_pair
from ganpress.demo.page_runtime import TARBALL
from ganpress.demo.site import build_site
from ganpress.edge.onnx_runtime import OnnxGenerator
from models.resnet import resnet_generator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LARGEST_DIFFERENCE = 2
"""Of 255: one step of the integer output where a kernel rounds a tie the other way."""


@pytest.fixture(scope="module")
def resnet_exports(write_exported, tmp_path_factory):
    """artifacts/ with a ResNet of 32 x 32 pixels in floats and in integers."""
    artifacts = tmp_path_factory.mktemp("resnet") / "artifacts"
    with seeded_initialisation(0, "test", "weights"):
        model = resnet_generator("ngf=4", 3, 3, separable=True).eval()
    smooth = torch.nn.functional.interpolate(
        torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), size=32, mode="bilinear"
    )
    pictures = smooth.clamp(-1, 1)
    write_exported(artifacts / "export" / "teacher", model, pictures)
    quantized = quantize(model, pictures, QuantizationConfig(8, 8))
    write_exported(artifacts / "export" / "int8", quantized, pictures, trained=model)
    return artifacts


def agreement(seen, role, path, shape):
    """Largest difference of a canvas to the native runtime on the page's own input, of 255."""
    native = images_to_uint8(OnnxGenerator(path, threads=1)(seen.input().reshape(1, *shape)))[0]
    native = native.expand(3, -1, -1).permute(1, 2, 0).numpy()
    return int(np.abs(seen.pixels(role).astype(int) - native.astype(int)).max())


@pytest.mark.parametrize("item", ["int8", "stored-int8", "activations-int8"])
def test_latents(latent_exports, browser_runtime, visit, tmp_path, item):
    chosen = choose_pair(latent_exports, "teacher", item)
    build_site(*chosen, browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site", "?seed=3")
    assert seen.ready() == "ready"
    before = {role: seen.pixels(role) for role in ("original", "compressed")}
    for role in before:
        assert before[role].std() > 5
    seen.page.get_by_label("Direction 1").fill("2.5")
    seen.settle()
    for role, generator in zip(("original", "compressed"), chosen, strict=True):
        assert (seen.pixels(role) != before[role]).any()
        assert agreement(seen, role, generator.path, (100,)) <= LARGEST_DIFFERENCE
    assert re.fullmatch(r"\d+\.\d+ ms", seen.page.text_content("#compressed-time"))
    assert re.fullmatch(r"[\d.]+ kB", seen.page.text_content("#compressed-bytes"))


def test_samples_walks_and_directions(latent_exports, browser_runtime, visit, tmp_path):
    build_site(*choose_pair(latent_exports, None, None), browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site")
    assert seen.ready() == "ready"
    first = seen.input()
    assert 6 < float(first.norm()) < 14  # of a standard normal vector of 100 numbers: 10 +- 0.7
    seen.page.get_by_label("Sample 2", exact=True).click()
    seen.settle()
    second = seen.input()
    seen.page.get_by_label("Walk along the samples").fill("0.5")
    seen.settle()
    between = seen.input()
    assert min(float(first.norm()), float(second.norm())) * 0.9 < float(between.norm())
    assert abs(float(torch.cosine_similarity(between, first, 0) - torch.cosine_similarity(between, second, 0))) < 0.2
    directions = np.fromfile(tmp_path / "site" / "directions.f32", "<f4").reshape(-1, 100)
    seen.page.get_by_label("Direction 2").fill("-1.5")
    seen.settle()
    np.testing.assert_allclose((seen.input() - between).numpy(), -1.5 * directions[1], atol=1e-5)
    seen.page.get_by_role("button", name="Reset").click()
    seen.settle()
    torch.testing.assert_close(seen.input(), between)
    seen.page.get_by_role("button", name="New samples").click()
    seen.settle()
    assert not torch.equal(seen.input(), first)
    assert seen.page.url.endswith("?seed=2")


def test_two_threads_and_the_measurement(latent_exports, browser_runtime, visit, tmp_path):
    build_site(*choose_pair(latent_exports, None, None), browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site")
    assert seen.ready() == "ready"
    before = seen.pixels("compressed")
    if seen.page.locator("#threads option").count() > 1:  # one core, no choice
        runs = seen.page.evaluate("demo.runs")
        seen.page.select_option("#threads", "2")
        seen.page.wait_for_timeout(500)
        for _ in range(100):
            if seen.page.evaluate("demo.runs") > runs:
                break
            seen.page.wait_for_timeout(100)
        assert seen.page.evaluate("demo.runs") > runs
    assert (seen.pixels("compressed") == before).all()
    times = seen.page.evaluate("demo.measure(5)")
    assert [len(times[role]) for role in ("original", "compressed")] == [5, 5]
    assert min(times["original"] + times["compressed"]) > 0


def test_threads_change_while_the_page_plays(latent_exports, browser_runtime, visit, tmp_path):
    build_site(*choose_pair(latent_exports, None, None), browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site")
    assert seen.ready() == "ready"
    if seen.page.locator("#threads option").count() == 1:
        pytest.skip("one core: the page offers no threads")
    seen.page.get_by_role("button", name="Play").click()
    for threads in ("2", "1", "2", "1"):
        seen.page.select_option("#threads", threads)
        seen.page.wait_for_timeout(700)
    runs = seen.page.evaluate("demo.runs")
    for _ in range(100):
        if seen.page.evaluate("demo.runs") > runs + 2:
            break
        seen.page.wait_for_timeout(100)
    assert seen.page.evaluate("demo.runs") > runs + 2
    seen.page.get_by_role("button", name="Stop").click()
    seen.settle()
    assert seen.ready() == "ready"
    assert seen.page.locator("#status").is_hidden()


def test_image_to_image_network(resnet_exports, browser_runtime, visit, tmp_path):
    chosen = choose_pair(resnet_exports, None, None)
    build_site(*chosen, browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site")
    assert seen.ready() == "ready"
    before = seen.pixels("original")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "mine.png")
    seen.page.set_input_files("#picker", tmp_path / "mine.png")
    seen.page.get_by_text("mine.png").wait_for()
    seen.settle()
    assert (seen.pixels("source") == picture).all()
    given = uint8_to_images(torch.from_numpy(picture).permute(2, 0, 1))
    torch.testing.assert_close(seen.input().reshape(3, 32, 32), given, rtol=0, atol=1e-6)
    assert (seen.pixels("original") != before).any()
    assert agreement(seen, "original", chosen[0].path, (3, 32, 32)) <= LARGEST_DIFFERENCE
    assert agreement(seen, "compressed", chosen[1].path, (3, 32, 32)) <= LARGEST_DIFFERENCE


def test_dropped_file_that_is_no_picture_is_said(resnet_exports, browser_runtime, visit, tmp_path):
    build_site(*choose_pair(resnet_exports, None, None), browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site")
    assert seen.ready() == "ready"
    seen.page.evaluate(
        """() => { const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File(['dear reader'], 'letter.txt'));
        document.body.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true})); }"""
    )
    seen.page.get_by_text("letter.txt is no picture that this browser can read; take a PNG").wait_for()
    seen.page.get_by_label("sample 1").click()
    seen.page.get_by_text("letter.txt").wait_for(state="hidden")
    seen.settle()


def test_painting_labels(label_exports, browser_runtime, visit, tmp_path):
    chosen = choose_pair(label_exports, "teacher", "other")
    build_site(*chosen, browser_runtime, tmp_path / "none", tmp_path / "site")
    seen = visit(tmp_path / "site")
    assert seen.ready() == "ready"
    seen.page.get_by_label("sun").check()
    seen.page.get_by_label("Brush").fill("3")
    box = seen.page.locator("#source").bounding_box()
    seen.page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"])
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    seen.page.mouse.up()
    seen.settle()
    maps = seen.input().reshape(3, 16, 16)
    assert (maps.sum(0) == 1).all()
    assert (maps[2, 8, 2:14] == 1).all()  # a stroke without gaps
    colours = [entry["colour"] for entry in json.loads((tmp_path / "site" / "manifest.json").read_text())["labels"]]
    assert "#" + bytes(seen.pixels("source")[8, 8]).hex() == colours[2]
    for role, generator in zip(("original", "compressed"), chosen, strict=True):
        assert agreement(seen, role, generator.path, (3, 16, 16)) <= LARGEST_DIFFERENCE
    seen.page.get_by_role("button", name="Fill").click()
    seen.settle()
    assert (seen.input().reshape(3, 16, 16)[2] == 1).all()


@pytest.mark.parametrize(("damage", "words"), [("changed", "SHA-256 differs"), ("cut", "bytes, not")])
def test_damaged_file_is_refused(latent_exports, browser_runtime, visit, tmp_path, damage, words):
    build_site(*choose_pair(latent_exports, None, None), browser_runtime, tmp_path / "none", tmp_path / "site")
    path = tmp_path / "site" / "compressed.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "changed" else content[:-10])
    seen = visit(tmp_path / "site")
    assert seen.ready() == "failed"
    assert words in seen.page.text_content("#status")


def test_command_serves_until_it_is_interrupted(latent_exports, browser_runtime, chromium, tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "artifacts").symlink_to(latent_exports)
    command = [sys.executable, "-m", "flows", "demo", "--port", "0", "--runtime", str(browser_runtime.folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line + process.stdout.read()
        page = chromium.new_page()
        page.goto(address[0])
        page.wait_for_selector("html[data-state=ready]", state="attached", timeout=120_000)
        page.close()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()  # not communicate(): the reader may hold lines already
        process.wait(timeout=60)
    assert process.returncode == 0
    assert rest.splitlines() == ["Press Ctrl-C to stop the server.", "the demo server stopped"]
    assert not list(tmp_path.glob("ganpress-demo-*"))


def test_tarball_gives_the_same_files(browser_runtime, tmp_path):
    from ganpress.demo.page_runtime import find_runtime

    tarball = Path(os.environ.get("GANPRESS_BROWSER_TARBALL", TARBALL))
    if not tarball.is_file():
        pytest.skip(f"no tarball: set GANPRESS_BROWSER_TARBALL (looked at {tarball})")
    unpacked = find_runtime(tmp_path / "cache", tarball)
    for one, other in zip(unpacked.files(), browser_runtime.files(), strict=True):
        assert one.read_bytes() == other.read_bytes()

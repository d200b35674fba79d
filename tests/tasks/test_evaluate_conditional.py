"""The stages `judge` and `evaluate` on small conditional chains of real files: generators that were never trained."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import canvas_of, open_inputs
from ganpress.edge.graphs.graph_writer import OUTPUT, SOURCE
from ganpress.errors import ConfigError, DataError, QualityGateFailed
from ganpress.evaluation.measurement import open_truth, real_arrays
from ganpress.files.checkpoint import save_model
from ganpress.metrics.judges.feature_networks import load_judge
from ganpress.metrics.judges.segmentation import ConfusionMatrix
from ganpress.metrics.scoring import quick_score, real_side
from ganpress.tracking import StageRun
from models.builders import generator_blueprint
from tasks import evaluate, judge
from tasks.shared.stage import Stage

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
SIZE, CLASSES = 16, 3
KINDS = {"paired": "rotations", "unpaired": "domains", "semantic": "segmenter"}
PLAIN = {"teacher": 3, "student/s": 2, "control/c": 2, "subnet": 1, "compress/p": 1}
TARGETS = {"train": 40, "validation": 12, "test": 24}
SOURCES = {"train": 30, "validation": 10, "test": 20}
"""Of the unpaired set; the other sets have a source for each target."""


def params(pairing):
    content = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    content["judge"] |= {"kind": KINDS[pairing], "train_images": 64, "batch_size": 8, "width": 4, "min_accuracy": 0}
    content["evaluate"] |= {"images": 22, "kid_subset_size": 10, "kid_subsets": 2, "is_splits": 2, "latency_repeats": 3}
    spec = {name: f"mobile_resnet_9blocks:ngf={width}" for name, width in PLAIN.items()}
    content["student"]["items"] = {"s": {"spec": spec["student/s"], "loss": "mse"}}
    content["control"]["items"] = {"c": {"spec": spec["control/c"]}}
    content["compress"]["items"] = {"p": {"generator": "subnet", "sparsity": 0.5}}
    content["export"]["items"] = {"e": {"generator": "teacher"}}
    content["report"] |= {"sample_images": 5}
    return content


def stage_of(root, name, pairing, **changes):
    return Stage(name, None, root, params(pairing) | changes)


def squares(pairing):
    """Targets: a bright square on noise. Sources: its inverse, or where it is (label 1; 255 in the first row)."""
    random, splits = np.random.default_rng(0), {}
    counts = SOURCES if pairing == "unpaired" else TARGETS
    for split, count in TARGETS.items():
        pixels = random.integers(0, 60, (count, 1, SIZE, SIZE)).astype(np.uint8)
        for image in pixels:
            top, left = random.integers(0, 8, 2)
            image[0, top : top + 8, left : left + 8] = random.integers(180, 256)
        sources = (pixels > 127).astype(np.uint8) if pairing == "semantic" else 255 - pixels
        if pairing == "semantic":
            sources[:, :, 0] = 255
        splits[split] = pixels, sources[: counts[split]]
    return splits


def write_edge_file(path, channels):
    """The smallest generator there is: tanh of a pointwise convolution."""
    path.parent.mkdir(parents=True)
    weight = numpy_helper.from_array(np.full((1, channels, 1, 1), 0.5, np.float32), "weight")
    nodes = [helper.make_node("Conv", [SOURCE, "weight"], ["x"]), helper.make_node("Tanh", ["x"], [OUTPUT])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", count, SIZE, SIZE])
        for name, count in ((SOURCE, channels), (OUTPUT, 1))
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module", params=KINDS)
def chain(request, tmp_path_factory, write_pairs):
    """(pairing, root) of a chain whose judge is trained and whose generators are not, evaluated."""
    pairing, root = request.param, tmp_path_factory.mktemp(request.param)
    artifacts = root / "artifacts"
    names = [f"class {place}" for place in range(CLASSES)] if pairing == "semantic" else []
    write_pairs(artifacts / "prepare", "squares", squares(pairing), pairing, names)
    canvas = canvas_of(read_meta(artifacts / "prepare"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for reference, width in PLAIN.items():
            blueprint = generator_blueprint(f"mobile_resnet_9blocks:ngf={width}", canvas)
            save_model(artifacts / reference / "generator.safetensors", blueprint.build().eval(), blueprint)
    write_edge_file(artifacts / "export" / "e" / "generator.onnx", canvas.reads)
    for name, module in (("judge", judge), ("evaluate", evaluate)):
        (artifacts / name).mkdir()
        module.work(stage_of(root, name, pairing), StageRun(root, None, ""))
    return pairing, root


@pytest.fixture(scope="module")
def metrics(chain):
    return json.loads((chain[1] / "artifacts" / "evaluate" / "metrics.json").read_text(encoding="utf-8"))


COSTS = ("latency", "macs", "parameters", "size", "gmacs_per_s", "share_of_peak")


def test_every_number_carries_its_protocol_and_none_is_there_that_means_nothing(chain, metrics):
    pairing, _ = chain
    real = "20_all_judge" if pairing == "unpaired" else "22_test_judge"  # 20 sources are all there are
    sets = ["fid", "kid", "precision", "recall", "density", "coverage"]
    hashed = [f"{side}_{kind}" for side in ("precision", "recall") for kind in ("lsh", "lshknn")]
    sets += [*hashed, "precision_lsh_ceiling", "recall_lsh_ceiling"]
    expected = {f"{name}_{real}" for name in sets} | {f"kid_{real}_error", "fid_retained"}
    expected |= {f"{name}_{real}_{end}" for name in ("kid", *hashed) for end in ("low", "high")}
    count = real.split("_")[0]
    expected |= {f"{name}_{count}" for name in ("vol", "vol_ratio", "mae_teacher")}
    if pairing != "unpaired":
        expected |= {"mae_22_test", "psnr_22_test", "ssim_22_test", "ssim_retained"}
    if pairing == "semantic":
        expected |= {"miou_22_test_judge", "pixel_accuracy_22_test_judge", "miou_retained"}
    assert list(metrics) == [*PLAIN, "export/e"]
    differences = {f"{name}_difference_{real}" for name in ("kid", *hashed)}
    differences |= {f"{name}_{end}" for name in differences for end in ("low", "high")}
    for reference, row in metrics.items():
        expected_here = expected | (set() if reference == "teacher" else differences)
        if reference in ("compress/p", "export/e"):
            expected_here = expected_here | {f"{name}_{count}_judge" for name in ("feature_distance", "modes_kept")}
        quality = {name for name in row if not name.startswith(COSTS)}
        assert quality - {"miou_retained"} == expected_here - {"miou_retained"}  # nothing of nothing is no share
        assert all(np.isfinite(value) for value in row.values())
        assert "latency_ms_p50" in row
        assert "latency_ms_p50_batch64" not in row
    assert metrics["teacher"]["fid_retained"] == 1


def test_the_gallery_holds_what_the_samples_were_drawn_from(chain):
    pairing, root = chain
    with np.load(root / "artifacts" / "evaluate" / "gallery.npz") as gallery:
        expected = {f"samples/{name}" for name in (*PLAIN, "export/e")} | {"source"}
        assert set(gallery) - {"allow_pickle"} == expected | (set() if pairing == "unpaired" else {"truth"})
        assert gallery["source"].shape == gallery["samples/teacher"].shape == (5, 1, SIZE, SIZE)
        sources = np.load(root / "artifacts" / "prepare" / "test_sources.npy")
        rows = [next(row for row, one in enumerate(sources) if (one == shown).all()) for shown in gallery["source"]]
        if pairing != "unpaired":
            targets = np.load(root / "artifacts" / "prepare" / "test.npy")
            np.testing.assert_array_equal(gallery["truth"], targets[rows])


def test_the_judge_says_what_real_images_score(chain):
    pairing, root = chain
    floor = json.loads((root / "artifacts" / "judge" / "metrics.json").read_text(encoding="utf-8"))
    expected = {"accuracy_test", "fid_real_24_test_judge"}
    if pairing == "semantic":
        expected |= {"miou_real_24_test_judge", "pixel_accuracy_real_24_test_judge"}
        assert floor["pixel_accuracy_real_24_test_judge"] == pytest.approx(floor["accuracy_test"])
    assert set(floor) == expected


def test_the_truth_belongs_to_the_inputs_in_their_order(chain):
    pairing, root = chain
    folder = root / "artifacts" / "prepare"
    inputs = open_inputs(folder, "test")
    truth = open_truth(folder, "test", inputs, 1, "score", 9)
    if pairing == "unpaired":
        assert truth is None
        return
    drawn = inputs.draw(1, "score", 9)
    targets = truth.targets_of(0, 9)
    if pairing == "paired":
        np.testing.assert_allclose(-drawn.numpy(), targets.numpy() / 127.5 - 1, atol=1e-6)
    else:
        maps = truth.label_maps_of(0, 9)
        known = maps != 255
        np.testing.assert_array_equal(drawn.argmax(1).numpy()[known], maps[known])
        np.testing.assert_array_equal(maps[known] == 1, (targets[:, 0].numpy() > 127)[known])
    assert torch.equal(truth.targets_of(4, 5), targets[4:])


def test_real_images_of_unpaired_data_are_train_and_test(chain):
    pairing, root = chain
    split, arrays = real_arrays(root / "artifacts" / "prepare")
    names = [path.name for path in arrays]
    assert (split, names) == (("all", ["train.npy", "test.npy"]) if pairing == "unpaired" else ("test", ["test.npy"]))


def test_the_generator_that_data_was_made_by_has_the_best_quick_scores(chain):
    pairing, root = chain
    folder = root / "artifacts" / "prepare"
    network, inputs = load_judge(root / "artifacts" / "judge" / "judge.safetensors"), open_inputs(folder, "validation")
    truth = open_truth(folder, "validation", inputs, 3, "score", 12)
    right, wrong = (lambda x: -x), (lambda x: x)
    if pairing == "semantic":
        right, wrong = (lambda x: 1.6 * x[:, 1:2] - 0.8), (lambda x: 1.6 * x[:, :1] - 0.8)

    def scores(metric):
        real = real_side(metric, folder / "validation.npy", network)
        return [quick_score(one, network, metric, 50, 3, inputs, real, truth) for one in (right, wrong)]

    for metric in ("fid", "kid"):
        best, other = scores(metric)
        assert best < other
    if pairing == "unpaired":
        with pytest.raises(ConfigError, match="'psnr' compares each image with its own truth"):
            scores("psnr")
        return
    best, other = scores("psnr")
    assert best > other
    if pairing == "paired":
        assert best == pytest.approx(10 * np.log10(255**2 * SIZE * SIZE))
        return
    read = network(right(inputs.draw(3, "score", 50))).label_maps
    labels = truth.label_maps_of(0, 12)
    assert scores("miou")[0] == pytest.approx(ConfusionMatrix(CLASSES).update(labels, read).scores().mean_iou)


def test_a_given_segmenter_without_label_maps_is_refused(chain, tmp_path):
    pairing, root = chain
    (tmp_path / "artifacts" / "judge").mkdir(parents=True)
    (tmp_path / "artifacts" / "prepare").symlink_to(root / "artifacts" / "prepare")
    network = torch.nn.Conv2d(1, CLASSES, 1)
    torch.nn.init.zeros_(network.weight)  # one label everywhere: a threshold by chance could be the right one
    torch.jit.save(torch.jit.script(network), str(tmp_path / "given.pt"))
    given = params(pairing)["judge"] | {"kind": "segmenter", "weights": str(tmp_path / "given.pt")}
    stage = stage_of(tmp_path, "judge", pairing, judge=given | {"min_accuracy": 1.0})
    error, message = QualityGateFailed, r"labels 0\.\d+ of the real test pixels correctly, but judge\.min_accuracy is 1"
    if pairing != "semantic":
        error, message = DataError, "'segmenter' needs label maps, which only semantic data has"
    with pytest.raises(error, match=message):
        judge.work(stage, StageRun(tmp_path, None, ""))

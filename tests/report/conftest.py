"""An artifacts tree as the stages write it, with invented but consistent numbers."""

import csv
import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from ganpress.edge.proof.edge_card import Card, CostCard, Lineage
from ganpress.edge.proof.verification import Verification
from ganpress.edge.roofline import Peaks, roofline_metrics
from ganpress.report.content import ReportInputs
from tasks.shared.machine import write_machine
from tasks.shared.report_inputs import read_inputs
from tasks.shared.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]
DEPTHS = {"d2": 2, "d4": 4, "d8": 8, "d16": 16, "d24": 24}
TEACHER_DEPTH = 24
PEAKS = Peaks(1, {"float32": 58.0, "bfloat16": 116.0, "int8": 232.0})


def parameters_of(depth: int) -> int:
    """P(d) of systems.md, which also makes costs plausible."""
    return 672 * depth**2 + 12831 * depth + 1


def measured(depth: int, score: float, exported: bool = False, bits: int = 32) -> dict[str, float]:
    """One generator's row; IS `score`, everything else follows from it and the depth."""
    parameters = parameters_of(depth)
    latency = 0.25 + depth / 12 if not exported else 0.03 + depth / (60 if bits == 32 else 90)
    return {
        "is_1000_judge": score,
        "is_1000_judge_std": score / 40,
        "fid_1000_test_judge": 2 + 400 * math.exp(-score / 1.7),
        "kid_1000_test_judge": 0.001 + 2 * math.exp(-score / 1.5),
        "precision_1000_test_judge": min(0.99, score / 10),
        "recall_1000_test_judge": min(0.95, score / 11),
        "density_1000_test_judge": score / 9,
        "coverage_1000_test_judge": min(0.97, score / 10.5),
        "kid_1000_test_judge_error": 0.0004,
        "kid_1000_test_judge_low": 0.0019,
        "kid_1000_test_judge_high": 0.0041,
        "vol_1000": 900.0 + 10 * depth,
        "vol_ratio_1000": (900.0 + 10 * depth) / (900.0 + 10 * TEACHER_DEPTH),
        "is_retained": score / 9.1,
        "parameters": parameters,
        "macs_exact": 30 * parameters,
        "macs_torchprofile": 120 * parameters,
        "size_bytes": parameters * bits // 8 + 5_000,
        "latency_ms_p50": latency,
        "latency_ms_p95": latency * 1.4,
        "latency_ratio": (0.25 + TEACHER_DEPTH / 12) / latency,
        "latency_threads": 1,
        "latency_ms_p50_batch64": latency * 30,
        **roofline_metrics(30 * parameters, latency, "int8" if bits == 8 else "float32", PEAKS),
    }


def hashed(score: float, beside: float | None) -> dict[str, float]:
    """Precision and recall by hashing, with intervals, and differences to a teacher of the score `beside`."""
    row = {f"{side}_lsh_ceiling_1000_test_judge": 0.81 for side in ("precision", "recall")}
    for family, scale in (("precision_lsh", 0.09), ("recall_lsh", 0.08), ("recall_lshknn", 0.085)):
        name = f"{family}_1000_test_judge"
        row |= {name: scale * score, f"{name}_low": scale * score - 0.02, f"{name}_high": scale * score + 0.02}
        if beside is not None:
            gap, name = scale * (score - beside), f"{family}_difference_1000_test_judge"
            row |= {name: gap, f"{name}_low": gap - 0.02, f"{name}_high": gap + 0.02}
    return row


def generators() -> dict[str, dict[str, float]]:
    """All rows of evaluate/metrics.json for the default params.yaml."""
    rows = {
        "teacher": measured(TEACHER_DEPTH, 9.1),
        "student/d2-mse": measured(2, 7.9),
        "student/d4-mse": measured(4, 8.6),
        "student/d4-joint": measured(4, 8.65),
        "control/d2": measured(2, 4.2),
        "control/d4": measured(4, 6.1),
        "subnet": measured(3, 8.2),
        "subnet/extracted": measured(3, 7.1),
        "compress/subnet-int8": measured(3, 8.15),
        "compress/subnet-pruned": measured(3, 7.7),
        "compress/subnet-pruned-int8": measured(3, 7.6),
        "export/teacher": measured(TEACHER_DEPTH, 9.1, True),
        "export/d4-mse": measured(4, 8.6, True),
        "export/subnet": measured(3, 8.2, True),
        "export/subnet-int8": measured(3, 8.14, True, 8),
    }
    teacher = rows["teacher"]["is_1000_judge"]
    for reference, row in rows.items():
        row |= hashed(row["is_1000_judge"], None if reference == "teacher" else teacher)
        if reference.startswith(("compress/", "export/")):
            row |= {"class_kept_1000_judge": 0.9, "modes_kept_1000_judge": 0.8}
    return rows


def write_artifacts(root: Path) -> None:
    """Write params.yaml, data.dvc and artifacts/ below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CHECKOUT / "params.yaml", root / "params.yaml")
    (root / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
    params = yaml.safe_load((root / "params.yaml").read_text())
    artifacts = root / "artifacts"
    _data(artifacts)
    _training(artifacts, params)
    _search(artifacts / "search")
    _compressions(artifacts, params)
    _evaluation(artifacts / "evaluate")
    _edges(artifacts, params)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])


def _data(artifacts: Path) -> None:
    check = {"name": "decodes", "success": True, "limit": "0 %", "examined": 1797, "unexpected": 0, "offenders": []}
    other = check | {"name": "leaked_from_train", "limit": "0 % of test images", "examined": 360}
    _write(
        artifacts / "validate" / "validation.json",
        {
            "success": True,
            "source": "digits",
            "counts": {"train": 1437, "test": 360},
            "class_counts": {str(digit): 140 + digit for digit in range(10)},
            "checks": [check, other],
        },
    )
    counts = {"train": 1150, "validation": 287, "test": 360}
    classes = [str(digit) for digit in range(10)]
    meta = {"source": "digits", "size": 32, "channels": 1, "classes": classes, "counts": counts, "resize": "bicubic"}
    _write(artifacts / "prepare" / "meta.json", meta)
    (artifacts / "prepare" / "train.npy").write_bytes(b"train")
    floors = {"is_real_360_test_judge": 9.41, "fid_real_360_test_judge": 1.93}
    _write(artifacts / "judge" / "metrics.json", {"accuracy_test": 0.981, "temperature": 1.4, **floors})
    (artifacts / "judge" / "judge.safetensors").write_bytes(b"judge")


def _training(artifacts: Path, params: dict) -> None:
    steps = range(2000, 60001, 2000)
    for stage in ("candidate", "control"):
        for index, item in enumerate(params[stage]["items"]):
            rows = [
                [n, f"{1 + 0.4 * math.sin(n / 9000 + index):.4f}", f"{1.3 - n / 1e5 + index / 9:.4f}"] for n in steps
            ]
            _table(artifacts / stage / item / "curves.csv", ["images", "generator_loss", "discriminator_loss"], rows)
            (artifacts / stage / item / "generator.safetensors").write_bytes(f"{stage} {item}".encode())
    for index, reference in enumerate([*(f"student/{item}" for item in params["student"]["items"]), "supernet"]):
        header, extra = ["images", "mse"], []
        if reference.endswith("joint"):
            header, extra = [*header, "adversarial"], ["0.7"]
        rows = [[n, f"{0.3 / (1 + n / (3000 + 2000 * index)):.5f}", *extra] for n in steps]
        _table(artifacts / reference / "curves.csv", header, rows)
        name = "supernet.safetensors" if reference == "supernet" else "generator.safetensors"
        (artifacts / reference / name).write_bytes(reference.encode())
    for reference in ("teacher", "subnet"):
        (artifacts / reference).mkdir(parents=True)
        (artifacts / reference / "generator.safetensors").write_bytes(reference.encode())
    rows = [
        [item, f"wdcgan:{DEPTHS[item]}", DEPTHS[item], parameters_of(DEPTHS[item]), "is_1000_judge", score, *chosen]
        for item, score, *chosen in (("d8", 8.4, 0), ("d16", 8.9, 0), ("d24", 9.05, 1))
    ]
    header = ["item", "generator", "depth", "parameters", "metric", "score", "selected"]
    _table(artifacts / "teacher" / "selection.csv", header, rows)


def _search(folder: Path) -> None:
    rows: list[list[object]] = []
    for first in (2, 4, 8):
        for second in (2, 4, 8):
            for third in (2, 4, 8):
                cost = 300 * (first * second + second * third) + 4000 * first
                noise = ((first * 7 + second * 5 + third * 3) % 11) / 11
                score = 60 / (first + second + third) ** 0.7 + 3 * noise
                if cost <= 35000:
                    rows.append([f"{first}_{second}_{third}", cost, 20 * cost, 4 * cost, round(score, 4), 0])
    rows.sort(key=lambda row: row[2])
    front: list[list[object]] = []
    for row in rows:
        if not front or row[4] < front[-1][4]:
            front.append(row)
            row[5] = 1
    header = ["spec", "parameters", "macs_exact", "size_bytes", "fid_500_validation_judge", "on_front"]
    _table(folder / "scores.csv", header, rows)
    _table(folder / "front.csv", header, front)
    best = dict(zip(header, min(rows, key=lambda row: row[4]), strict=True))
    predicted = {
        "latency_runtime": "onnx",
        "latency_layers": 31,
        "latency_error_median": 0.04,
        "latency_error_p90": 0.11,
        "latency_rank_correlation": 0.97,
        "latency_samples": [
            {"spec": f"{n}_{n}_{n}", "measured_ms": 0.1 * n, "predicted_ms": 0.1 * n + 0.01} for n in (2, 3, 4, 6, 8)
        ],
    }
    speed = {"subnets_per_second": 4.5, "workers": 2}
    _write(folder / "best.json", {**best, "metric": header[4], **speed, **predicted})


def _compressions(artifacts: Path, params: dict) -> None:
    for item, settings in params["compress"]["items"].items():
        bits = settings.get("weight_bits")
        record = {
            "source": settings["generator"],
            "source_md5": hashlib.md5(b"subnet").hexdigest(),
            "sparsity": settings.get("sparsity", 0.0),
            "weight_bits": bits,
            "activation_bits": bits,
            "calibration": {"count": 256, "sha256": "ab" * 32, "seed": 7} if bits else None,
            "weight_scheme": "symmetric per output channel" if bits else None,
            "activation_scheme": "asymmetric per tensor" if bits else None,
        }
        folder = artifacts / "compress" / item
        _write(folder / "compression.json", record)
        _write(folder / "metrics.json", {"size_bytes": 40000, "sparsity": record["sparsity"], "snr_db": 31.2})
        (folder / "generator.safetensors").write_bytes(item.encode())


def _evaluation(folder: Path) -> None:
    _write(folder / "metrics.json", generators())
    write_machine(folder, 1, PEAKS)
    rng = np.random.default_rng(0)
    shapes = [(rng.uniform(6, 12), rng.uniform(0.3, 1), rng.uniform(0, 3)) for _ in range(16)]
    pictures = {}
    for reference, row in generators().items():
        blur = 9.2 - row["is_1000_judge"]
        pictures[f"samples/{reference}"] = np.stack([_ellipse(*shape, blur, reference) for shape in shapes])
        if not reference.startswith(("control/", "compress/")):
            walk = np.linspace(0, 1, 12)
            frames = [_ellipse(6 + 6 * t, 0.3 + 0.6 * t, 3 * t, blur, reference) for t in walk]
            pictures[f"interpolation/{reference}"] = np.stack(frames)
    np.savez_compressed(folder / "gallery.npz", **pictures)
    _samples(folder, pictures)


def _samples(folder: Path, pictures: dict[str, np.ndarray]) -> None:
    """Two steps: one that loses the class 8 and changes its images, one that changes nothing."""
    header = ["generator", "made_from", "sample", "feature_distance", "pixel_distance"]
    header += ["realism_before", "realism_after", "buckets_lost", "class_before", "class_after"]
    rows, worst = [], {}
    for reference, source, change in (("compress/subnet-pruned", "subnet", 1.2), ("export/teacher", "teacher", 0.0)):
        for sample in range(200):
            label = str(sample % 10)
            hurt = change if label == "8" else 0.0
            after = "3" if hurt else label
            lost = 0.9 if hurt else 0.0
            rows.append([reference, source, sample, hurt, 30 * hurt, 0.5, 0.5 - hurt / 4, lost, label, after])
        worst |= {f"{reference}/before": pictures[f"samples/{source}"][:5]}
        worst |= {f"{reference}/after": pictures[f"samples/{reference}"][:5]}
    _table(folder / "samples.csv", header, rows)
    np.savez_compressed(folder / "samples.npz", **worst)


def _ellipse(radius: float, squeeze: float, angle: float, blur: float, reference: str) -> np.ndarray:
    """A ring (1, 32, 32); controls turn it, because they have latents of their own."""
    angle += 1.5 if reference.startswith("control/") else 0.0
    y, x = np.mgrid[-15.5:16, -15.5:16]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = np.hypot(along, across / squeeze) - radius
    return (255 * np.exp(-((distance / (1.5 + blur / 2)) ** 2)))[None].astype(np.uint8)


def _edges(artifacts: Path, params: dict) -> None:
    for item, settings in params["export"]["items"].items():
        row = generators()[f"export/{item}"]
        content = item.encode().ljust(int(row["size_bytes"]), b"\0")
        folder = artifacts / "export" / item
        folder.mkdir(parents=True)
        (folder / "generator.onnx").write_bytes(content)
        source = (artifacts / settings["generator"] / "generator.safetensors").read_bytes()
        exact = "int8" not in item
        card = Card(
            file="generator.onnx",
            sha256=hashlib.sha256(content).hexdigest(),
            md5=hashlib.md5(content).hexdigest(),
            size_bytes=len(content),
            inputs=(),
            outputs=(),
            number_type="float32" if exact else "w8a8",
            quantization=None,
            cost=CostCard(parameters=1, macs_exact=1, macs_torchprofile=1, macs_deployed=1),
            verification=Verification(64, 2.4e-7 if exact else 0.011, 121.3 if exact else 52.8, 0.02),
            verified_against="torch float32" if exact else "torch integer simulation",
            runtime="onnxruntime 1.22.0",
            lineage=Lineage(
                source=settings["generator"],
                source_md5=hashlib.md5(source).hexdigest(),
                builder="wdcgan_generator",
            ),
        )
        (folder / "card.json").write_text(card.model_dump_json(indent=2))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's root with a whole artifacts tree, free to be damaged."""
    write_artifacts(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def whole_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shared by tests that only read it."""
    root = tmp_path_factory.mktemp("report")
    write_artifacts(root)
    return root


@pytest.fixture(scope="module")
def inputs(whole_project: Path) -> ReportInputs:
    """What the report of the whole project is made of."""
    params = yaml.safe_load((whole_project / "params.yaml").read_text())
    return read_inputs(Stage("report", None, whole_project, params))

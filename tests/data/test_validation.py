import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from ganpress.config.data_section import ValidateConfig
from ganpress.data.gate.drift import FormerVersion, drift_table
from ganpress.data.gate.manifest import build_manifest, read_manifest
from ganpress.data.gate.validation import validate_images
from ganpress.data.gate.verdict import require_passed_gate
from ganpress.data.raw.raw_images import open_raw
from ganpress.errors import DataError, QualityGateFailed

CONFIG = ValidateConfig(
    min_images=10,
    min_size=8,
    channels=(1,),
    max_duplicate_fraction=0,
    max_leaked_fraction=0,
    max_flat_fraction=0,
    min_class_share=0.5,
)


def relaxed(**changes):
    return CONFIG.model_copy(update=changes)


@pytest.fixture
def folder(tmp_path, write_images):
    """Twenty good images: two classes, train and test."""
    names = [f"{split}/{label}/{number}.png" for split in ("train", "test") for label in "ab" for number in range(5)]
    return write_images(tmp_path / "data", names)


@pytest.fixture
def judge(folder, tmp_path):
    """Validate the folder; returns the result."""

    def run(config=CONFIG):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        return validate_images(open_raw(folder), config, out)

    return run


def failed(result):
    return {check.name: list(check.offenders) for check in result.checks if not check.success}


def test_good_images_pass_every_check(judge, tmp_path):
    result = judge()
    assert failed(result) == {}
    assert result.success
    assert result.counts == {"test": 10, "train": 10}
    assert result.class_counts == {"a": 5, "b": 5}
    result.require_success(tmp_path)


def test_unreadable_image_is_named(judge, folder):
    (folder / "train/a/0.png").write_bytes(b"no image")
    assert failed(judge()) == {"decodes": ["train/a/0.png"]}


def test_too_small_image_is_named(judge, folder, write_images):
    write_images(folder, ["train/b/small.png"], size=(7, 8), seed=9)
    assert failed(judge()) == {"height": ["train/b/small.png"]}


def test_wrong_channels_are_named(judge, folder):
    colour = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colour).save(folder / "test/b/colour.png")
    assert failed(judge()) == {"channels": ["test/b/colour.png"]}
    assert failed(judge(relaxed(channels=(1, 3)))) == {}


def test_duplicates_within_train_are_both_named(judge, folder):
    shutil.copy(folder / "train/a/0.png", folder / "train/b/copy.png")
    both = ["train/a/0.png", "train/b/copy.png"]
    assert failed(judge()) == {"duplicates": both, "one_class_each": both}
    assert "one_class_each" not in failed(judge(relaxed(max_duplicate_fraction=2 / 21)))


def test_a_share_of_duplicates_may_be_allowed(judge, folder):
    shutil.copy(folder / "train/a/0.png", folder / "train/b/copy.png")
    assert failed(judge(relaxed(max_duplicate_fraction=2 / 21))) == {}
    assert "duplicates" in failed(judge(relaxed(max_duplicate_fraction=1 / 21)))


def test_leakage_names_the_test_image(judge, folder):
    shutil.copy(folder / "train/a/0.png", folder / "test/a/leak.png")
    found = failed(judge(relaxed(max_duplicate_fraction=1)))
    assert found == {"leakage": ["test/a/leak.png"]}


def test_leakage_counts_test_images_only(judge, folder):
    shutil.copy(folder / "train/a/0.png", folder / "test/a/leak.png")
    allowed = relaxed(max_duplicate_fraction=1, max_leaked_fraction=1 / 11)
    assert failed(judge(allowed)) == {}


def test_flat_image_is_named(judge, folder):
    Image.new("L", (8, 8), 200).save(folder / "train/b/flat.png")
    assert failed(judge()) == {"flat_images": ["train/b/flat.png"]}


def test_starved_class_is_named(judge, folder):
    for number in range(1, 5):
        (folder / f"train/b/{number}.png").unlink()
    # One of six against an even share of three.
    assert failed(judge()) == {"class_balance": ["b"]}
    assert failed(judge(relaxed(min_class_share=1 / 3))) == {}


def test_class_that_train_lacks_is_named(judge, folder):
    shutil.rmtree(folder / "train/b")
    assert failed(judge()) == {"class_balance": ["b"]}


def test_too_few_images_give_both_numbers(judge, tmp_path):
    result = judge(relaxed(min_images=21))
    with pytest.raises(QualityGateFailed, match=r"image_count \(allowed: at least 21 images; found 20 images\)"):
        result.require_success(tmp_path)


def test_unlabelled_data_without_splits_passes(tmp_path, write_images):
    folder = write_images(tmp_path / "data", [f"{number}.png" for number in range(10)])
    result = validate_images(open_raw(folder), CONFIG, tmp_path)
    assert result.success
    assert {"leakage", "class_balance"}.isdisjoint(check.name for check in result.checks)


def test_nothing_readable_at_all_fails_without_a_crash(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(12):
        (tmp_path / "data" / f"{number}.png").write_bytes(b"no image")
    assert "decodes" in failed(validate_images(open_raw(tmp_path / "data"), CONFIG, tmp_path))


def test_failed_gate_has_written_its_files_and_names_offenders(judge, folder, tmp_path):
    for number in range(4):
        (folder / f"train/a/{number}.png").write_bytes(b"no image")
    result = judge()
    verdict = json.loads((tmp_path / "out" / "validation.json").read_text())
    assert verdict["success"] is False
    decodes = next(check for check in verdict["checks"] if check["name"] == "decodes")
    assert decodes["offenders"] == [f"train/a/{number}.png" for number in range(4)]
    assert decodes["expectation"]["type"] == "expect_column_values_to_be_in_set"
    assert (tmp_path / "out" / "manifest.csv").is_file()
    with pytest.raises(QualityGateFailed) as caught:
        result.require_success(tmp_path / "out")
    message = str(caught.value)
    assert "failed 1 of 11 checks: decodes" in message
    assert "found 4 of 20: train/a/0.png, train/a/1.png, train/a/2.png, …" in message
    assert "summary.html; fix the data or the limits in params.yaml: validate" in message


def test_page_shows_offenders_and_needs_no_network(judge, folder, tmp_path):
    (folder / "train/a/<x>.png").write_bytes(b"no image")
    shutil.copy(folder / "train/a/0.png", folder / "test/a/leak.png")
    judge()
    page = (tmp_path / "out" / "summary.html").read_text()
    assert "test/a/leak.png</figcaption>" in page
    assert "train/a/&lt;x&gt;.png" in page
    assert page.count("data:image/png;base64,") >= 2
    assert not re.search(r"(https?:)?//[a-z]", page)


def test_equal_data_gives_equal_files(judge, folder, tmp_path):
    (folder / "train/a/0.png").write_bytes(b"no image")
    judge()
    names = ("validation.json", "summary.html", "manifest.csv")
    before = [(tmp_path / "out" / name).read_bytes() for name in names]
    judge()
    assert [(tmp_path / "out" / name).read_bytes() for name in names] == before


def test_metrics_are_plain_shares(judge, folder):
    (folder / "train/a/0.png").write_bytes(b"no image")
    metrics = judge().metrics()
    assert metrics["images"] == 20
    assert metrics["checks_failed"] == 1
    assert metrics["decodes_unexpected_fraction"] == 1 / 20


def inverted(folder, share):
    """Invert a share of the pictures, as a camera with another setting would."""
    paths = sorted(folder.rglob("*.png"))
    for path in paths[: int(len(paths) * share)]:
        pixels = np.asarray(Image.open(path))
        Image.fromarray(255 - pixels).save(path)


def test_a_version_that_is_unlike_the_former_one_is_refused(folder, tmp_path, write_images):
    names = [f"train/{label}/{number}.png" for label in "ab" for number in range(100)]
    folder = write_images(tmp_path / "versions", names)
    for path in folder.rglob("*.png"):  # dark pictures, so that inverted ones are bright
        Image.fromarray(np.asarray(Image.open(path)) // 4).save(path)
    config = relaxed(max_drift=0.2)
    outs = [tmp_path / name for name in ("first", "second", "third")]
    for out in outs:
        out.mkdir()
    assert validate_images(open_raw(folder), config, outs[0]).success  # nothing to compare with
    former = FormerVersion(read_manifest(outs[0] / "manifest.csv"))
    assert validate_images(open_raw(folder), config, outs[1], lambda _source: former).success
    inverted(folder, 0.5)
    result = validate_images(open_raw(folder), config, outs[2], lambda _source: former)
    assert failed(result) == {"drift": ["brightness (0.5)"]}
    with pytest.raises(
        QualityGateFailed, match=r"drift \(allowed: at most 0.2 away from the former version of the data; "
    ):
        result.require_success(outs[2])
    assert validate_images(open_raw(folder), relaxed(max_drift=0.5), outs[2], lambda _source: former).success
    assert validate_images(open_raw(folder), CONFIG, outs[2], None).success  # nobody is asked


def distances(manifest, former):
    names = drift_table(manifest, FormerVersion(former))["name"]
    return dict(names.str.rstrip(")").str.split(r" \(", regex=True).tolist())


def test_drift_in_classes_sizes_and_channels(write_images, tmp_path):
    def manifest(name, names, **options):
        out = tmp_path / f"{name}.csv"
        return build_manifest(open_raw(write_images(tmp_path / name, names, **options)), out)

    even = [f"train/{label}/{number}.png" for label in "ab" for number in range(10)]
    former = manifest("even", even)
    skewed = manifest("skewed", [name.replace("/b/", "/a/b") if "/b/1" not in name else name for name in even])
    rows = dict(
        drift_table(skewed, FormerVersion(former))["name"].str.rstrip(")").str.split(r" \(", regex=True).tolist()
    )
    assert (rows["classes"], rows["channels"], rows["width"]) == ("0.45", "0", "0")
    other = former.assign(channels=3, width=9)
    rows = dict(
        drift_table(other, FormerVersion(former))["name"].str.rstrip(")").str.split(r" \(", regex=True).tolist()
    )
    assert (rows["channels"], rows["width"], rows["height"]) == ("1", "1", "0")


def test_prepare_refuses_a_failed_gate(judge, folder, tmp_path):
    (folder / "train/a/0.png").write_bytes(b"no image")
    judge()
    with pytest.raises(QualityGateFailed, match=r"the data gate failed \(decodes\); see .*summary\.html"):
        require_passed_gate(tmp_path / "out" / "validation.json")


def test_prepare_refuses_a_missing_or_damaged_verdict(tmp_path):
    with pytest.raises(DataError, match="missing; run `dvc repro validate`"):
        require_passed_gate(tmp_path / "validation.json")
    (tmp_path / "validation.json").write_text("[]")
    with pytest.raises(DataError, match="damaged"):
        require_passed_gate(tmp_path / "validation.json")

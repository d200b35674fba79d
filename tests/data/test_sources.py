import gzip
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ganpress.data.raw.dataset_card import read_card
from ganpress.data.raw.file_tree import open_tree
from ganpress.data.raw.idx import write_idx
from ganpress.data.raw.image_files import decode
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.sources.acquisition import import_data
from ganpress.data.sources.file_sources import torchvision_members
from ganpress.data.sources.folder_layout import find_pictures
from ganpress.errors import ConfigError, DataError


@pytest.fixture
def project(tmp_path):
    """A folder to import into; afterwards nothing but data/ may lie in it."""
    root = tmp_path / "project"
    root.mkdir()
    yield root
    assert {path.name for path in root.iterdir()} <= {"data"}


def tree_bytes(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_imports_of_the_digits_are_the_same_bytes(digits, project):
    import_data("digits", None, project / "data")
    assert tree_bytes(project / "data") == tree_bytes(digits)


def test_digits_are_all_of_scikit_learns_scans_scaled(digits):
    from sklearn.datasets import load_digits

    scans = load_digits()
    found = sorted((image.label, image.decode().tobytes()) for image in open_raw(digits))
    scaled = np.floor(scans.images * 255 / 16 + 0.5).astype(np.uint8)
    assert found == sorted((int(label), one.tobytes()) for label, one in zip(scans.target, scaled, strict=True))


def test_digits_test_split_is_stratified(digits):
    labels = [image.label for image in open_raw(digits) if image.split == "test"]
    counts = np.bincount(labels)
    assert counts.sum() == 360
    assert counts.max() - counts.min() <= 3  # the classes hold 174 to 183 scans


def test_card_describes_what_was_written(digits):
    card = read_card(digits)
    assert (card.source, card.layout) == ("digits", "idx")
    assert card.counts == open_raw(digits).counts()


def test_unknown_source_names_the_known_ones(project):
    with pytest.raises(ConfigError, match="'minst' is unknown; known: digits, mnist, .*folder:<path>"):
        import_data("minst", None, project / "data")


def test_missing_local_copy_is_named(project, tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist; name the folder that holds mnist's files"):
        import_data("mnist", tmp_path / "nowhere", project / "data")


def test_local_copy_without_the_files_is_refused(project, tmp_path):
    with pytest.raises(DataError, match=r"has no train-images-idx3-ubyte or train-images-idx3-ubyte\.gz"):
        import_data("mnist", tmp_path, project / "data")


def test_incomplete_mnist_gives_both_counts(project, tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8))
    with pytest.raises(DataError, match="train-images-idx3-ubyte has 5 images, but mnist has 60000"):
        import_data("mnist", tmp_path, project / "data")


def test_failed_import_leaves_the_former_data(project, tmp_path, digits):
    shutil.copytree(digits, project / "data")
    before = tree_bytes(project / "data")
    with pytest.raises(DataError):
        import_data("mnist", tmp_path, project / "data")
    assert tree_bytes(project / "data") == before


def test_failed_download_leaves_nothing_and_says_how_to_go_on(project, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first call
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(DataError) as caught:
        import_data("mnist", None, project / "data")
    message = str(caught.value)
    assert "download of mnist failed (" in message
    assert "nothing was left behind" in message
    assert "get the four files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz" in message
    assert message.endswith("run `ganpress data add mnist --path <folder>`")


def test_full_disk_is_one_line_and_leaves_nothing(project, tmp_path, write_images):
    write_images(tmp_path / "faces", [f"{number}.png" for number in range(20)], size=(64, 64))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file may grow beyond this: a real write error
    try:
        with pytest.raises(DataError, match="no disk space for folder:.* nothing was left behind: free disk space"):
            import_data(f"folder:{tmp_path / 'faces'}", None, project / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_leftover_of_a_killed_import_is_removed(project, tmp_path, write_images):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leftover = project / f".data.{ended.pid}.partial" / "scratch"
    leftover.mkdir(parents=True)
    running = project / f".data.{os.getppid()}.partial"
    running.mkdir()
    import_data(f"folder:{write_images(tmp_path / 'faces', ['1.png'])}", None, project / "data")
    assert not leftover.exists()
    assert running.exists()
    running.rmdir()


def test_folder_is_packed_with_its_splits_and_classes(project, tmp_path, write_images):
    faces = write_images(tmp_path / "faces", ["train/a/1.png", "train/b/2.png", "test/a/3.png"])
    (faces / "notes.txt").write_text("not an image")
    card = import_data(f"folder:{faces}", None, project / "data")
    assert (card.source, card.counts, card.classes) == ("folder:faces", {"test": 1, "train": 2}, ["a", "b"])
    with zipfile.ZipFile(project / "data" / "images.zip") as archive:
        assert archive.namelist() == ["test/a/3.png", "train/a/1.png", "train/b/2.png"]


def test_a_folder_gives_the_same_bytes_wherever_it_lies(tmp_path, write_images):
    names = ["a/1.png", "b/2.png"]
    for place in ("one", "two"):
        (tmp_path / place / "project").mkdir(parents=True)
        faces = write_images(tmp_path / place / "faces", names)
        os.utime(faces / "a/1.png", (0, 0))
        import_data(f"folder:{faces}", None, tmp_path / place / "project" / "data")
    assert tree_bytes(tmp_path / "one/project/data") == tree_bytes(tmp_path / "two/project/data")


def test_missing_folder_is_named(project, tmp_path):
    with pytest.raises(DataError, match="faces does not exist; name a folder, a zip or a tar"):
        import_data(f"folder:{tmp_path / 'faces'}", None, project / "data")


def test_folder_without_images_is_refused(project, tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        import_data(f"folder:{tmp_path}", None, project / "data")


def pack_tar(folder, path):
    with tarfile.open(path, "w:xz") as tar:
        tar.add(folder, "cifar10")
    return path


def test_tar_gives_its_images_sorted_without_the_folders_above_the_splits(tmp_path, write_images):
    folder = write_images(tmp_path / "x", ["train/b/2.png", "train/a/1.png", "test/a/3.png"])
    archive = pack_tar(folder, tmp_path / "x.tar.xz")
    (tmp_path / "scratch").mkdir()
    with open_tree(archive, tmp_path / "scratch") as tree:
        members = {name: tree.read(stored) for name, stored in find_pictures(tree).members}
    assert list(members) == ["test/a/3.png", "train/a/1.png", "train/b/2.png"]
    assert members["train/a/1.png"] == (folder / "train/a/1.png").read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_cut_off_tar_is_named_and_leaves_nothing(project, tmp_path, write_images):
    folder = write_images(tmp_path / "x", [f"train/a/{number}.png" for number in range(50)], size=(32, 32))
    archive = pack_tar(folder, tmp_path / "cifar.tar.xz")
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cifar\.tar\.xz is truncated, damaged, or not"):
        import_data("cifar10", archive, project / "data")


def test_incomplete_cifar10_gives_its_counts(project, tmp_path, write_images):
    folder = write_images(tmp_path / "x", ["train/a/1.png", "test/a/3.png"])
    with pytest.raises(DataError, match="cifar10 has {'train': 50000, 'test': 10000} of 10; the copy is incomplete"):
        import_data("cifar10", folder, project / "data")


def test_nothing_of_cifar10_is_said_so(project, tmp_path):
    with pytest.raises(DataError, match="neither a tar archive, nor images, nor torchvision's cifar-10-batches-py"):
        import_data("cifar10", tmp_path, project / "data")


def test_damaged_torchvision_cifar10_is_refused(project, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="torchvision refuses it"):
        import_data("cifar10", tmp_path, project / "data")


def test_torchvisions_cifar10_files_become_png(tmp_path, monkeypatch):
    from torchvision import datasets
    from torchvision.datasets.utils import calculate_md5

    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    for name in ("data_batch_1", "test_batch"):
        content = {"data": pixels.reshape(2, -1), "labels": [1, 0]}
        (root / name).write_bytes(pickle.dumps(content))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))
    digest = {path.name: calculate_md5(path) for path in root.iterdir()}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", digest["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", digest["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": digest["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    members = dict(torchvision_members(tmp_path))
    assert list(members) == sorted(members)
    assert len(members) == 4
    np.testing.assert_array_equal(decode(members["train/dog/00000.png"], "x"), pixels[0].transpose(1, 2, 0))


@pytest.fixture
def celeba(tmp_path, write_images):
    """CelebA's own layout, with five images."""
    root = tmp_path / "download" / "celeba"
    names = [f"{number:06d}.jpg" for number in range(1, 6)]
    write_images(root / "img_align_celeba", names, size=(218, 178))
    lines = [f"{name} {part}" for name, part in zip(names, (0, 0, 0, 1, 2), strict=True)]
    (root / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("zipped", [False, True])
def test_celeba_follows_its_partition(project, celeba, zipped):
    if zipped:
        shutil.make_archive(str(celeba / "img_align_celeba"), "zip", celeba, "img_align_celeba")
        shutil.rmtree(celeba / "img_align_celeba")
    card = import_data("celeba", celeba.parent, project / "data")
    assert (card.counts, card.classes) == ({"test": 1, "train": 4}, [])
    paths = [image.path for image in open_raw(project / "data")]
    assert paths == ["test/000005.jpg", *(f"train/00000{number}.jpg" for number in range(1, 5))]


def test_celeba_lacking_an_image_is_refused(project, celeba):
    (celeba / "img_align_celeba" / "000003.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of the 5 images .* first 000003\.jpg"):
        import_data("celeba", celeba, project / "data")


def test_celeba_without_its_list_is_refused(project, celeba):
    (celeba / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match=r"holds no list_eval_partition\.txt"):
        import_data("celeba", celeba, project / "data")


def test_celebas_list_is_checked_line_by_line(project, celeba):
    (celeba / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 7\n")
    with pytest.raises(DataError, match="line 2: expected '<image> 0|1|2', found '000002.jpg 7'"):
        import_data("celeba", celeba, project / "data")


def test_mnist_from_a_folder_that_holds_other_sets_too(shared_data, project):
    card = import_data("mnist", shared_data, project / "data")
    assert card.counts == {"train": 60_000, "test": 10_000}
    packed = gzip.decompress((shared_data / "MNIST/raw/t10k-images-idx3-ubyte.gz").read_bytes())
    assert (project / "data" / "t10k-images-idx3-ubyte").read_bytes() == packed


def test_truncated_mnist_file_is_named_with_its_sizes(shared_data, project, tmp_path):
    copy = Path(shutil.copytree(shared_data / "MNIST", tmp_path / "MNIST"))
    file = copy / "raw" / "t10k-images-idx3-ubyte.gz"
    file.chmod(0o644)
    file.parent.chmod(0o755)
    file.write_bytes(file.read_bytes()[:500_000])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is truncated: expected 7840016 bytes, found \d+"):
        import_data("mnist", copy, project / "data")

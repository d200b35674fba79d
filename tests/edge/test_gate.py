"""The verification of an edge file refuses each known fault of a converter or runtime, and names it.

A fault is a target whose file is broken in one way: what it opens is the generator itself with something done to it.
"""

import numpy as np
import pytest
import torch
from torch import nn

from ganpress.edge.proof.verification import RefusedFile, verify_export
from ganpress.errors import ExportMismatch
from models.wdcgan import wdcgan_generator

TOLERANCE = 1e-3


class Faulty:
    """A target whose file draws what `broken(generate, inputs)` makes of it."""

    mismatch_advice = ""

    def __init__(self, model, broken):
        self.model, self.broken = model, broken

    def open(self, path, threads):
        def generate(inputs):
            with torch.no_grad():
                return self.model(inputs)

        return lambda inputs: self.broken(generate, inputs)


class FirstCallOnly:
    """Right once; then something is added to every image."""

    def __init__(self):
        self.calls = 0

    def __call__(self, generate, inputs):
        self.calls += 1
        return generate(inputs) + 0.1 * (self.calls > 1)


class OneBuffer:
    """All calls return the same memory."""

    def __init__(self):
        self.memory = np.zeros((64, 3, 16, 16), np.float32)

    def __call__(self, generate, inputs):
        result = self.memory[: len(inputs)]
        result[:] = generate(inputs).numpy()
        return torch.from_numpy(result)


def latents(images):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model(trained_like):
    return trained_like("4", 16, 3)


def refusal(model, tmp_path, broken, **options):
    with pytest.raises(ExportMismatch) as error:
        verify_export(model, tmp_path / "x", latents(40), TOLERANCE, target=Faulty(model, broken), **options)
    assert "\n" not in str(error.value)
    return error.value


def one_image_of(images, place, other):
    images = images.clone()
    if len(images) > place:
        images[place] = other
    return images


FAULTS = {
    "every pixel that it puts out is 0": lambda generate, z: torch.zeros_like(generate(z)),
    "every pixel that it puts out is 0.5": lambda generate, z: torch.full_like(generate(z), 0.5),
    "its channels are in another order: taken as 2, 1, 0 they fit": lambda generate, z: generate(z)[:, [2, 1, 0]],
    "its range is [0, 1] in place of [-1, 1]": lambda generate, z: (generate(z) + 1) / 2,
    "its range is [0, 255] in place of [-1, 1]": lambda generate, z: (generate(z) + 1) * 127.5,
    "its sign is flipped": lambda generate, z: -generate(z),
    "its rows and columns are swapped": lambda generate, z: generate(z).transpose(2, 3),
    "its pixels are mirrored, left to right": lambda generate, z: generate(z).flip(3),
    "it puts out the same image for every input of a batch": lambda generate, z: generate(z)[:1].expand(
        len(z), -1, -1, -1
    ),
    "it puts out NaN or infinite pixels": lambda generate, z: generate(z) / 0,
    "an image depends on the others of its batch": lambda generate, z: generate(z) - 0.1 * generate(z).mean(0),
}


@pytest.mark.parametrize("enough", [float("inf"), 15.0])
@pytest.mark.parametrize("named", FAULTS)
def test_fault_is_refused_and_named(model, tmp_path, named, enough):
    assert named in str(refusal(model, tmp_path, FAULTS[named], enough_snr_db=enough))


def test_results_that_are_right_in_the_first_call_only(model, tmp_path):
    assert "a second call on the same inputs puts out other images" in str(refusal(model, tmp_path, FirstCallOnly()))


def test_memory_that_the_runtime_reuses(model, tmp_path):
    """Every single image is right when it is looked at."""
    assert "its runtime reuses their memory" in str(refusal(model, tmp_path, OneBuffer()))


def test_one_bad_image_among_many_is_named(model, tmp_path):
    """Forty images together have 16 dB: enough for integers, were it not for the one."""
    error = refusal(
        model, tmp_path, lambda generate, z: one_image_of(generate(z), 17, torch.zeros(3, 16, 16)), enough_snr_db=15.0
    )
    assert "input 17 is worst with 0.0 dB" in str(error)
    assert "one image has nothing to do with torch's, 0.0 dB where every one needs 5" in str(error)
    assert isinstance(error, RefusedFile)
    assert error.worst.place == 17
    assert not error.worst.found.any()


def test_nothing_passes_for_next_to_nothing(tmp_path):
    """An untrained generator draws less than the tolerance."""
    torch.manual_seed(0)
    faint = nn.Sequential(wdcgan_generator("2", 16, 3).eval(), nn.Hardtanh(-1e-5, 1e-5))
    with pytest.raises(RefusedFile, match="every pixel that it puts out is 0"):
        verify_export(
            faint,
            tmp_path / "x",
            latents(4),
            TOLERANCE,
            target=Faulty(faint, FAULTS["every pixel that it puts out is 0"]),
        )


def test_a_good_file_passes_with_its_worst_input_named(model, tmp_path):
    proof = verify_export(
        model, tmp_path / "x", latents(40), TOLERANCE, target=Faulty(model, lambda generate, z: generate(z) + 1e-5)
    )
    assert proof.images == 40
    assert 0 <= proof.worst_input < 40
    assert 60 < proof.worst_snr_db <= proof.snr_db


def test_equal_files_have_no_worst_input(model, tmp_path):
    proof = verify_export(model, tmp_path / "x", latents(4), 0.0, target=Faulty(model, lambda generate, z: generate(z)))
    assert (proof.snr_db, proof.worst_input, proof.worst_snr_db) == (None, None, None)

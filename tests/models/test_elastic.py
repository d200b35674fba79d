import pytest
import torch

from models.elastic import WdcganSpace, elastic_wdcgan_generator
from models.wdcgan import WdcganSpec


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    made = elastic_wdcgan_generator([2, 3, 5], 32, 3)
    for parameter in made.parameters():  # zero biases would hide a wrong slice
        torch.nn.init.normal_(parameter, 0, 0.1)
    return made


@pytest.mark.parametrize("text", ["2", "5", "3", "5_2_3", "2_5_2"])
def test_supernet_equals_extracted_bit_for_bit(supernet, text):
    spec = WdcganSpec.parse(text, 3)
    statistics = supernet.calibrate(torch.randn(64, 100), spec)
    z = torch.randn(7, 100)
    with torch.no_grad():
        assert torch.equal(supernet(z, spec, statistics), supernet.extract(spec, statistics)(z))
        assert torch.equal(supernet(z, spec), supernet.extract(spec, statistics).train()(z))


def test_extracted_is_independent_of_the_supernet(supernet):
    spec = supernet.space.smallest
    subnet = supernet.extract(spec, supernet.calibrate(torch.randn(64, 100), spec))
    z = torch.randn(2, 100)
    before = subnet(z)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.zero_()
    assert torch.equal(subnet(z), before)


def test_order_of_evaluation_leaves_no_trace(supernet):
    z, small, large = torch.randn(4, 100), supernet.space.smallest, supernet.space.largest
    first = supernet(z, small)
    supernet(z, large)
    assert torch.equal(supernet(z, small), first)


def test_calibrated_statistics_are_those_of_the_batch(supernet):
    # Normalising the calibration batch by its own statistics is batch norm in training mode, up to n / (n - 1).
    z, spec = torch.randn(256, 100), WdcganSpec((3, 3, 3))
    calibrated = supernet(z, spec, supernet.calibrate(z, spec))
    assert torch.allclose(calibrated, supernet(z, spec), atol=1e-3)


def test_space_counts_every_spec_once():
    space = WdcganSpace((2, 3, 5), 3)
    assert len({space[index] for index in range(len(space))}) == len(space) == 27
    assert space[0] == space.smallest
    assert space[26] == space.largest
    drawn = {space.sample(torch.Generator().manual_seed(seed)) for seed in range(300)}
    assert len(drawn) == 27


def test_spec_outside_the_space_is_refused(supernet):
    with pytest.raises(ValueError, match=r"spec 4 is outside this supernet's space \(3 levels out of \[2, 3, 5\]\)"):
        supernet(torch.randn(2, 100), WdcganSpec((4, 4, 4)))

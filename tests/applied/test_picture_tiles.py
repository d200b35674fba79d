"""Results of tiles compared with those of the whole picture."""

import numpy as np
import pytest
import torch
from torch import nn

from ganpress.applied.picture_tiles import draw_tiles, plan_tiles
from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.errors import ConfigError, DataError
from ganpress.structure.receptive_field import ReceptiveField, receptive_field

LOCAL = {
    "same size": nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)),
    "down and up": nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
    ),
    "four times as large": nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4)),
    "half as large": nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 4, stride=2, padding=1)),
}  # fmt: skip


def as_input(pixels):
    return uint8_to_images(torch.from_numpy(np.ascontiguousarray(pixels))[None])


def network_of(name):
    torch.manual_seed(1)
    return nn.Sequential(LOCAL[name], nn.Tanh()).eval()


@torch.no_grad()
def tiled(network, picture, tile, overlap=None, field=None):
    def generate(inputs):
        assert inputs.shape[2:] == tile  # a file of one size takes no other
        return network(inputs)

    field = field or receptive_field(network, torch.rand(1, 3, *tile))
    plan = plan_tiles(picture.shape[1:], tile, field, overlap)
    return plan, draw_tiles(generate, picture, plan, as_input, lambda _: None)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (3, 76, 120), dtype=np.uint8)


@pytest.mark.parametrize("tile", [(32, 32), (24, 64)])
@pytest.mark.parametrize("name", LOCAL)
def test_tiles_of_a_local_network_draw_the_whole_picture(name, tile, picture):
    network = network_of(name)
    plan, drawn = tiled(network, picture, tile)
    assert plan.exact
    assert plan.tiles > 4
    with torch.no_grad():
        whole = images_to_uint8(network(as_input(picture)))[0].numpy().transpose(1, 2, 0)
    assert drawn.pixels.shape == whole.shape
    # A convolution of another size may sum in another order, which rounds a pixel to its neighbour here and there.
    difference = np.abs(drawn.pixels.astype(int) - whole)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    assert drawn.seam_db is None


def test_a_cut_that_is_too_narrow_shows():
    """The margin is needed: with a pixel less of reach the tiles draw something else."""
    picture = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    network = network_of("same size")
    true = receptive_field(network, torch.rand(1, 3, 32, 32))
    _, right = tiled(network, picture, (32, 32))
    _, wrong = tiled(network, picture, (32, 32), field=ReceptiveField(true.reach - 1, 1))
    assert np.abs(right.pixels.astype(int) - wrong.pixels).max() > 1


def test_sizes_that_no_tile_fits_are_mirrored_and_cut(picture):
    network = network_of("down and up")
    for shape in ((75, 119), (20, 20), (31, 120)):
        plan, drawn = tiled(network, picture[:, : shape[0], : shape[1]], (32, 32))
        assert drawn.pixels.shape == (*shape, 3)
        assert not plan.exact


def test_instance_norms_are_blended_and_their_difference_is_measured(picture):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()
    )
    plan, drawn = tiled(network.eval(), picture, (32, 32))
    assert not plan.exact
    assert plan.rows.blended
    assert 5 < drawn.seam_db < 40
    with torch.no_grad():
        whole = images_to_uint8(network(as_input(picture)))[0].numpy().transpose(1, 2, 0).astype(int)
    error = np.abs(drawn.pixels - whole).mean()
    assert error < 20  # of 255: what the tiles' own means and deviations change


def test_blended_weights_of_neighbours_add_up(picture):
    network = nn.Sequential(nn.InstanceNorm2d(3), nn.Tanh()).eval()
    flat = np.full_like(picture, 90)
    _, drawn = tiled(network, flat, (32, 32))
    # A flat picture is normalised to zero everywhere, which is half way between two bytes.
    assert set(np.unique(drawn.pixels)) <= {127, 128}


@pytest.mark.parametrize("overlap", [0, 8, 15])
def test_a_wider_overlap_takes_more_tiles_and_changes_nothing(picture, overlap):
    network = network_of("same size")
    least, expected = tiled(network, picture, (32, 32))
    plan, drawn = tiled(network, picture, (32, 32), overlap)
    assert plan.tiles >= least.tiles
    assert np.abs(drawn.pixels.astype(int) - expected.pixels).max() <= 1


def test_an_overlap_of_a_whole_tile_is_refused(picture):
    with pytest.raises(ConfigError, match="give --overlap at most 30"):
        tiled(network_of("same size"), picture, (32, 32), 40)


def test_a_reach_beyond_half_a_tile_is_blended():
    plan = plan_tiles((100, 100), (32, 32), ReceptiveField(20, 1))
    assert plan.rows.blended
    assert not plan.exact
    assert plan_tiles((32, 32), (32, 32), ReceptiveField(20, 1)).exact


def test_pixels_that_are_no_numbers_are_refused(picture):
    broken = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()).eval()
    broken[0].bias.data.fill_(torch.nan)
    with pytest.raises(DataError, match="NaN or infinite pixels"):
        tiled(broken, picture, (32, 32))

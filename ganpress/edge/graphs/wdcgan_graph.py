"""W-DCGAN generators as ONNX graphs, in the form that ONNX Runtime runs fastest for each number type.

Measured on x86-64 with VNNI, batch 1, one thread: floats are fastest as native transposed convolutions (rewriting them
costs up to 1.4x), integers as sub-pixel convolutions, because no kernel of the runtime multiplies a transposed
convolution in integers. `python -m benchmarks.edge_proof` repeats the measurement.
"""

from itertools import pairwise

import numpy as np
from torch import Tensor

from ganpress.edge.graphs.graph_writer import INPUT, OUTPUT, GraphWriter
from ganpress.structure.surgery import projection_weight
from models.edge_wdcgan import DeployedWdcgan, EdgeWdcgan, FoldedWdcgan, SubpixelGeometry
from models.quantized import ActivationQuantizer, QuantizedGenerator, QuantizedLayer


def folded_graph(model: FoldedWdcgan) -> bytes:
    """Write a float generator: matrix product, then native transposed convolutions."""
    writer = GraphWriter()
    first, *doublings = model.convs
    weight = projection_weight(first.get_parameter("weight"))[:, :, 0, 0]  # (16 C, Z)
    bias = first.get_parameter("bias").repeat_interleave(16)
    x = writer.add("Gemm", INPUT, _constant(writer, weight.t()), _constant(writer, bias))
    x = writer.add("Relu", x)
    x = writer.add("Reshape", x, writer.sizes(-1, model.widths[0], 4, 4))
    for level, conv in enumerate(doublings, start=1):
        parameters = (_constant(writer, conv.get_parameter(name)) for name in ("weight", "bias"))
        x = writer.add("ConvTranspose", x, *parameters, kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4)
        if level < len(model.widths):
            x = writer.add("Relu", x)
    return _close(writer, x, model)


def subpixel_graph(model: EdgeWdcgan) -> bytes:
    """Write a float generator in sub-pixel form: convolution, ReLU, rearrangement, repeated."""
    writer = GraphWriter()
    x = writer.add("Reshape", INPUT, writer.sizes(-1, model.latent, 1, 1))
    for level, (conv, geometry) in enumerate(zip(model.convs, model.geometries, strict=True)):
        parameters = (_constant(writer, conv.get_parameter(name)) for name in ("weight", "bias"))
        padding, kernel = [geometry.padding] * 4, [geometry.kernel] * 2
        x = writer.add("Conv", x, *parameters, kernel_shape=kernel, pads=padding)
        if level < len(model.widths):
            x = writer.add("Relu", x)
        x = _rearrange(writer, x, geometry)
    return _close(writer, x, model)


def quantized_graph(model: QuantizedGenerator) -> bytes:
    """Write a quantized generator as quantize / dequantize pairs around convolutions.

    With both weights and activations quantized, everything from the latents to the tanh is uint8 or integer
    arithmetic: what lies between two convolutions works on the codes themselves, in channels-last order, so that the
    runtime's channels-last convolutions need no transposition (1.3x faster than DepthToSpace and Slice).
    """
    writer = GraphWriter()
    layers, quantizers = model.quantized_layers(), model.activation_quantizers()
    if quantizers and model.weight_bits is not None:
        return _close(writer, _integer_layers(writer, model, layers, quantizers), model)
    shape = writer.sizes(-1, model.latent, 1, 1)
    x = writer.add("Reshape", INPUT, shape)
    if quantizers:
        x = _encode(writer, x, quantizers[0])
    for level, layer in enumerate(layers):
        x = _decode(writer, x, quantizers[level]) if quantizers else x
        x = _convolve(writer, x, layer, _real_or_codes(writer, layer, channels_last=False), layer.bias)
        # Rounding right after the convolution would make the runtime round float weights, too: rearrange first.
        x = _rearrange(writer, x, layer.geometry)
        x = _encode(writer, x, quantizers[level + 1]) if quantizers else x
    return _close(writer, _decode(writer, x, quantizers[-1]) if quantizers else x, model)


def _integer_layers(
    writer: GraphWriter, model: QuantizedGenerator, layers: list[QuantizedLayer], quantizers: list[ActivationQuantizer]
) -> str:
    x = writer.add("Reshape", _encode(writer, INPUT, quantizers[0]), writer.sizes(-1, 1, 1, model.latent))
    pixels = 1
    for layer, (source, target) in zip(layers, pairwise(quantizers), strict=True):
        x = writer.add("Transpose", x, perm=[0, 3, 1, 2])  # to the channels-first layout that ONNX convolutions are in
        weight = _real_or_codes(writer, layer, channels_last=True)
        bias = _phases_first(layer.bias, layer.geometry)
        x = _convolve(writer, _decode(writer, x, source), layer, weight, bias)
        x = writer.add("Transpose", _encode(writer, x, target), perm=[0, 2, 3, 1])
        x, pixels = _rearrange_channels_last(writer, x, layer, pixels)
    if model.channels == 1:  # one channel: first and last are the same in memory
        x = writer.add("Reshape", x, writer.sizes(-1, 1, pixels, pixels))
    else:
        x = writer.add("Transpose", x, perm=[0, 3, 1, 2])
    return _decode(writer, x, quantizers[-1])


def _convolve(writer: GraphWriter, x: str, layer: QuantizedLayer, weight: str, bias: Tensor) -> str:
    """Convolution and ReLU; the runtime rounds a float bias to its accumulator's steps when it fuses the integers."""
    padding = [layer.geometry.padding] * 4
    kernel = [layer.geometry.kernel] * 2
    x = writer.add("Conv", x, weight, _constant(writer, bias), kernel_shape=kernel, pads=padding)
    return writer.add("Relu", x) if layer.relu else x


def _real_or_codes(writer: GraphWriter, layer: QuantizedLayer, channels_last: bool) -> str:
    weight, scale = layer.weight, layer.weight_scale
    if channels_last:
        weight = _phases_first(weight, layer.geometry)
    if scale is None:
        return _constant(writer, weight)
    if channels_last:
        scale = _phases_first(scale, layer.geometry)
    return writer.add("DequantizeLinear", _constant(writer, weight), _constant(writer, scale), axis=0)


def _phases_first(tensor: Tensor, geometry: SubpixelGeometry) -> Tensor:
    """Reorder output channels from (c, y, x) to (y, x, c): neighbours in channels-last memory become neighbours."""
    phases = geometry.factor**2
    return tensor.reshape(-1, phases, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)


def _encode(writer: GraphWriter, x: str, quantizer: ActivationQuantizer) -> str:
    """Reals -> uint8 codes; fewer than 8 bits are clipped on the codes, which keeps the convolution integer."""
    x = writer.add("QuantizeLinear", x, *_affine(writer, quantizer))
    if quantizer.bits == 8:
        return x
    return writer.add("Clip", x, "", writer.constant(np.array(quantizer.highest_code, np.uint8)))


def _decode(writer: GraphWriter, codes: str, quantizer: ActivationQuantizer) -> str:
    return writer.add("DequantizeLinear", codes, *_affine(writer, quantizer))


def _affine(writer: GraphWriter, quantizer: ActivationQuantizer) -> tuple[str, str]:
    return _constant(writer, quantizer.scale), _constant(writer, quantizer.zero_point)


def _rearrange(writer: GraphWriter, x: str, geometry: SubpixelGeometry) -> str:
    """`SubpixelGeometry.rearrange`, channels first."""
    x = writer.add("DepthToSpace", x, blocksize=geometry.factor, mode="CRD")
    return _crop(writer, x, geometry, axes=(2, 3))


def _rearrange_channels_last(writer: GraphWriter, x: str, layer: QuantizedLayer, pixels: int) -> tuple[str, int]:
    """`SubpixelGeometry.rearrange` of (N, H, W, r r C) with phases first; returns the new height, too.

    One row of each phase is moved as a whole: (N, H, W, y, x C) -> (N, H, y, W, x C), which is (N, r H, r W, C).
    """
    geometry = layer.geometry
    factor, channels = geometry.factor, layer.weight.shape[0] // geometry.factor**2
    pixels += 2 * geometry.padding - geometry.kernel + 1
    if pixels > 1:
        x = writer.add("Reshape", x, writer.sizes(-1, pixels, pixels, factor, factor * channels))
        x = writer.add("Transpose", x, perm=[0, 1, 3, 2, 4])
    pixels *= factor
    x = writer.add("Reshape", x, writer.sizes(-1, pixels, pixels, channels))
    return _crop(writer, x, geometry, axes=(1, 2)), pixels - 2 * geometry.crop


def _crop(writer: GraphWriter, x: str, geometry: SubpixelGeometry, axes: tuple[int, int]) -> str:
    if geometry.crop == 0:
        return x
    borders = (writer.sizes(sign * geometry.crop, sign * geometry.crop) for sign in (1, -1))
    return writer.add("Slice", x, *borders, writer.sizes(*axes))


def _constant(writer: GraphWriter, tensor: Tensor) -> str:
    return writer.constant(tensor.detach().cpu().contiguous().numpy())


def _close(writer: GraphWriter, x: str, model: DeployedWdcgan) -> bytes:
    writer.add("Tanh", x, result=OUTPUT)
    return writer.to_bytes(("batch", model.latent), ("batch", model.channels, model.size, model.size))

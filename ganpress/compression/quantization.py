"""Post-training linear quantization of weights and activations, without fine-tuning (Mordido et al.)."""

from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.network_quantization import quantize_network
from ganpress.compression.packed.quantized_blueprint import quantized_blueprint
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.errors import ConfigError
from models.quantized_network import QuantizedNetwork

__all__ = ["QuantizationConfig", "quantize", "quantized_blueprint"]


def quantize(
    model: nn.Module, inputs: Float[Tensor, "n ..."], config: QuantizationConfig, seed: int | None = None
) -> QuantizedNetwork:
    """Quantize a trained generator after training, see `quantize_network`.

    Returns:
        A generator in eval mode that computes in integers; `quantized_blueprint` names it for a model file.

    Raises:
        ConfigError: if it is already quantized, the architecture cannot be quantized, or the inputs do not fit it.
    """
    if isinstance(model, QuantizedNetwork):
        raise ConfigError("the generator is quantized already; quantize the one that it was made of")
    return quantize_network(model, inputs, config, seed)

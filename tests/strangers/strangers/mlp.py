"""A generator of two linear layers, of any width."""

from torch import Tensor, nn

from models.elastic import Spec
from models.family import Canvas, Family


class Mlp(nn.Module):
    """Latents (N, 100) -> images (N, C, H, W) in [-1, 1]; W is the hidden width."""

    def __init__(self, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.hidden = nn.Linear(100, width)
        self.head = nn.Linear(width, shape[0] * shape[1] * shape[2])

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.hidden(z).relu()).tanh().view(-1, *self.shape)


def mlp(spec: str, channels: int, height: int, width: int) -> Mlp:
    """Build one of the hidden width that its spec names."""
    return Mlp(Spec.parse(spec, 1).numbers[0], (channels, height, width))


def _arguments(spec: str, canvas: Canvas) -> dict:
    return {"spec": spec, "channels": canvas.channels, "height": canvas.height, "width": canvas.width}


MLP = Family(
    "mlp",
    _arguments,
    lambda _: 1,
    lambda arguments: Spec.parse(str(arguments["spec"]), 1).numbers,
    False,
    "16",
    Canvas(1, 16, 16),
    build=mlp,
)

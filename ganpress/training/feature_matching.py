"""Matching of a student's intermediate features to its teacher's by learned 1x1 convolutions.

"GAN Compression" (Li et al. 2020), section 3.1: L_distill = sum over taps t of ||f_t(G_t(x)) - G'_t(x)||, where G' is
the teacher and f_t a convolution from the student's channels to the teacher's, since the student is narrower. The
convolutions are trained with the student and thrown away after it.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ganpress.errors import ConfigError

Features = Mapping[str, Tensor]
"""Tap name -> output (N, C, h, w) of that layer."""


class FeatureAdaptors(nn.Module):
    """The 1x1 convolutions f_t of all taps, and the distance L_distill that they are trained on.

    Elastic in their input: features of fewer channels than `student_channels` meet the first columns of the weights,
    so that one set of adaptors serves every sub-generator of a supernet.

    Args:
        taps: names of the layers, in a fixed order.
        student_channels: of the widest student at each tap.
        teacher_channels: of the teacher at each tap.
    """

    def __init__(self, taps: Sequence[str], student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.taps = tuple(taps)
        pairs = zip(student_channels, teacher_channels, strict=True)
        self.convs = nn.ModuleList(nn.Conv2d(narrow, wide, 1) for narrow, wide in pairs)

    @classmethod
    def between(cls, student: Features, teacher: Features) -> "FeatureAdaptors":
        """Build the adaptors for example features of the widest student and the teacher, at the teacher's taps.

        Raises:
            ConfigError: if student and teacher have features of different height or width at a tap.
        """
        for tap, wanted in teacher.items():
            sizes = tuple(student[tap].shape[2:]), tuple(wanted.shape[2:])
            if sizes[0] != sizes[1]:
                raise ConfigError(
                    f"features at tap '{tap}' are {_size(sizes[0])} in the student and {_size(sizes[1])} in the "
                    "teacher; distil at layers of equal size: set `taps` of the training section, or lambda_distill: 0"
                )
        return cls(list(teacher), [student[tap].shape[1] for tap in teacher], [x.shape[1] for x in teacher.values()])

    def forward(self, student: Features, teacher: Features) -> Float[Tensor, ""]:
        """Sum over taps of the mean squared error between f_t(student's features) and the teacher's.

        The paper writes a bare norm ||.||. The published implementation takes the squared one as a mean over batch,
        channels and pixels, which its weights lambda_distill (1 and 0.01) belong to, so it is taken here.
        """
        distance = next(iter(teacher.values())).new_zeros(())
        for tap, conv in zip(self.taps, self._convs(), strict=True):
            matched = functional.conv2d(student[tap], conv.weight[:, : student[tap].shape[1]], conv.bias)
            distance = distance + functional.mse_loss(matched, teacher[tap])
        return distance

    @torch.no_grad()
    def start_as_identity_(self) -> "FeatureAdaptors":
        """Let every adaptor pass its features through, channel i to channel i."""
        for conv in self._convs():
            nn.init.dirac_(conv.weight)
            nn.init.zeros_(conv.get_parameter("bias"))
        return self

    def _convs(self) -> list[nn.Conv2d]:
        return [conv for conv in self.convs if isinstance(conv, nn.Conv2d)]


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))

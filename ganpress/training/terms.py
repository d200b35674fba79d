"""The weighted terms of a generator's loss, kept apart so that each can be reported."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One term of a loss: a scalar and what it is multiplied with."""

    weight: float
    value: Tensor


def weighted_sum(terms: Mapping[str, Term]) -> Float[Tensor, ""]:
    """Return the loss that the generator descends."""
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


def reported(terms: Mapping[str, Term]) -> dict[str, Float[Tensor, ""]]:
    """Return each term's detached value before its weight, for the loss curve."""
    return {name: term.value.detach() for name, term in terms.items()}

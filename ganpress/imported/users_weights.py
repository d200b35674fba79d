"""Weights as people have them, for a network of their own."""

from torch import nn

from ganpress.files.checkpoint import load_weights_
from ganpress.imported.weight_keys import read_state


def load_users_weights_(network, request):
    state = read_state(request.weights)
    counts = {name: tensor for name, tensor in network.state_dict().items() if name.endswith("num_batches_tracked")}
    load_weights_(network, counts | state, str(request.weights))
    return []

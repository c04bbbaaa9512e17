"""Networks in the names of tensors that their authors publish."""

import re

from torch import Tensor, nn

# Of ESRGAN's first code, of its second, and of Real-ESRGAN: the blocks, what is after them, and the other layers.
NAMINGS = {
    "model": (
        "model.1.sub.{}.RDB{}.conv{}.0",
        {"conv_first": "model.0", "conv_body": "model.1.sub.2", "conv_up1": "model.3", "conv_up2": "model.6"}
        | {"conv_hr": "model.8", "conv_last": "model.10"},
    ),
    "trunk": (
        "RRDB_trunk.{}.RDB{}.conv{}",
        {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"},
    ),
    "real": ("body.{}.rdb{}.conv{}", {}),
}


def published(network: nn.Module, naming: str) -> dict[str, Tensor]:
    """The weights of an RRDBNet under the names of one of `NAMINGS`."""
    blocks, layers = NAMINGS[naming]

    def name_of(layer: str) -> str:
        if found := re.fullmatch(r"body\.(\d+)\.(\d)\.convs\.(\d)", layer):
            block, dense, conv = map(int, found.groups())
            return blocks.format(block, dense + 1, conv + 1)
        return layers.get(layer, layer)

    state = ((name.rpartition("."), tensor) for name, tensor in network.state_dict().items())
    return {f"{name_of(layer)}.{kind}": tensor for (layer, _, kind), tensor in state}

"""Names of the generator families, apart from their networks: whoever only checks a name needs no torch."""

CONDITIONAL: dict[str, bool] = {
    "edge_mobile_resnet_9blocks": True,
    "edge_resnet_9blocks": True,
    "imported": True,
    "mobile_resnet_9blocks": True,
    "mobile_spade": True,
    "resnet_9blocks": True,
    "spade": True,
    "sub_mobile_resnet_9blocks": True,
    "sub_mobile_spade": True,
    "unet_128": True,
    "unet_256": True,
    "unet_32": True,
    "unet_64": True,
    "wdcgan": False,
}
"""Family -> whether it reads a source; else latents.

`models.families.FAMILIES` has the same names, as a test holds; `imported` is a network of the user's own.
"""


def split_name(name: str) -> tuple[str, str]:
    """Take `family:spec` apart; the spec is empty where only the family is named.

    Raises:
        ValueError: if the family is unknown.
    """
    family, _, spec = name.partition(":")
    if family not in CONDITIONAL:
        raise ValueError(f"unknown generator '{family}'; known: {', '.join(sorted(CONDITIONAL))}")
    return family, spec

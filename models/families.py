"""Generator families: the names that params.yaml and the command line use, and what belongs to each.

A generator's *name* is `family:spec`, e.g. `wdcgan:16` or `mobile_resnet_9blocks:16_16_32_16_32_32_16_16`. What it
reads and draws is not part of the name but of the data: its *canvas*.
"""

from models.family import Family
from models.family_names import check_name, shortened
from models.registry import Registry

FAMILIES: Registry[Family] = Registry(
    "family",
    "ganpress.families",
    "models.family:Family",
    ValueError,
    {
        "wdcgan": "models.generator_families:WDCGAN",
        "edge_mobile_resnet_9blocks": "models.generator_families:EDGE_MOBILE_RESNET_9BLOCKS",
        "edge_resnet_9blocks": "models.generator_families:EDGE_RESNET_9BLOCKS",
        "resnet_9blocks": "models.generator_families:RESNET_9BLOCKS",
        "mobile_resnet_9blocks": "models.generator_families:MOBILE_RESNET_9BLOCKS",
        "sub_mobile_resnet_9blocks": "models.generator_families:SUB_MOBILE_RESNET_9BLOCKS",
        "spade": "models.generator_families:SPADE",
        "mobile_spade": "models.generator_families:MOBILE_SPADE",
        "sub_mobile_spade": "models.generator_families:SUB_MOBILE_SPADE",
        "unet_32": "models.generator_families:UNET_32",
        "unet_64": "models.generator_families:UNET_64",
        "unet_128": "models.generator_families:UNET_128",
        "unet_256": "models.generator_families:UNET_256",
    },
)
IMPORTED = "imported"
"""Name that stands for the user's own network, at other widths, in place of a family."""


def find_family(name: str) -> tuple[str, Family, str]:
    """Take a generator's name apart: family name, family, spec text (the family's default where it is left out).

    Raises:
        ValueError: if the family is unknown, or the name is beyond the bounds of `check_name`.
    """
    check_name(name)
    family_name, _, spec = name.partition(":")
    if family_name not in FAMILIES:
        raise ValueError(f"unknown generator '{family_name[:40]}'; known: {', '.join(sorted(FAMILIES))}")
    family = FAMILIES[family_name]
    return family_name, family, spec or family.default_spec


def family_of(builder: str) -> Family | None:
    """A family whose networks this builder makes, the imported ones among them; None where there is none."""
    from models.generator_families import OWN_NETWORK

    families = (family for family in FAMILIES.values() if family.builder == builder)
    return OWN_NETWORK if builder == OWN_NETWORK.builder else next(families, None)


def split_name(name: str) -> tuple[str, str]:
    """Take `family:spec` apart; the spec is empty where only the family is named.

    Raises:
        ValueError: if the family is unknown, or the name is beyond the bounds of `check_name`.
    """
    check_name(name)
    family, _, spec = name.partition(":")
    if family != IMPORTED and family not in FAMILIES:
        known = ", ".join(sorted([*FAMILIES, IMPORTED]))
        raise ValueError(f"unknown generator '{shortened(family)}'; known: {known}")
    return family, spec


def is_for(family: str, conditional: bool) -> bool:
    """Whether generators of this name read sources, or else latents; an imported one may read either."""
    return family == IMPORTED or FAMILIES[family].conditional == conditional

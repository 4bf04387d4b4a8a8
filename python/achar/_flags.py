"""Flag classes from one version of Python in another, for ``source=True``: see ``_source.prepare``.

Since 3.11 a Flag says what becomes of bits that it has no member for: its boundary, a member of an enumeration
that 3.10 does not have; and it keeps masks of its bits. The boundary goes along as its name, and is left out
by 3.10, whose flags refuse such bits (IntFlags keep them); the masks are made where they are missing.
"""

from __future__ import annotations

import enum
from enum import EnumMeta as FlagType
from enum import Flag

__all__ = ["Flag", "FlagType", "complete", "prepare"]


def prepare(attributes: dict) -> tuple[str, str | None]:
    boundary = attributes.pop("_boundary_", None)
    return "flag", boundary if boundary is None else boundary.name


def complete(cls: type[Flag], boundary: str | None) -> None:
    boundaries = getattr(enum, "FlagBoundary", None)
    if boundaries is None:
        return
    if boundary is not None:
        type.__setattr__(cls, "_boundary_", boundaries[boundary])
    mask = single = 0
    for member in cls._member_map_.values():
        mask |= member._value_
        single |= member._value_ if member._value_ & (member._value_ - 1) == 0 else 0
    all_bits = 2 ** mask.bit_length() - 1
    made = {"_flag_mask_": mask, "_singles_mask_": single, "_inverted_": None, "_all_bits_": all_bits}
    for name in made.keys() - vars(cls).keys():  # 3.11.2 knows some of them
        type.__setattr__(cls, name, made[name])

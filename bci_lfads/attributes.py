"""Attributes of HDF5 files that others wrote, which the HDF5 library reads too trustingly."""

from __future__ import annotations

from typing import Any

import h5py

_PLAIN = (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT)


def read_attribute(holder: h5py.File | h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute that is text or a number; None where there is none of that name.

    Raises
    ------
    ValueError
        If it is of another type: one bit makes a text a list of what is nowhere, and reading that
        ends the process.
    """
    if name not in holder.attrs:
        return None
    kind = holder.attrs.get_id(name).get_type().get_class()
    if kind not in _PLAIN:
        raise ValueError(f"attribute {name} is neither text nor a number (HDF5 class {kind})")
    return holder.attrs[name]

"""What our streams say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pylsl

Desc = Mapping[str, "str | Desc | Sequence[Desc]"]
"""A tree of texts; a sequence becomes repeated elements of the same name."""


def stream_info(
    name: str,
    kind: str,
    *,
    source_id: str,
    labels: Sequence[str],
    units: str | Sequence[str] = "",
    rate: float = pylsl.IRREGULAR_RATE,
    form: str = "float32",
    desc: Desc | None = None,
) -> pylsl.StreamInfo:
    """Describe a stream to be published.

    Parameters
    ----------
    name, kind, source_id
        LSL's name, type and source_id. The source_id must be the same after a restart, so that
        consumers find the stream again.
    labels
        One a channel, unique.
    units
        Unit of all channels, or one each; empty for none.
    rate
        Nominal, Hz; 0 for irregular.
    form
        LSL channel format, e.g. ``float32``.
    desc
        What else it says, beside ``channels`` and ``acquisition``.

    Raises
    ------
    ValueError
        Where labels are not unique or units are not one each.
    """
    every = [units] * len(labels) if isinstance(units, str) else list(units)
    if len(set(labels)) != len(labels) or len(every) != len(labels):
        raise ValueError(f"stream {name!r} needs a unique label, and a unit, for each channel")
    info = pylsl.StreamInfo(name, kind, len(labels), rate, form, source_id)
    root = info.desc()
    channels = root.append_child("channels")
    for label, unit in zip(labels, every, strict=True):
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        if unit:
            channel.append_child_value("unit", unit)
        channel.append_child_value("type", kind)
    add_desc(root, {"acquisition": {"manufacturer": "bci-lfads", "version": _version()}})
    add_desc(root, desc or {})
    return info


def add_desc(parent: Any, desc: Desc) -> None:
    """Append a tree of texts to an element of a stream's description."""
    for name, value in desc.items():
        if isinstance(value, str):
            parent.append_child_value(name, value)
            continue
        trees: Iterable[Desc] = (value,) if isinstance(value, Mapping) else value
        for tree in trees:
            add_desc(parent.append_child(name), tree)


def _version() -> str:
    try:
        return version("bci-lfads")
    except PackageNotFoundError:
        return "0"

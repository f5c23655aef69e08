"""Where each of the model's units is in a stream: by label, by key, or as the rig file maps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bci_lfads.errors import StreamError

Key = TypeVar("Key")
_MOST = 2**31
"""Keys are below this, so that two of them fit one int64."""


def expand_units(units: Sequence[str], unit_map: Mapping[str, str]) -> dict[str, str]:
    """Return what each mapped unit is called in the stream.

    Parameters
    ----------
    units
        Labels of the model's units.
    unit_map
        The rig file's ``[input.units]``. A key with one ``*`` stands for every unit it fits that
        has no key of its own, and what the ``*`` stands for takes the place of the one in the
        value: ``"u*" = "*/0"`` makes ``u12`` the stream's ``12/0``.

    Raises
    ------
    StreamError
        If a key fits no unit, or a ``*`` has no counterpart.
    """
    known = set(units)
    found = {unit: name for unit, name in unit_map.items() if unit in known}
    for pattern, name in unit_map.items():
        if pattern in known:
            continue
        head, star, tail = pattern.partition("*")
        if star and ("*" in tail or name.count("*") != 1):
            raise StreamError(
                f"[input.units] maps '{pattern}' to '{name}'; a pattern has one * on either side"
            )
        least = len(head) + len(tail)
        fits = [u for u in units if len(u) >= least and u.startswith(head) and u.endswith(tail)]
        if not star or not fits:
            raise StreamError(
                f"[input.units] maps '{pattern}', which the model does not have; its units are "
                f"{', '.join(units[:5])}{', …' if len(units) > 5 else ''} ({len(units)} in all)"
            )
        for unit in fits:
            found.setdefault(unit, name.replace("*", unit[len(head) : len(unit) - len(tail)]))
    return found


def model_labels(labels: Sequence[str], unit_map: Mapping[str, str]) -> tuple[str, ...]:
    """Return what units of a stream or recording are called in a model: `expand_units` inverted.

    Parameters
    ----------
    labels
        Of the stream's units.
    unit_map
        The rig file's ``[input.units]``. Units that it does not map keep their labels.

    Raises
    ------
    StreamError
        If an entry fits no unit, or two units would have one label.
    """
    exact = {name: unit for unit, name in unit_map.items() if name.count("*") != 1}
    patterns = [(name.partition("*"), u) for u, name in unit_map.items() if name.count("*") == 1]
    unused = {*exact, *(u for _, u in patterns)}
    found = []
    for label in labels:
        unit = exact.get(label)
        if unit is not None:
            unused.discard(label)
        else:
            for (head, _, tail), pattern in patterns:
                inner = label[len(head) : len(label) - len(tail)]
                if len(label) >= len(head) + len(tail) and label == head + inner + tail:
                    unit = pattern.replace("*", inner)
                    unused.discard(pattern)
                    break
        found.append(label if unit is None else unit)
    if unused:
        raise StreamError(
            f"[input.units] maps {some(sorted(unused))}, which fits none of the recording's "
            f"{len(labels)} units: {some(labels)}"
        )
    if twice := sorted({u for u in found if found.count(u) > 1}):
        raise StreamError(
            f"[input.units] gives two units the label {some(twice)}; map each to its own"
        )
    return tuple(found)


def find_units(
    who: str,
    units: Sequence[str],
    named: Mapping[str, str],
    listed: Mapping[str, Key],
    key_of: Callable[[str], Key | None] | None = None,
    how: str = "its label",
) -> list[Key]:
    """Return where each unit is in a stream.

    A stream that lists its units is taken at its labels: a unit of another label must be mapped,
    lest a label that happens to look like a key meets a unit that is called otherwise.

    Parameters
    ----------
    who
        The stream in messages.
    units
        Labels of the model's units.
    named
        As of `expand_units`.
    listed
        Place by label, as the stream says it; may be empty.
    key_of
        Reads a place from text, None where it is none; without it only labels count.
    how
        What a unit can be mapped to, in words.

    Raises
    ------
    StreamError
        If units are missing, or two are in one place.
    """
    places: list[Key] = []
    missing: list[str] = []
    for unit in units:
        name = named.get(unit, unit)
        place = listed.get(name)
        if place is None and key_of is not None and (unit in named or not listed):
            place = key_of(name)
        if place is None:
            missing.append(unit if unit == name else f"{unit} (mapped to {name})")
        else:
            places.append(place)
    who = f"model expects {len(units)} units; {who}"
    if missing:
        lists = f"lists {len(listed)} ({some(list(listed))})" if listed else "lists none by label"
        raise StreamError(
            f"{who} {lists}; missing: {some(missing)}; map each in [input.units] to {how}"
        )
    if len(set(places)) < len(places):
        twice = [u for u, p in zip(units, places, strict=True) if places.count(p) > 1]
        raise StreamError(
            f"{who} has one and the same unit for {some(twice)}; map each to a unit of its own"
        )
    return places


def pair(text: str) -> tuple[int, int] | None:
    """Read ``channel/unit``."""
    channel, unit = (whole(part) for part in text.partition("/")[::2])
    return None if channel is None or unit is None else (channel, unit)


def whole(text: str) -> int | None:
    """Read a whole number of 31 bits."""
    digits = text.strip()
    number = int(digits) if digits.isdecimal() and len(digits) < 20 else _MOST
    return number if number < _MOST else None


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first few, in words."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"

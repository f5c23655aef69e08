"""What the loop says of a second engine that it compares its factors with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bci_lfads_gui.model.health import Level, Light


def shadow_light(content: Mapping[str, Any]) -> Light | None:
    """Return what a message on Status says under ``shadow``; None without it.

    How large a difference may be depends on the two number formats, so a difference alone is no
    warning; windows that the second engine failed in, or that were not compared, are.
    """
    shadow = content.get("shadow")
    if not isinstance(shadow, Mapping) or not shadow:
        return None
    counts = {name: _number(shadow.get(name)) for name in ("compared", "skipped", "failed")}
    words = [
        f"shadow {shadow.get('engine') or 'engine'}: {counts['compared']:.0f} windows compared",
        f"{_number(shadow.get('equal')):.0f} equal to the bit",
        f"largest difference of a factor {_number(shadow.get('largest_difference')):.2g}",
        f"newest {_number(shadow.get('newest_difference')):.2g}",
        f"rms {_number(shadow.get('rms_difference')):.2g}",
    ]
    words += [f"{n:.0f} {name}" for name, n in counts.items() if n and name != "compared"]
    wrong = counts["failed"] or counts["skipped"]
    return Light(Level.WARN if wrong else Level.OK, " · ".join(words))


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0

"""What came of a verification, for programs and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Verification:
    """What came of a verification.

    Attributes
    ----------
    rig, model_hash
        What ran.
    published
        Windows whose factors were published.
    equal
        Of those, equal to the bit to the factors of the recorded spikes.
    not_published
        Windows that were closed and not published, by reason.
    unverified
        Windows that were published and differ, where the reason is known: by reason.
    incomplete
        Windows whose counts differ from those of all recorded spikes, by reason: how many spikes
        of how many windows. The published factors are those of the counts that the loop had.
    facts
        Further numbers: gaps, clock corrections, misses.
    problems
        What no published counter explains, each in words.
    windows
        Of the differences, the first of each reason: trial or start, and how many spikes.
    """

    rig: str
    model_hash: str
    published: int = 0
    equal: int = 0
    not_published: Counter[str] = field(default_factory=Counter)
    unverified: Counter[str] = field(default_factory=Counter)
    incomplete: dict[str, dict[str, int]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether everything is equal, or explained by what was published."""
        return not self.problems and self.published > 0

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "proven": self.proven,
            **vars(self),
            "not_published": dict(self.not_published),
            "unverified": dict(self.unverified),
        }


def in_order(result: Verification) -> Iterator[tuple[str, object]]:
    """Yield what a person wants to read, the verdict first."""
    unverified = sum(result.unverified.values())
    but = f", but for {unverified} windows, for the reason below" if unverified else ""
    yield "verdict", f"proven{but}" if result.proven else "NOT proven"
    yield "published windows", result.published
    yield "equal to the bit", result.equal
    for reason, n in result.not_published.items():
        yield "not published", f"{n} {reason}"
    for reason, n in result.unverified.items():
        yield "published, not verified", f"{n}: {reason}"
    for reason, left_out in result.incomplete.items():
        yield "spikes left out", f"{left_out['spikes']} in {left_out['windows']} windows, {reason}"
    for name, value in result.facts.items():
        if name != "counters":
            yield name.replace("_", " "), value
    for problem in result.problems:
        yield "problem", problem

"""Say what Vitis' reports say: cycles and area by HLS, area and timing after routing.

    python fpga/tools/vitis_report.py BUILD_FOLDER [--json]

Reads every ``*_csynth.xml`` of HLS (UG1399) and every routed utilisation and timing summary of
Vivado (UG906) below the folder. Exit status 1 if there is none, or a routed design misses its
clock.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

TOP = "lfads_kernel"
RESOURCES = ("DSP", "LUT", "FF", "BRAM_18K", "URAM")
_ROUTED = {
    "CLB LUTs": "LUT", "CLB Registers": "FF", "Block RAM Tile": "BRAM tiles", "URAM": "URAM",
    "DSPs": "DSP",
}  # fmt: skip


def synthesis(path: Path) -> dict[str, Any]:
    """Return what HLS says of one function.

    Parameters
    ----------
    path
        Its report, ``NAME_csynth.xml``.

    Returns
    -------
    ``function``; ``clock_ns``, estimated; ``target_ns``; ``cycles`` best and worst, and
    ``interval``, None where a loop has no bound; ``used`` and ``available`` by resource.

    Raises
    ------
    ValueError
        If it is no such report.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - of one's own build
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not XML: {error}") from error
    latency = root.find("PerformanceEstimates/SummaryOfOverallLatency")
    used, available = (
        root.find("AreaEstimates/Resources"),
        root.find("AreaEstimates/AvailableResources"),
    )
    if latency is None or used is None:
        raise ValueError(f"{path} is not a synthesis report of HLS: it has no latency or no area")
    return {
        "function": path.name.removesuffix("_csynth.xml"),
        "target_ns": _number(root.findtext("UserAssignments/TargetClockPeriod")),
        "clock_ns": _number(
            root.findtext("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")
        ),
        "cycles": [_number(latency.findtext(f"{w}-caseLatency")) for w in ("Best", "Worst")],
        "interval": _number(latency.findtext("Interval-max")),
        "used": {r: _number(used.findtext(r)) for r in RESOURCES},
        "available": {
            r: None if available is None else _number(available.findtext(r)) for r in RESOURCES
        },
    }


def timing(text: str) -> dict[str, float] | None:
    """Return the worst slacks of a routed timing summary, ns; None where the text is none."""
    # WNS, TNS, its failing and all endpoints, WHS, and more that is not needed.
    found = re.search(
        r"^\s*WNS\(ns\)\s.*\n[\s-]+\n\s*(\S+)\s+\S+\s+\d+\s+\d+\s+(\S+)", text, re.MULTILINE
    )
    return {"setup_ns": float(found[1]), "hold_ns": float(found[2])} if found else None


def utilisation(text: str) -> dict[str, float]:
    """Return what a routed utilisation report counts, by resource."""
    counts: dict[str, float] = {}
    for row in re.finditer(r"^\|\s*([^|]+?)\*?\s*\|\s*([\d.]+)\s*\|", text, re.MULTILINE):
        name = _ROUTED.get(row.group(1).strip())
        if name is not None and name not in counts:
            counts[name] = float(row.group(2))
    return counts


def reports(folder: Path) -> dict[str, Any]:
    """Return everything found below a folder."""
    top_first = sorted(folder.rglob("*_csynth.xml"), key=lambda p: (not p.name.startswith(TOP), p))
    functions = [synthesis(p) for p in top_first]
    routed = [
        {"file": str(path.relative_to(folder)), **found}
        for path in sorted(folder.rglob("*timing_summary*routed*.rpt"))
        if (found := timing(path.read_text(errors="replace"))) is not None
    ]
    used = [
        {"file": str(path.relative_to(folder)), **found}
        for path in sorted(folder.rglob("*util*routed*.rpt"))
        if (found := utilisation(path.read_text(errors="replace")))
    ]
    return {"functions": functions, "timing": routed, "utilisation": used}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table in words."""
    if found["functions"]:
        yield f"{'HLS, estimated':<40}{'cycles':>16}{'clock, ns':>12}" + "".join(
            f"{r:>16}" for r in RESOURCES
        )
    for f in found["functions"]:
        best, worst = ("?" if c is None else f"{c:.0f}" for c in f["cycles"])
        clock = "?" if f["clock_ns"] is None else f"{f['clock_ns']:.2f}"
        yield f"{f['function'][:39]:<40}{f'{best} to {worst}':>16}{clock:>12}" + "".join(
            f"{_share(f['used'][r], f['available'][r]):>16}" for r in RESOURCES
        )
    for t in found["timing"]:
        met = "met" if t["setup_ns"] >= 0 and t["hold_ns"] >= 0 else "NOT met"
        yield (
            f"routed: timing {met}, worst setup slack {t['setup_ns']:.3f} ns, hold "
            f"{t['hold_ns']:.3f} ns ({t['file']})"
        )
    for u in found["utilisation"]:
        counts = ", ".join(f"{v:,.0f} {k}" for k, v in u.items() if k != "file")
        yield f"routed: {counts} ({u['file']})"


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        found = reports(arguments.folder)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not any(found.values()):
        sys.stderr.write(
            f"no report of Vitis is below {arguments.folder}; make them: make -C fpga csynth\n"
        )
        return 1
    sys.stdout.write(json.dumps(found, indent=2) if arguments.json else "\n".join(lines(found)))
    sys.stdout.write("\n")
    return int(any(min(t["setup_ns"], t["hold_ns"]) < 0 for t in found["timing"]))


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None  # "undef": a loop without a bound


def _share(used: float | None, available: float | None) -> str:
    if used is None:
        return "?"
    return f"{used:,.0f} ({used / available:.0%})" if available else f"{used:,.0f}"


if __name__ == "__main__":
    sys.exit(main())

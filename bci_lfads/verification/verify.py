"""Published factors against those of the recorded spikes, and the reason for every difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines import open_engine
from bci_lfads.engines.base import Engine, Latents
from bci_lfads.errors import ModelError
from bci_lfads.models.model import Model
from bci_lfads.parts import as_masked
from bci_lfads.rig import Rig, TrialSettings
from bci_lfads.streams.outlets import LATENCY_CHANNELS
from bci_lfads.verification.inputs import COLUMN, NEVER, RunInput
from bci_lfads.verification.lookup import Expected, Published
from bci_lfads.verification.report import Verification
from bci_lfads.verification.rerun import MOMENT, Rerun
from bci_lfads.verification.session import RecordedRun
from bci_lfads.windows import Window

_BATCH = 128
_LISTED = 20  # windows named in a report, for each reason
_ALWAYS = ("received", "outside", "unknown", "invalid", "ahead", "saturated")
# Of trials these depend on when exactly spikes came, within a step of the journal.
_DIFFERS = "window(s) whose published factors are not those of the recorded spikes"
_LACKING = "window(s) of whose input the recording lacks samples"
_AT_LOSS = "the recording lacks samples from around a loss of their source"
_AT_END = "not all of their samples are recorded: the run or its recording was killed"
_KNOWN = (_AT_LOSS, _AT_END)  # where a difference proves nothing
_SLIDING = ("kept", "late", "unordered", "overwritten")


@dataclass
class _Closed:
    """What is kept of a window until its batch is inferred."""

    trial: int
    start: float
    end: float
    doubt: str
    numbered: bool
    """Whether the trial has the number that it had in the run."""


def verify(
    run: RecordedRun, model: Model, *, on_window: Callable[[int], None] | None = None
) -> Verification:
    """Recompute a run's factors from its recorded spikes and compare.

    Parameters
    ----------
    run
        As recorded.
    model
        The model that ran.
    on_window
        Called with the number of windows done.

    Raises
    ------
    ModelError
        If it is another model than the one that ran.
    """
    about = run.about
    model = as_masked(about.rig, model)
    if model.hash != about.model_hash:
        raise ModelError(
            f"the run used model {about.model_hash[:12]}…, this is {model.hash[:12]}…; give the "
            f"file that the run used (it was called {about.rig.model.name})"
        )
    result = Verification(about.rig.name, model.hash)
    if about.rig.engine == "torch":
        result.facts["engine"] = "torch: floats depend on its version and threads"
    # A card computes the same integers as the native engine, so no card is needed here.
    name = "torch" if about.rig.engine == "torch" else "native"
    with open_engine(name, model) as engine:
        _Comparison(run, model, engine, result).run(on_window)
    return result


class _Comparison:
    def __init__(
        self, run: RecordedRun, model: Model, engine: Engine, result: Verification
    ) -> None:
        self._run, self._model, self._engine = run, model, engine
        self._source = RunInput(run)
        self._rerun = Rerun(self._source, model)
        self._lost = np.flatnonzero(self._rerun.lost)
        self._newest = _newest_by(self._source.rows)
        self._rig: Rig = run.about.rig
        self._hop = run.about.hop
        self._result = result
        self._published = Published(run, model)
        self._all = self._source.all_spikes()
        self._expected = Expected(self._all, model)
        spec = model.spec
        centres = (np.arange(spec.n_bins_out, dtype=np.float64) + 0.5) * model.bin_width
        self._centres: NDArray[np.float64] = centres
        self._counts = np.zeros((_BATCH, spec.n_bins, spec.n_units), np.uint8)
        self._batch: list[_Closed] = []
        self._missing: list[_Closed] = []
        self._done = 0

    def run(self, on_window: Callable[[int], None] | None) -> None:
        keeps = getattr(self._rig.window, "truncated", "drop") == "publish"
        for window in self._rerun:
            closed = _Closed(
                window.trial, window.start, window.stop, self._doubt(window.start),
                not self._rerun.markers_lost[self._rerun.row],
            )  # fmt: skip
            if window.truncated and not keeps:
                self._result.not_published["truncated, and the rig drops those"] += 1
                continue
            self._compare_counts(window, closed)
            self._counts[len(self._batch)] = window.counts
            self._batch.append(closed)
            if len(self._batch) == _BATCH:
                self._infer()
                if on_window is not None:
                    on_window(self._done)
        self._infer()
        if on_window is not None:
            on_window(self._done)
        self._conclude()

    def _doubt(self, start: float) -> str:
        """Say why the recording may lack samples of a window that has just closed, if it may."""
        lost = self._lost[self._lost <= self._rerun.row]
        if not len(lost):
            return ""
        at = lost[~(self._newest[lost] < start)]
        if not len(at):
            return ""
        at_loss, at_end = self._rerun.at_loss[at], self._rerun.at_end[at]
        if not (at_loss | at_end).all():
            return _LACKING
        return _AT_LOSS if at_loss.all() else _AT_END

    def _compare_counts(self, window: Window, closed: _Closed) -> None:
        """Note spikes that were recorded and are not in the window, and why."""
        expected, rows = self._expected.of(window, self._rerun.era)
        missing = int(expected.astype(np.int64).sum() - window.counts.astype(np.int64).sum())
        if (expected == window.counts).all() or closed.doubt:
            return
        never = int(np.count_nonzero(rows == NEVER))
        for reason, n in (
            ("sent while the loop was not connected", never),
            (f"late: came more than the hold-off ({self._rig.binning.hold_off:g} s) after their "
             "bin, when it was closed", max(0, missing - never)),
        ):  # fmt: skip
            if n:
                counted = self._result.incomplete.setdefault(reason, {"spikes": 0, "windows": 0})
                counted["spikes"] += n
                counted["windows"] += 1
                self._list(closed, reason, n)

    def _infer(self) -> None:
        n = len(self._batch)
        if not n:
            return
        latents = self._engine.infer_batch(self._counts[:n], log_rates=self._run.rates is not None)
        for k, closed in enumerate(self._batch):
            rates = None if latents.log_rates is None else latents.log_rates[k]
            self._check(closed, Latents(latents.factors[k], rates))
        self._done += n
        self._batch.clear()

    def _check(self, closed: _Closed, latents: Latents) -> None:
        new = slice(None) if self._hop is None else slice(len(self._centres) - self._hop, None)
        stamps = np.add(self._centres[new], closed.start)
        found = self._published.take(closed.trial if closed.numbered else None, stamps)
        if found is None:
            self._missing.append(closed)
            return
        self._result.published += 1
        factors, rates, at = found
        same = np.array_equal(factors, latents.factors[new]) and np.array_equal(at, stamps)
        if same and rates is not None and latents.log_rates is not None:
            with np.errstate(over="ignore"):
                same = np.array_equal(rates, np.exp(latents.log_rates[new]))
        if same:
            self._result.equal += 1
            return
        self._list(closed, "published factors differ", int((factors != latents.factors[new]).sum()))
        if closed.doubt in _KNOWN:
            self._result.unverified[closed.doubt] += 1
        else:
            self._problem(closed.doubt or _DIFFERS, closed)

    def _problem(self, what: str, closed: _Closed) -> None:
        where = f"trial {closed.trial}" if self._hop is None else f"the one at {closed.start:.3f} s"
        for k, text in enumerate(self._result.problems):
            if what in text:
                n = int(text.split(" ", 1)[0]) + 1
                self._result.problems[k] = f"{n} {text.split(' ', 1)[1]}"
                return
        self._result.problems.append(f"1 {what}; the first is {where}")

    def _list(self, closed: _Closed, reason: str, n: int) -> None:
        if sum(w["reason"] == reason for w in self._result.windows) < _LISTED:
            self._result.windows.append(
                {"trial": closed.trial, "start": closed.start, "reason": reason, "n": n}
            )

    def _conclude(self) -> None:
        result, status = self._result, (self._run.status or ({},))[-1]
        counters: Mapping[str, Any] = status.get("counters", {})
        self._explain_missing(counters)
        between, after = self._published.rest()
        if after and not self._run.stopped and self._ends_together():
            result.facts["samples_after_the_journal"] = after
            after = 0
        # A trial whose marker is lacking cannot be cut again.
        trials, unmarked = self._published.trials_between(), self._rerun.markers_lost[-1:].sum()
        if trials and trials <= unmarked and self._rerun.at_loss.all():
            result.published += trials
            result.unverified[_AT_LOSS] += trials
            between = 0
        if between + after:
            result.problems.append(
                f"{between + after} published samples belong to no window that the journal closes"
            )
        rates = self._run.rates
        if self._run.stopped and rates is not None and len(rates.stamps) != self._published.n:
            result.problems.append(
                f"{len(rates.stamps)} samples of rates were published with {self._published.n} of "
                "factors"
            )
        lost = int(self._rerun.lost[~(self._rerun.at_loss | self._rerun.at_end)].sum())
        if lost:
            result.problems.append(
                f"{lost} samples that the loop took are not in the recording: it began later than "
                "the loop, or fell behind"
            )
        if counters.get("journal_lost"):
            result.problems.append(f"{counters['journal_lost']} rows of the journal are missing")
        if self._run.stopped and not self._rerun.lost.any():
            self._compare_counters(counters)
        gaps = self._source.gaps()
        added = 1e3 * self._source.corrections()
        result.facts |= {
            "samples_lacking": int(self._rerun.lost.sum()),
            "ended": "in good order" if self._run.stopped else "without a word",
            "recording": "cut off at its end" if self._run.cut_off else "whole",
            "windows_closed": self._done + sum(result.not_published.values()),
            "spikes_recorded": int(self._all.counts.sum()),
            "spikes_taken": int(self._all.counts[self._all.row != NEVER].sum()),
            "gaps_s": [[round(a, 3), round(b, 3)] for a, b in gaps],
            "clock_corrections": len(added),
            "clock_correction_ms": [float(added.min()), float(added.max())] if len(added) else None,
            "counters": dict(counters),
        }
        if not result.published:
            result.problems.append("no window was published: there is nothing to compare")
        elif result.published == sum(result.unverified.values()):
            result.problems.append("none of the windows could be verified")

    def _ends_together(self) -> bool:
        """Return whether the journal of a run without an end goes on to its last factors."""
        pushed = self._run.latency.values[:, LATENCY_CHANNELS.index("pushed")]
        last = self._source.journal_stamps.max(initial=-np.inf)
        return bool(pushed.max(initial=-np.inf) <= last + MOMENT)

    def _explain_missing(self, counters: Mapping[str, Any]) -> None:
        """Say why windows that were closed were not published."""
        result, missing = self._result, self._missing
        last = self._published.last_end
        if not self._run.stopped:
            # What waited, or was computed, when the run or its recording was ended.
            late = [w for w in missing if w.end > last]
            if late:
                result.not_published["on their way when the run or its recording ended"] += len(
                    late
                )
            missing = [w for w in missing if w.end <= last]
        result.not_published.update(w.doubt for w in missing if w.doubt in _KNOWN)
        missing = [w for w in missing if w.doubt not in _KNOWN]
        known = {
            "dropped: the queue was full": int(counters.get("dropped", 0)),
            "failed in the engine": int(counters.get("engine_errors", 0)),
        }
        left = len(missing)
        for reason, n in known.items():
            n = min(n, left)
            if n:
                result.not_published[reason] += n
                left -= n
        if left:
            first = missing[0]
            result.problems.append(
                f"{left} windows were closed and not published, and no counter says why; the "
                f"first at {first.start:.3f} s"
            )

    def _compare_counters(self, counters: Mapping[str, Any]) -> None:
        windows = self._rerun.windows
        names = _ALWAYS if isinstance(self._rig.window, TrialSettings) else _ALWAYS + _SLIDING
        again = {f"spikes.{k}": getattr(windows.tally, k) for k in names}
        again |= {
            f"trials.{k}": v for k, v in vars(windows.counters).items() if k != "late_markers"
        }
        again["windows"] = self._result.published
        for name, value in again.items():
            group, _, key = name.rpartition(".")
            said = (counters.get(group, {}) if group else counters).get(key)
            if said != value:
                self._result.problems.append(f"the counter {name} was {said}, again it is {value}")


def _newest_by(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, of each row, a stamp that no sample taken by then is after; NaN before the first.

    A row tells the stamp of its last sample, which need not be its newest: so the next one counts.
    """
    stamps = np.fmax(rows[:, COLUMN["spike_stamp"]], rows[:, COLUMN["marker_stamp"]])
    result: NDArray[np.float64] = np.fmax.accumulate(np.append(stamps[1:], stamps[-1:]))
    return result

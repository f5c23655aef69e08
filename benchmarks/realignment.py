"""What turnover of units costs a decoder of the factors, and how much realigning gives back.

The decoder is fitted on factors of the model's own units and never again. In the simulation units
are replaced by others with tuning of their own, under the old labels. In a real recording
(``--real``, trials with one of eight directions) the model is trained on a part of the units in the
first half, and in the second half some of them are replaced by real units that it has never seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import markdown
from numpy.typing import NDArray

from bci_lfads.demo import bundled
from bci_lfads.engines import open_engine
from bci_lfads.models.model import Model
from bci_lfads.models.realign import RealignSettings, realign
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import Recording, SpikeEvents, read
from bci_lfads.recordings.simulate import Lorenz, gather

TASK = Lorenz(
    n_units=48, trial_length=0.73, gap=(0.2, 0.5), rate=12.0, speed=2.0, population_seed=2402
)
Score = Callable[[Model, NDArray[np.uint8]], float]


def factors_of(model: Model, counts: NDArray[np.uint8]) -> NDArray[np.float64]:
    with open_engine("native", model) as engine:
        factors = infer_all(engine, counts).factors
    return np.concatenate([factors, np.ones((*factors.shape[:2], 1))], axis=-1)


def turned_over(seed: int, n_trials: int, share: float, draw: int) -> Recording:
    """Return a day on which some units are others, with the same latents."""
    task = replace(TASK, seed=seed)
    day = gather(task.blocks(), n_trials)
    others = gather(replace(task, population_seed=9000 + draw).blocks(), n_trials)
    np.testing.assert_array_equal(day.series["latents"].values, others.series["latents"].values)
    rng = np.random.default_rng(draw)
    gone = np.zeros(day.n_units, bool)
    gone[rng.choice(day.n_units, round(share * day.n_units), replace=False)] = True
    parts = [(r.spikes.times[m], r.spikes.units[m]) for r, m in (
        (day, ~gone[day.spikes.units]), (others, gone[others.spikes.units]))]  # fmt: skip
    times, units = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    order = np.argsort(times, kind="stable")
    return replace(day, spikes=SpikeEvents(times[order], units[order]))


def windows(recording: Recording, model: Model) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    batch = cut(recording, model)
    series = recording.series["latents"]
    times = batch.starts[:, None] + batch.bin_width * (np.arange(model.spec.n_bins) + 0.5)
    nearest = np.searchsorted(0.5 * (series.times[1:] + series.times[:-1]), times)
    return batch.counts, series.values[nearest].astype(np.float64)


def simulated(
    draws: range, shares: list[float], steps: int, n_today: int = 120, n_scored: int = 60
) -> list[list[str]]:
    model = Model.load(bundled("demo_model.safetensors"))
    reference, latents = windows(gather(replace(TASK, seed=1).blocks(), 200), model)
    x = factors_of(model, reference)
    weights = np.linalg.lstsq(
        x.reshape(-1, x.shape[-1]), latents.reshape(-1, latents.shape[-1]), rcond=None
    )[0]

    def r2(some: Model, counts: NDArray[np.uint8], true: NDArray[np.float64]) -> float:
        rest = ((true - factors_of(some, counts) @ weights) ** 2).sum(axis=(0, 1))
        return float((1 - rest / ((true - true.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1))).mean())

    rows = []
    for share in shares:
        for draw in draws:
            seed = 500 + draw
            counts, true = windows(turned_over(seed, n_today + n_scored, share, draw), model)
            same, _ = windows(gather(replace(TASK, seed=seed).blocks(), n_today + n_scored), model)
            found = realign(
                model, counts[:n_today], model.unit_labels, reference, RealignSettings(steps=steps)
            )
            scored = slice(n_today, None)
            scores = (
                r2(model, same[scored], true[scored]),
                r2(model, counts[scored], true[scored]),
                r2(found.model, counts[scored], true[scored]),
            )
            rows.append(row(f"{share:.0%}, draw {draw}", *scores))
            print(" | ".join(rows[-1]), flush=True)  # noqa: T201
    return rows


def row(what: str, before: float, lost: float, regained: float) -> list[str]:
    share = (regained - lost) / (before - lost)
    return [what, f"{before:.3f}", f"{lost:.3f}", f"{regained:.3f}", f"{share:.0%}"]


class Directions:
    """Direction of a trial from its factors: ridge on the mean of each tenth of the window."""

    def __init__(self, factors: NDArray[np.float64], labels: NDArray[np.str_]) -> None:
        self._kinds = np.unique(labels)
        x = self._features(factors)
        self._mean, self._scale = x.mean(axis=0), x.std(axis=0) + 1e-9
        z = self._standard(x)
        target = (labels[:, None] == self._kinds) - 1 / len(self._kinds)
        penalty = 1e-2 * len(z) * np.eye(z.shape[1])
        self._weights = np.linalg.solve(z.T @ z + penalty, z.T @ target)

    def accuracy(self, factors: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
        found = (self._standard(self._features(factors)) @ self._weights).argmax(axis=1)
        return float((self._kinds[found] == labels).mean())

    def _features(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        n, n_bins = factors.shape[:2]
        tenth = n_bins // 10
        kept = factors[:, : 10 * tenth, :-1]
        return kept.reshape(n, 10, tenth, -1).mean(axis=2).reshape(n, -1)

    def _standard(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x - self._mean) / self._scale


def real(path: Path, draws: range, steps: int, epochs: int) -> list[list[str]]:
    from bci_lfads.fitting import Sizes, fit_model
    from bci_lfads.models.history import TrainingSettings
    from bci_lfads.preparing import prepare
    from bci_lfads.rig import TrialSettings

    recording = read(path)
    labels = np.array(recording.unit_labels)

    def trials(part: str, units: NDArray[np.int64]):
        window = TrialSettings(mode="trials", start=f"trial/{part}/*")
        return prepare(recording, window, 70, 0.01, units=tuple(labels[units]))

    def directions(batch) -> NDArray[np.str_]:
        return np.array([label.rsplit("/", 1)[-1] for label in batch.start_labels])

    rows = []
    for draw in draws:
        rng = np.random.default_rng(draw)
        order = rng.permutation(len(labels))
        n_own = round(len(labels) / 1.3)
        own, spare = np.sort(order[:n_own]), order[n_own:]
        units = own.copy()
        units[rng.choice(n_own, len(spare), replace=False)] = spare
        data = trials("train", own)
        model = fit_model(data, Sizes(factors=10, hidden=64), TrainingSettings(epochs=epochs)).model
        reference = data.batch.counts
        decoder = Directions(factors_of(model, reference), directions(data.batch))
        today = trials("test", units).batch
        same = trials("test", own).batch.counts
        half = rng.permutation(len(today.counts)) % 2 == 0
        found = realign(
            model, today.counts[half], model.unit_labels, reference, RealignSettings(steps=steps)
        )
        true = directions(today)[~half]
        scores = [
            decoder.accuracy(factors_of(some, counts[~half]), true)
            for some, counts in (
                (model, same), (model, today.counts), (found.model, today.counts),
            )
        ]  # fmt: skip
        rows.append(row(f"{len(spare)} of {n_own}, draw {draw}", *scores))
        print(" | ".join(rows[-1]), flush=True)  # noqa: T201
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first", type=int, default=100, help="first draw")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3, 0.5])
    parser.add_argument("--steps", type=int, default=RealignSettings.steps)
    parser.add_argument("--epochs", type=int, default=60, help="of the real recording's model")
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draws = range(options.first, options.first + options.draws)
    if options.real is None:
        head = ["replaced", "R² before", "after turnover", "realigned", "regained"]
        rows = simulated(draws, options.shares, options.steps)
    else:
        head = ["replaced", "accuracy before", "after turnover", "realigned", "regained"]
        rows = real(options.real, draws, options.steps, options.epochs)
    print(markdown([head, *rows]))  # noqa: T201


if __name__ == "__main__":
    main()

"""What dead units cost, by what the model sees of them: zero counts, or their mean rate.

On the bundled simulation, whose latents are known: R² of the latents read out of the factors by a
linear map that was fitted with all units there, median (and least) over draws of the dead units.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import markdown

from bci_lfads.demo import bundled
from bci_lfads.engines import open_engine
from bci_lfads.models.masking import mask_units
from bci_lfads.models.model import Model
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args().draws
    model, recording = Model.load(bundled("demo_model.safetensors")), read(bundled("demo.npz"))
    batch = cut(recording, model)
    series = recording.series["latents"]
    times = batch.starts[:, None] + batch.bin_width * (np.arange(model.spec.n_bins) + 0.5)
    nearest = np.searchsorted(0.5 * (series.times[1:] + series.times[:-1]), times)
    latents = series.values[nearest].astype(np.float64)
    # Of the whole recording, as training would note them in the model.
    rates = np.bincount(recording.spikes.units, minlength=recording.n_units) / recording.duration
    rates = rates[[recording.unit_labels.index(u) for u in model.unit_labels]]

    def with_one(factors: np.ndarray) -> np.ndarray:
        return np.concatenate([factors, np.ones((*factors.shape[:2], 1))], axis=-1)

    def factors_of(some: Model, counts: np.ndarray) -> np.ndarray:
        with open_engine("native", some) as engine:
            return with_one(infer_all(engine, counts).factors)

    x = factors_of(model, batch.counts)
    weights = np.linalg.lstsq(
        x.reshape(-1, x.shape[-1]), latents.reshape(-1, latents.shape[-1]), rcond=None
    )[0]

    def score(some: Model, counts: np.ndarray) -> float:
        rest = ((latents - factors_of(some, counts) @ weights) ** 2).sum(axis=(0, 1))
        spread = ((latents - latents.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1))
        return float((1 - rest / spread).mean())

    rng = np.random.default_rng(0)
    rows = [["dead units", "zero counts", "mean rate"]]
    rows.append(["none", f"{score(model, batch.counts):.3f}", ""])
    for share in (0.1, 0.2, 0.3, 0.5):
        found = []
        for _ in range(draws):
            dead = rng.choice(len(model.unit_labels), round(share * len(rates)), replace=False)
            labels = [model.unit_labels[k] for k in dead]
            counts = batch.counts.copy()
            counts[..., dead] = 0
            found.append(
                (score(model, counts), score(mask_units(model, labels, rates.tolist()), counts))
            )
        low, middle = np.min(found, axis=0), np.median(found, axis=0)
        rows.append(
            [f"{share:.0%}", *(f"{m:.3f} ({a:.3f})" for m, a in zip(middle, low, strict=True))]
        )
    print(markdown(rows))  # noqa: T201


if __name__ == "__main__":
    main()

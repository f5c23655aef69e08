"""Make the demo's recording and model: simulate, train, score, write.

From the repository's root, where the package is installed with its extra ``train``::

    python replay_data/make_demo.py

It writes ``demo.npz`` (the recording that the demo replays) and ``demo_model.safetensors``
beside this file, or to the folder that ``--folder`` names. The model is trained on another
recording of the same simulated population, with other orbits and other spikes; of the bundled
recording it sees nothing.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.logging import RichHandler

from bci_lfads.about import RATES
from bci_lfads.cli.show import progress
from bci_lfads.engines import open_engine
from bci_lfads.fitting import rates_text
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.check import check_model
from bci_lfads.models.history import Epoch, TrainingSettings
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.models.training import train
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import Recording, write
from bci_lfads.recordings.simulate import Lorenz, gather
from bci_lfads.rig import SlidingSettings
from bci_lfads.windows import TrialWindows, WindowBatch, stack, windows_of

HERE = Path(__file__).resolve().parent
COMMAND = "python replay_data/make_demo.py"
BIN_WIDTH = 0.01
TASK = Lorenz(
    n_units=48, trial_length=0.73, gap=(0.2, 0.5), rate=12.0, speed=2.0, population_seed=2402
)
DEMO_SEED, TRAINING_SEED, VALIDATION_SEED, TORCH_SEED = 4274, 1, 2, 0
N_DEMO, N_TRAINING, N_VALIDATION = 36, 4000, 300
SPEC = LfadsSpec(n_units=48, n_bins=73, encoder_size=64, ic_size=64, generator_size=64, n_factors=4)
ALIGNMENT = Alignment(start="trial/start")
_log = logging.getLogger("make_demo")


def main() -> None:
    """Make the recording and the model, and log the scores that README.md gives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=HERE)
    options = parser.parse_args()
    recording_path = options.folder / "demo.npz"
    model_path = options.folder / "demo_model.safetensors"
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    # Sums depend on the number of threads; one gives the same weights whatever the cores, and is
    # as fast at this size.
    torch.set_num_threads(1)
    recording = simulate(DEMO_SEED, N_DEMO)
    write(without_rates(recording), recording_path)
    _log.info(
        "demo.npz: %.1f s, %d units, %d spikes, %d bytes", recording.duration, recording.n_units,
        recording.n_spikes, recording_path.stat().st_size,
    )  # fmt: skip
    begun = time.monotonic()
    taught = simulate(TRAINING_SEED, N_TRAINING)
    training, train_latents = trials(taught)
    validation, _ = trials(simulate(VALIDATION_SEED, N_VALIDATION))
    weights = fit(training.counts, validation.counts, options.epochs)
    model = Model.from_weights(
        SPEC, weights, unit_labels=recording.unit_labels, bin_width=BIN_WIDTH,
        calibration=training.counts[:256], alignment=ALIGNMENT,
    )  # fmt: skip
    _log.info("trained in %.0f s", time.monotonic() - begun)
    scores = score(model, training.counts[:1000], train_latents[:1000], recording)
    for name, value in scores.items():
        _log.info("%s: %s", name, value)
    provenance = {
        "command": COMMAND,
        "data": f"simulated Lorenz system, {N_TRAINING} trials, population seed "
        f"{TASK.population_seed}, seed {TRAINING_SEED}",
        "epochs": str(options.epochs),
        "torch_seed": str(TORCH_SEED),
        "torch": torch.__version__,
        RATES: rates_text(taught),
        **scores,
    }
    replace(model, provenance=provenance).save(model_path)
    _log.info("demo_model.safetensors: %d bytes, %s", model_path.stat().st_size, model.hash)


def simulate(seed: int, n_trials: int) -> Recording:
    """Return trials of the demo's population."""
    recording = gather(replace(TASK, seed=seed).blocks(), n_trials)
    return replace(recording, name=f"simulated Lorenz system, seed {seed}")


def without_rates(recording: Recording) -> Recording:
    """Return the recording with its latents as the only series, which keeps the file small."""
    return replace(recording, series={"latents": recording.series["latents"]})


def trials(recording: Recording) -> tuple[WindowBatch, NDArray[np.float64]]:
    """Cut trials as the loop does, with the true latents at the middle of every bin.

    Returns
    -------
    batch : WindowBatch
    latents : ndarray
        Shape ``(n_trials, n_bins, 3)``.
    """
    windows = TrialWindows(
        recording.n_units, SPEC.n_bins, BIN_WIDTH, start=ALIGNMENT.start,
        capacity=recording.n_spikes + 1,
    )  # fmt: skip
    batch = stack(windows_of(recording, windows))
    return batch, latents_of(recording, batch)


def latents_of(recording: Recording, batch: WindowBatch) -> NDArray[np.float64]:
    """Return the true latents nearest to the middle of every bin of every window."""
    middle = batch.starts[:, None] + BIN_WIDTH * (np.arange(SPEC.n_bins) + 0.5)
    true = recording.series["latents"]
    # The nearest sample, not one between two: the next trial begins somewhere else.
    nearest = np.searchsorted(0.5 * (true.times[1:] + true.times[:-1]), middle)
    return true.values[nearest].astype(np.float64)


def fit(
    counts: NDArray[np.uint8], validation: NDArray[np.uint8], epochs: int
) -> dict[str, NDArray[np.float32]]:
    """Train and return the weights with the best likelihood of the validation trials."""
    settings = TrainingSettings(epochs=epochs, patience=None, keep=0.7, seed=TORCH_SEED)
    with progress("training", epochs) as advance:

        def tell(epoch: Epoch) -> None:
            advance(epoch.epoch)
            if epoch.epoch % 5 == 0 or epoch.epoch == epochs:
                _log.info(
                    "epoch %d: training %.5f, validation %.5f",
                    epoch.epoch, epoch.training, epoch.validation,
                )  # fmt: skip

        return train(SPEC, counts, validation, BIN_WIDTH, settings, on_epoch=tell).weights


def score(
    model: Model,
    train: NDArray[np.uint8],
    train_latents: NDArray[np.float64],
    demo: Recording,
) -> dict[str, str]:
    """Fit factors to the true latents on training trials; score on the demo's windows.

    Sliding windows are scored on their newest bin, with the same fit: those within one orbit, and
    those across the jump from a trial's orbit to the next, of which the training had none.
    """
    batch, latents = trials(demo)
    sliding = cut(demo, model, SlidingSettings(mode="sliding"))
    newest = latents_of(demo, sliding)[:, -1]
    jumps = demo.markers.times[np.array(demo.markers.labels) == "trial/end"]
    first, last = sliding.starts + 1e-6, sliding.starts + BIN_WIDTH * SPEC.n_bins - 1e-6
    whole = np.searchsorted(jumps, first) == np.searchsorted(jumps, last)
    scores = {}
    for name in ("torch", "native"):
        with open_engine(name, model) as engine:
            x, y = infer_all(engine, train).factors, infer_all(engine, batch.counts).factors
            z = infer_all(engine, sliding.counts).factors[:, -1]
        fit = np.linalg.lstsq(_affine(x), train_latents.reshape(-1, 3), rcond=None)[0]
        scores[f"latent_r2_{name}"] = _r2(latents.reshape(-1, 3), _affine(y) @ fit)
        for what, some in (("within", whole), ("across", ~whole)):
            scores[f"latent_r2_sliding_{what}_{name}"] = _r2(newest[some], _affine(z[some]) @ fit)
    check = check_model(model, batch.counts)
    scores["fixed_point_error"] = (
        f"factors: mean {check.factors_mean_error:.4f}, max {check.factors_max_error:.4f}, of "
        f"standard deviation {check.factors_std:.4f}; log-rates: mean "
        f"{check.log_rates_mean_error:.4f}, max {check.log_rates_max_error:.4f}"
    )
    scores["saturated"] = str(sum(check.saturated.values()))
    return scores


def _r2(true: NDArray[np.float64], found: NDArray[np.float64]) -> str:
    """Return R² of all latents together, and of each."""
    rest = ((true - found) ** 2).sum(axis=0)
    spread = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    each = ", ".join(f"{v:.4f}" for v in 1 - rest / spread)
    return f"{1 - rest.sum() / spread.sum():.4f} ({each})"


def _affine(factors: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = factors.reshape(-1, factors.shape[-1]).astype(np.float64)
    return np.column_stack([flat, np.ones(len(flat))])


if __name__ == "__main__":
    main()

"""Windows without a screen, and a rig of its own for each test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from models.float_models import random_float_model, small_spec

from bci_lfads.recordings import write
from bci_lfads.recordings.recording import Markers, Recording, SpikeEvents

N_UNITS, N_BINS, WIDTH = 7, 20, 0.01
UNITS = tuple(f"n{i}" for i in range(N_UNITS))


@dataclass
class Files:
    """A rig file, and a recording for it."""

    name: str
    rig: Path
    sliding: Path
    recording: Path


@pytest.fixture
def files(tmp_path, unique) -> Files:
    model = tmp_path / "m.safetensors"
    random_float_model(small_spec(n_bins=N_BINS), bin_width=WIDTH).save(model)
    head = (
        f'name = "{unique}"\nmodel = "m.safetensors"\n[input.spikes]\nname = "{unique} S"\n'
        f'[input.markers]\nname = "{unique} M"\n[output]\nrates = true\n'
        "[binning]\nhold_off = 0.1\n[loop]\ndeadline = 0.5\n"
    )
    rig, sliding = tmp_path / "rig.toml", tmp_path / "sliding.toml"
    rig.write_text(head + '[window]\nmode = "trials"\nstart = "go/*"\n')
    sliding.write_text(head + '[window]\nmode = "sliding"\n')
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0.0, 60.0, 8000))
    units = rng.integers(0, N_UNITS, 8000).astype(np.int32)
    at = np.arange(0.3, 59.0, 0.4)
    labels = tuple(f"go/{('left', 'right')[k % 2]}" for k in range(len(at)))
    recording = tmp_path / "r.npz"
    write(
        Recording(SpikeEvents(times, units), UNITS, 0.0, 60.0, Markers(at, labels), name="r"),
        recording,
    )
    return Files(unique, rig, sliding, recording)


@pytest.fixture
def window(qtbot, tmp_path) -> Iterator[Callable[..., object]]:
    """Open windows that remember nothing of others; what they started is ended with the test."""
    from qtpy.QtCore import QSettings

    from bci_lfads_gui.app import prepare_plots
    from bci_lfads_gui.controller import Recorder
    from bci_lfads_gui.window import Window

    prepare_plots()
    opened = []

    def make(settings: Path | None = None) -> Window:
        file = settings or tmp_path / f"window{len(opened)}.ini"
        new = Window(QSettings(str(file), QSettings.Format.IniFormat), Recorder(tmp_path / "notes"))
        new.questions.sure = lambda *_: True
        new.questions.about_recording = lambda: "stop"
        new.questions.inform = lambda *_: None
        opened.append(new)
        new.show()
        return new

    yield make
    for one in opened:
        one.close()
        if one.loop.process is not None:
            one.loop.process.end()
        one.deleteLater()

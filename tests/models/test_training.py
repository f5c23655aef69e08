"""Training: it learns, comes out the same, stops when it should, and leaves no trace."""

import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from models.training_cases import BIN_WIDTH, tiny_spec, waves

from bci_lfads.cli.interrupt import in_thread
from bci_lfads.errors import ModelError
from bci_lfads.models import trainer, training
from bci_lfads.models.history import Epoch, TrainingSettings
from bci_lfads.models.module import TrainingModule
from bci_lfads.models.network import LfadsNetwork
from bci_lfads.models.objective import Hidden, loss_of, nll
from bci_lfads.models.reference import infer_float
from bci_lfads.models.training import fit, new_trainer, train

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = TrainingSettings(epochs=12, batch=32, learning_rate=1e-2, warm_up=5)


@pytest.fixture(scope="module")
def trained():
    return train(tiny_spec(), waves(256), waves(64, seed=1), BIN_WIDTH, QUICK)


def test_training_finds_structure_that_mean_rates_do_not_have(trained):
    assert trained.history.best_epoch.bits_per_spike > 0.15
    first, last = trained.history.epochs[0], trained.history.epochs[-1]
    assert last.training < first.training
    assert last.learning_rate < 1e-4


def test_the_weights_kept_are_those_of_the_best_validation_likelihood(trained):
    history = trained.history
    assert history.best_epoch.validation == min(e.validation for e in history.epochs)
    assert [e.epoch for e in history.epochs if e.best][-1] == history.best
    held = waves(64, seed=1).astype(float)
    log_means = infer_float(tiny_spec(), trained.weights, held).log_rates + math.log(BIN_WIDTH)
    value = (np.exp(log_means) - held * log_means).mean()
    assert value == pytest.approx(history.best_epoch.validation, abs=1e-5)


def test_bits_per_spike_count_what_is_won_over_mean_rates(trained):
    held = waves(64, seed=1).astype(float)
    mean = held.mean(axis=(0, 1))
    null = (mean - mean * np.log(mean)).mean()
    bits = (null - trained.history.best_epoch.validation) / held.mean() / math.log(2)
    assert trained.history.best_epoch.bits_per_spike == pytest.approx(bits, abs=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def run(seed: int):
        settings = TrainingSettings(epochs=2, batch=16, seed=seed)
        return train(tiny_spec(), waves(32), waves(16, seed=1), BIN_WIDTH, settings).weights

    first, again, other = run(3), run(3), run(4)
    assert all(np.array_equal(first[k], again[k]) for k in first)
    assert not np.array_equal(first["ic.weight"], other["ic.weight"])


def test_the_random_state_of_others_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny_spec(), waves(16), waves(8), BIN_WIDTH, TrainingSettings(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_training_ends_when_nothing_gets_better():
    settings = TrainingSettings(epochs=50, patience=2, learning_rate=1e-12)
    noise = np.random.default_rng(0).poisson(0.5, (32, 10, 6)).astype(np.uint8)
    history = train(tiny_spec(), noise, noise[::-1][:8], BIN_WIDTH, settings).history
    assert len(history.epochs) == history.best + 2 < 50
    assert history.ended == "no better likelihood in 2 epochs"


@pytest.mark.parametrize("call", [lambda action: action(), in_thread])
def test_an_interrupted_training_gives_the_best_so_far(call):
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    data = tiny_spec(), waves(32), waves(16, seed=1), BIN_WIDTH
    result = call(lambda: train(*data, QUICK, on_epoch=interrupt))
    assert len(result.history.epochs) == 2
    assert result.history.ended == "interrupted after 2 epochs"


def test_training_goes_on_from_given_weights(trained):
    settings = TrainingSettings(epochs=1, learning_rate=1e-9)
    again = train(
        tiny_spec(), waves(64), waves(64, seed=1), BIN_WIDTH, settings, start=trained.weights
    )
    for name, value in trained.weights.items():
        np.testing.assert_allclose(again.weights[name], value, atol=1e-6)
    best = trained.history.best_epoch.validation
    assert [e.epoch for e in again.history.epochs] == [0, 1]
    assert math.isnan(again.history.epochs[0].training)
    assert again.history.epochs[0].validation == pytest.approx(best, abs=1e-6)
    assert again.history.best_epoch.validation == pytest.approx(best, abs=1e-5)


def test_weights_that_training_makes_worse_stay_as_they_were(trained):
    settings = TrainingSettings(epochs=2, learning_rate=1.0, warm_up=0)
    again = train(
        tiny_spec(), waves(64), waves(64, seed=1), BIN_WIDTH, settings, start=trained.weights
    )
    assert again.history.best == 0
    assert all(np.array_equal(again.weights[k], v) for k, v in trained.weights.items())


@pytest.mark.parametrize(
    "form",
    [
        {"gru": "reset_before", "activation": "hard", "ic_map": "linear", "ic_size": 4},
        {"n_ahead": 2, "cell_clip": 2.0},
        {"quantisers": {}, "activation": "hard"},
    ],
)
def test_every_form_is_trained(form: dict[str, Any]):
    settings = TrainingSettings(epochs=20, batch=16, learning_rate=1e-2)
    spec = tiny_spec(**form)
    longer = tiny_spec(n_bins=spec.n_bins_out)
    counts, held = waves(64, longer), waves(16, longer, seed=1)
    result = train(spec, counts, held, BIN_WIDTH, settings)
    epochs = result.history.epochs
    assert epochs[-1].validation < epochs[0].validation


def test_the_loss_is_taken_on_counts_that_the_encoder_does_not_see():
    """A network that passes its input on gains nothing: what it sees is not scored."""
    spec = tiny_spec()
    inputs = []

    class Passing(torch.nn.Module):
        def forward(self, x):
            inputs.append(x)
            return None, torch.where(x > 0, 5.0, -5.0)

    y = torch.ones(8, spec.n_bins, spec.n_units)
    torch.manual_seed(0)
    loss = loss_of(Passing(), y, spec.n_bins, 0.7, 0.0)[0]
    assert float(loss) == pytest.approx(math.exp(-5.0) + 5.0, rel=1e-5)
    seen = inputs[0] > 0
    assert 0.6 < float(seen.float().mean()) < 0.8
    assert torch.allclose(inputs[0][seen], torch.tensor(1 / 0.7))


def test_without_dropout_everything_is_seen_and_scored():
    net = LfadsNetwork(tiny_spec())
    y = torch.from_numpy(waves(4)).float()
    whole = nll(net(y)[1], y, math.log(BIN_WIDTH)).mean()
    loss = loss_of(net, y, 10, 1.0, math.log(BIN_WIDTH))[0]
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)


@pytest.mark.parametrize("keep", [0.7, 1.0])
def test_samples_for_validation_are_neither_seen_nor_scored(keep):
    spec = tiny_spec(n_ahead=2)
    y = torch.full((8, spec.n_bins_out, spec.n_units), 3.0)
    hidden = Hidden.drawn(y[:, : spec.n_bins], 0.25)
    assert 0.15 < float(hidden.mask.float().mean()) < 0.35
    inputs = []

    class Constant(torch.nn.Module):
        def forward(self, x):
            inputs.append(x)
            return None, torch.ones(8, spec.n_bins_out, spec.n_units)

    torch.manual_seed(0)
    before = loss_of(Constant(), y, spec.n_bins, keep, 0.0, hidden)[0]
    assert not inputs[0][hidden.mask].any()
    seen = inputs[0] > 0
    assert torch.allclose(inputs[0][seen], torch.tensor(3.0 / keep / 0.75))
    # Whatever they are, nothing that training computes follows from them; what is ahead does.
    other = y.clone()
    other[:, : spec.n_bins][hidden.mask] = 200.0
    torch.manual_seed(0)
    assert loss_of(Constant(), other, spec.n_bins, keep, 0.0, hidden)[0] == before
    assert torch.equal(inputs[0], inputs[1])
    other[:, spec.n_bins :] = 9.0
    torch.manual_seed(0)
    assert loss_of(Constant(), other, spec.n_bins, keep, 0.0, hidden)[0] != before


def test_sample_validation_judges_epochs_by_counts_that_were_never_shown():
    settings = replace(QUICK, sample_validation=0.2, epochs=6)
    counts, held = waves(64), waves(16, seed=1)
    result = train(tiny_spec(), counts, held, BIN_WIDTH, settings)
    epochs = result.history.epochs
    assert result.history.best_epoch.samples == min(e.samples for e in epochs)
    assert all(e.judged == e.samples for e in epochs)
    # The kept weights give that number, computed here by another route.
    mask = Hidden.drawn(torch.from_numpy(counts), 0.2).mask.numpy()
    shown = np.where(mask, 0.0, counts) / 0.8
    log_means = infer_float(tiny_spec(), result.weights, shown).log_rates + math.log(BIN_WIDTH)
    each = np.exp(log_means) - counts * log_means
    assert each[mask].mean() == pytest.approx(result.history.best_epoch.samples, abs=1e-5)
    # Members of a population must not be judged by what others were trained on.
    other = train(tiny_spec(), counts, held, BIN_WIDTH, replace(settings, seed=5, epochs=1))
    assert other.history.epochs[0].samples != epochs[0].samples
    with pytest.raises(ModelError, match="none or all"):
        train(
            tiny_spec(), counts, held, BIN_WIDTH, replace(settings, sample_validation=1e-9)
        )  # fmt: skip


def test_a_silent_unit_starts_at_a_rate_that_has_a_logarithm():
    counts = waves(16)
    counts[:, :, 2] = 0
    result = train(tiny_spec(), counts, counts, BIN_WIDTH, TrainingSettings(epochs=1))
    assert np.isfinite(result.weights["rates.bias"]).all()


def test_a_training_that_diverges_says_so():
    settings = TrainingSettings(epochs=3, learning_rate=1e30, warm_up=0, max_gradient=1e30)
    with pytest.raises(ModelError, match="smaller learning rate than 1e\\+30"):
        train(tiny_spec(), waves(64), waves(8), BIN_WIDTH, settings)


def test_counts_of_another_shape_or_without_spikes_are_refused():
    with pytest.raises(ModelError, match="training counts should be uint8 of shape"):
        train(tiny_spec(n_units=5), waves(8), waves(8), BIN_WIDTH)
    with pytest.raises(ModelError, match="the 8 validation windows hold no spike"):
        train(tiny_spec(), waves(8), 0 * waves(8), BIN_WIDTH)


def test_settings_out_of_range_are_named():
    with pytest.raises(ModelError, match=r"epochs is 0, keep is 1\.5"):
        TrainingSettings(epochs=0, keep=1.5)


def test_bins_ahead_are_learnt_and_not_seen():
    spec, whole = tiny_spec(n_ahead=4), tiny_spec(n_bins=14)
    counts = waves(16, whole)
    inputs = []

    class Watching(LfadsNetwork):
        def forward(self, x):
            inputs.append(x)
            return super().forward(x)

    fit(Watching(spec), counts, counts[:4], BIN_WIDTH, TrainingSettings(epochs=1, batch=16))
    assert {x.shape[1] for x in inputs} == {10}
    net = LfadsNetwork(spec)
    y = torch.from_numpy(counts).float()
    torch.manual_seed(1)
    loss = loss_of(net, y, 10, 0.7, math.log(BIN_WIDTH))[0]
    torch.manual_seed(1)
    seen = (torch.rand(16, 10, 6) < 0.7).float()
    each = nll(net(y[:, :10] * seen / 0.7)[1], y, math.log(BIN_WIDTH))
    unseen = torch.cat([1 - seen, torch.ones(16, 4, 6)], dim=1)
    assert loss.item() == pytest.approx(((each * unseen).sum() / unseen.sum()).item(), rel=1e-6)
    with pytest.raises(ModelError, match="14 bins, 4 of them ahead, 6 units"):
        train(spec, waves(8), waves(8), BIN_WIDTH)


def _interrupted(path: Path, after: int):
    """Train until some epoch, with the state written after every one of them."""

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == after:
            raise KeyboardInterrupt

    return train(
        tiny_spec(), waves(64), waves(16, seed=1), BIN_WIDTH, QUICK, on_epoch=interrupt, state=path
    )


def test_a_training_cut_short_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_WRITTEN_EVERY", 0.0)
    path = tmp_path / "m.training"
    data = tiny_spec(), waves(64), waves(16, seed=1), BIN_WIDTH
    whole = train(*data, QUICK)
    part = _interrupted(path, 5)
    assert part.history.ended == "interrupted after 5 epochs"
    rest = train(*data, QUICK, state=path, resume=True)
    assert all(np.array_equal(rest.weights[k], v) for k, v in whole.weights.items())
    for one, other in zip(rest.history.epochs, whole.history.epochs, strict=True):
        assert one._replace(seconds=0) == other._replace(seconds=0)
    assert not path.exists()
    with pytest.raises(ModelError, match="there is no training to go on with"):
        train(*data, QUICK, state=path, resume=True)


def test_the_state_of_another_training_or_a_damaged_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_WRITTEN_EVERY", 0.0)
    path = tmp_path / "m.training"
    _interrupted(path, 2)
    data = tiny_spec(), waves(64), waves(16, seed=1), BIN_WIDTH
    slower = replace(QUICK, learning_rate=1e-3)
    with pytest.raises(
        ModelError, match=r"learning_rate 0\.01 there and 0\.001 here; give the same"
    ):
        train(*data, slower, state=path, resume=True)
    with pytest.raises(ModelError, match="training windows"):
        train(tiny_spec(), waves(64, seed=9), *data[2:], QUICK, state=path, resume=True)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged or no state of a training"):
        train(*data, QUICK, state=path, resume=True)


def test_a_state_that_holds_code_is_refused_without_running_it(tmp_path):
    path = tmp_path / "m.training"

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"format": Evil()}, path)
    with pytest.raises(ModelError, match="damaged or no state of a training"):
        train(
            tiny_spec(), waves(64), waves(16), BIN_WIDTH, QUICK, state=path, resume=True
        )  # fmt: skip
    assert not (tmp_path / "ran").exists()


def test_a_state_that_looks_right_and_is_not_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_WRITTEN_EVERY", 0.0)
    path = tmp_path / "m.training"
    _interrupted(path, 2)
    whole = torch.load(path, weights_only=True)
    data = tiny_spec(), waves(64), waves(16, seed=1), BIN_WIDTH
    for key, value in (
        ("loops", {}), ("epochs", [[1, 2]]), ("random", {"cpu": 7}), ("optimizer_states", []),
        ("state_dict", {}), ("kept", {}), ("lr_schedulers", []), ("callbacks", 3),
        ("pytorch-lightning_version", "0.1"),
    ):  # fmt: skip
        torch.save(whole | {key: value}, path)
        with pytest.raises(ModelError, match="damaged or of another network"):
            train(*data, QUICK, state=path, resume=True)


def _trainer(**changes) -> trainer.Trainer:
    settings = replace(QUICK, **changes)
    return new_trainer(tiny_spec(), waves(64), waves(16, seed=1), BIN_WIDTH, settings)


def test_a_training_can_go_on_by_a_few_epochs_here_or_elsewhere(tmp_path):
    """What a sweep does with its members."""
    whole, pieces, other = _trainer(), _trainer(), _trainer()
    whole.run()
    pieces.run(n_epochs=2)
    pieces.run(n_epochs=3)
    pieces.write(tmp_path / "state")
    other.run(n_epochs=1)
    other.read(tmp_path / "state")
    for one in (pieces, other):
        assert one.epochs[-1].epoch == 5
        one.run(n_epochs=4)
        assert one.ended is None
        one.run(n_epochs=20)
        assert one.ended == "all epochs done"
        for mine, its in zip(one.epochs, whole.epochs, strict=True):
            assert mine._replace(seconds=0) == its._replace(seconds=0)
        for mine, its in zip(one.net.parameters(), whole.net.parameters(), strict=True):
            assert torch.equal(mine, its)


def test_members_go_on_from_a_winners_state_with_settings_of_their_own(tmp_path):
    """What a tournament relies on: a state does not bring its hyper-parameters along."""
    winner = _trainer(schedule="constant", weight_decay=0.5)
    loser = _trainer(schedule="constant", weight_decay=0.1, learning_rate=1e-3)
    winner.run(n_epochs=4)
    winner.write(tmp_path / "state")
    loser.read(tmp_path / "state")
    assert loser.epochs == winner.epochs
    loser.run(n_epochs=1)
    assert loser.epochs[-1].learning_rate == 1e-3
    assert loser._module.configure_optimizers()[0][0].param_groups[0]["weight_decay"] == 0.1


def test_a_training_that_diverged_can_take_up_another_ones_state(tmp_path):
    good = _trainer()
    good.run(n_epochs=2)
    good.write(tmp_path / "good")
    bad = _trainer(learning_rate=1e30, warm_up=0, max_gradient=1e30, schedule="constant")
    with pytest.raises(ModelError, match="diverged"):
        bad.run()
    bad.write(tmp_path / "bad")
    bad.read(tmp_path / "good")
    assert bad.epochs == good.epochs


@pytest.fixture
def ctrl_c():
    """Python's own answer to Ctrl-C, which a process in the background may lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_within_an_epoch_leaves_the_next_one_working(monkeypatch, ctrl_c):
    before = TrainingModule.on_validation_epoch_end

    def pressed(self):
        if len(self.epochs) == 2:
            signal.raise_signal(signal.SIGINT)
        before(self)

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", pressed)
    for _ in range(2):
        result = train(tiny_spec(), waves(32), waves(16, seed=1), BIN_WIDTH, QUICK)
        assert result.history.ended == "interrupted after 2 epochs"
        assert signal.getsignal(signal.SIGINT) is ctrl_c


def test_a_term_signal_ends_the_process_as_one_that_was_ended():
    handler = signal.getsignal(signal.SIGTERM)

    def ended(_: Epoch) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as error:
        train(tiny_spec(), waves(32), waves(16, seed=1), BIN_WIDTH, QUICK, on_epoch=ended)
    assert error.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_constant_learning_rate_stays_after_the_warm_up():
    settings = replace(QUICK, schedule="constant", epochs=4, warm_up=2)
    rates = [
        e.learning_rate
        for e in train(
            tiny_spec(), waves(64), waves(8), BIN_WIDTH, settings
        ).history.epochs
    ]  # fmt: skip
    assert rates == [QUICK.learning_rate] * 4


def test_a_device_that_is_not_there_is_named():
    assert trainer.find_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ModelError, match="no device 'abacus'"):
        trainer.find_device("abacus")

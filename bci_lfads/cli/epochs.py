"""How the epochs of a training are shown and logged."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bci_lfads.cli.files import check_output
from bci_lfads.cli.show import progress
from bci_lfads.errors import BciLfadsError

if TYPE_CHECKING:
    from bci_lfads.models.history import Epoch


@contextmanager
def show_epochs(
    n: int, log: Path | None = None, *, append: bool = False
) -> Iterator[Callable[[Epoch], None]]:
    """Show epochs as they are done, and log them, or go on with a log.

    Parameters
    ----------
    n
        Epochs at most.
    log
        A table (.csv), or a folder for TensorBoard.
    append
        Whether to go on with a table that is there; TensorBoard always does.
    """
    with progress("training", n) as advance, _logged(log, append) as write:

        def tell(epoch: Epoch) -> None:
            advance(epoch.epoch)
            write(epoch)

        yield tell


def check_log(log: Path | None) -> None:
    """Refuse a log that could not be written.

    Raises
    ------
    BciLfadsError
        Saying why.
    """
    if log is None or not log.is_dir() or log.suffix == ".csv":
        check_output(log)


@contextmanager
def _logged(log: Path | None, append: bool) -> Iterator[Callable[[Epoch], None]]:
    if log is None:
        yield lambda epoch: None
    elif log.suffix == ".csv":
        with log.open("a" if append else "w", newline="") as file:
            yield lambda epoch: _row(file, epoch)
    else:
        writer = _tensorboard(log)
        try:
            yield lambda epoch: writer.log_metrics(
                {k: v for k, v in epoch._asdict().items() if isinstance(v, float)}, epoch.epoch
            )
        finally:
            writer.finalize("success")


def _row(file: TextIO, epoch: Epoch) -> None:
    writer = csv.writer(file)
    if file.tell() == 0:
        writer.writerow(epoch._fields)
    writer.writerow(epoch)
    file.flush()


def _tensorboard(folder: Path) -> Any:
    try:
        from lightning.fabric.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder, name="", version="")
        _ = logger.experiment  # begun at once, since it may be missing or the folder not writable
    except (ImportError, OSError) as error:
        raise BciLfadsError(
            f"a log for TensorBoard cannot be written to {folder} ({error}); give a table "
            "(--log FILE.csv), or pip install 'bci-lfads[train]'"
        ) from error
    return logger

"""Ray, on this machine's loopback interface alone or on a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bci_lfads.errors import BciLfadsError

# Ray reports its use to its makers unless told not to; a rig's doings are nobody else's business.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Its new output draws tables through the progress bar.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
try:
    import ray
    from ray import tune
    from ray._private import services
except ImportError as error:
    raise BciLfadsError(
        f"a sweep needs Ray Tune, which cannot be imported ({error}); install it with "
        "pip install 'bci-lfads[sweep]'"
    ) from error

__all__ = ["cluster", "ray", "tune"]

LOOPBACK = "127.0.0.1"


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to a cluster, or start one of `workers` processes on this machine, for a while.

    Raises
    ------
    BciLfadsError
        If that fails, or this version of Ray cannot be kept on the loopback interface.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            with _on_loopback():
                # Without "local" it would take a cluster that happens to run here.
                ray.init(
                    "local",
                    num_cpus=workers,
                    include_dashboard=False,
                    _node_ip_address=LOOPBACK,
                    **options,
                )
            _check_loopback()
        elif address.rpartition(":")[0] in (LOOPBACK, "localhost"):
            # A cluster that listens to the loopback interface alone has no other address.
            with _on_loopback():
                ray.init(address, _node_ip_address=LOOPBACK, **options)
        else:
            ray.init(address, **options)
    except BciLfadsError:
        ray.shutdown()
        raise
    # Ray raises whatever the address leads it to.
    except Exception as error:
        where = "on this machine" if address is None else f"at {address}"
        raise BciLfadsError(f"Ray cannot be reached {where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have Ray take the loopback address as it is.

    On Linux it puts the machine's own address in its place, and then its servers listen to every
    interface; with the address of the loopback they listen to that alone.
    """
    name = "resolve_ip_for_localhost"
    before = getattr(services, name, None)
    if before is None:
        raise BciLfadsError(
            f"Ray {ray.__version__} cannot be kept on the loopback interface; install the version "
            "that docs/training.md names, or start a cluster and give --address"
        )
    setattr(services, name, lambda host: host)
    try:
        yield
    finally:
        setattr(services, name, before)


def _check_loopback() -> None:
    if others := {node["NodeManagerAddress"] for node in ray.nodes()} - {LOOPBACK}:
        raise BciLfadsError(
            f"Ray {ray.__version__} took the address {', '.join(sorted(others))} instead of the "
            "loopback's; it was shut down again"
        )

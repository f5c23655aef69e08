"""Commands for triggers: trigger, and trigger-order to one that runs."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.interrupt import until_interrupted
from bci_lfads.cli.show import as_json, as_line, facts
from bci_lfads.errors import TriggerError

_log = logging.getLogger(__name__)
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def trigger(
    rules_file: Annotated[Path, typer.Argument(help="Rules (.toml).", metavar="RULES")],
    control: Annotated[
        bool,
        typer.Option(
            "--control",
            help="Take orders on standard input (arm, renew, disarm, status, stop; its end stops) "
            "and answer each by a line.",
        ),
    ] = False,
    socket: Annotated[
        Path | None, typer.Option(help="Take orders on a Unix socket that is made there.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the stream.")] = 30.0,
    json: _Json = False,
) -> None:
    """Send markers by rules on factors or decoded behaviour, once it is armed, until Ctrl-C."""
    from bci_lfads.cli.orders import lines
    from bci_lfads.triggers.consumer import TriggerRun
    from bci_lfads.triggers.control import ControlSocket, Orders
    from bci_lfads.triggers.log import EventLog
    from bci_lfads.triggers.rules import load_rules

    rules = load_rules(rules_file)
    check_output(rules.log)
    orders = Orders()
    if not control and socket is None:
        _log.warning("without --control or --socket no one can arm it: decisions are only logged")
    with ExitStack() as stack:
        events = EventLog(rules.log)
        stack.callback(events.close)
        running = TriggerRun(rules, orders, events)
        stack.callback(running.close)
        if socket is not None:
            stack.callback(ControlSocket(socket, orders).close)
        stop = stack.enter_context(until_interrupted(seconds))
        if control:
            stack.enter_context(lines(lambda line: orders.put(line, "input", _answer), stop.set))
        status = running.run(stop, connect_timeout=timeout)
    result: dict[str, Any] = {"log": str(rules.log), **status}
    if control:
        as_line(result)
    elif json:
        as_json(result)
    else:
        facts(f"triggers of rig '{rules.rig}'", result)


def _answer(text: str) -> None:
    as_line({"answer": text})


@app.command("trigger-order")
def trigger_order(
    socket: Annotated[Path, typer.Argument(help="Socket of a trigger that runs.")],
    order: Annotated[str, typer.Argument(help="arm, renew, disarm, status or stop.")],
) -> None:
    """Give an order to a trigger that runs with --socket, and print its answer."""
    from bci_lfads.triggers.control import ORDERS, give_order

    if order not in ORDERS:
        raise TriggerError(f"no order '{order}'; there are {', '.join(ORDERS)}")
    answer = give_order(socket, order)
    typer.echo(answer)
    if answer.startswith(("refused", "error")):
        raise typer.Exit(1)

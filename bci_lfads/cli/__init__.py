"""The command line: thin commands over the library.

``loop`` holds what runs beside a rig (run, gui, listen, streams, doctor, demo), ``data`` what
deals with recordings (replay, simulate, record, info, convert), ``models`` the models and offline
inference, ``training`` what makes models of recordings, ``evaluating`` what scores them and gives
them fewer bits, ``fpga`` deals with the card; ``decoding``, ``triggers`` and ``closed_loop`` use
factors. Results go to standard output, progress and log messages to standard error.
"""

from bci_lfads.cli.app import main

__all__ = ["main"]

"""``python -m bci_lfads`` is the command line."""

from bci_lfads.cli import main

main()

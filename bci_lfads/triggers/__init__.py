"""Rules on factors or decoded behaviour that send markers, with guard rails for stimulation.

``rules`` is the settings file, ``conditions`` what a rule asks of a row, ``guard`` who may fire and
when, ``machine`` both together: pure, with the time as an argument. ``log`` writes every decision
down, ``control`` takes orders on a local socket, ``consumer`` is the LSL side. docs/triggers.md.
"""

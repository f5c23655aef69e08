"""Threads that fill the model from LSL; nothing of LSL is touched in Qt's thread."""

"""achar: pickle, in C."""

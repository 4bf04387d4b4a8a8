"""Prints the items of a pickled dictionary: the Python side of pickle_dict.c."""

import pickle
import sys
from pathlib import Path

for name, value in pickle.loads(Path(sys.argv[1]).read_bytes()).items():
    print(name, "=", value)

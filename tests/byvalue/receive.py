"""Loads what cases.py wrote and runs the checks; prints {case: what went wrong, or null} as JSON.

python receive.py FILE…
"""

import json
import pickle
import sys
import traceback

import achar

results = {}
cases = []
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        cases += pickle.load(file)
for name, obj_bytes, check_bytes in cases:
    for loads in (achar.loads, pickle.loads):
        try:
            check = loads(check_bytes)
            answer = check(loads(obj_bytes))
            results[name] = None if answer else f"check returned {answer!r} ({loads.__module__})"
        except BaseException:
            results[name] = traceback.format_exc()
        if results[name]:
            break
json.dump(results, sys.stdout)

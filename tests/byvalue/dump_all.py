"""Dumps every case of cases_*.py with the options that the command line names, as cases.py does.

python dump_all.py FOLDER OPTION…    writes FOLDER/cases_….py; prints {case: hash of both pickles} as JSON
"""

import hashlib
import json
import pathlib
import pickle
import sys
import types

import cases

here = pathlib.Path(__file__).parent
folder, options = pathlib.Path(sys.argv[1]), sys.argv[2:]
hashes, failed = {}, {}
cases.json = types.SimpleNamespace(dump=lambda unsent, file: failed.update(unsent))  # stdout stays what it is
for path in sorted(here.glob("cases_*.py")):
    cases.CASES.clear()
    sys.argv = [str(path), str(folder / path.name), *options]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(compile(path.read_text(), path, "exec"), vars(main))
    for name, obj_bytes, check_bytes in pickle.loads((folder / path.name).read_bytes()):
        hashes[name] = hashlib.sha256(obj_bytes + check_bytes).hexdigest()
assert not failed, failed
json.dump(hashes, sys.stdout)

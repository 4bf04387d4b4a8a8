"""Writes src/codec/python2_names.def from the standard library's own tables.

python tools/make_python2_names.py > src/codec/python2_names.def
"""

import _compat_pickle as tables

HEADER = """\
/*
 * python2_names.def - what modules and names were called in Python 2. Made by
 * tools/make_python2_names.py from _compat_pickle; sorted, for binary search.
 *
 *     TO3_NAME(module, name, module in 3, name in 3)      TO3_MODULE(module, module in 3)
 *     TO2_NAME(module, name, module in 2, name in 2)      TO2_MODULE(module, module in 2)
 *
 * Names are looked up first, modules only if that finds nothing. Define all four to include this.
 */"""


def names(macro, mapping):
    for (module, name), (other_module, other_name) in sorted(mapping.items()):
        print(f'{macro}("{module}", "{name}", "{other_module}", "{other_name}")')


def modules(macro, mapping):
    for module, other in sorted(mapping.items()):
        print(f'{macro}("{module}", "{other}")')


print(HEADER)
names("TO3_NAME", tables.NAME_MAPPING)
modules("TO3_MODULE", tables.IMPORT_MAPPING)
names("TO2_NAME", tables.REVERSE_NAME_MAPPING)
modules("TO2_MODULE", tables.REVERSE_IMPORT_MAPPING)

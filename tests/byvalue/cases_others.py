"""Modules, views, and the rest. See cases.py."""

import collections
import itertools
import os
import pickle
import types
import xml.etree.ElementTree

from cases import case, main


@case
def module_by_name():
    modules = [os, os.path, xml.etree.ElementTree]
    return modules, lambda ms: [m.__name__ for m in ms] == ["os", "posixpath", "xml.etree.ElementTree"]


@case
def module_dynamic():
    m = types.ModuleType("dynamic", "its doc")
    exec("n = 1\ndef up():\n    global n\n    n += 1\n    return n", m.__dict__)
    exec("class C:\n    def get(self): return up()\n", m.__dict__)

    def check(m):
        return m.__name__ == "dynamic" and m.__doc__ == "its doc" and m.up() == 2 and m.n == 2 and m.C().get() == 3

    return m, check


@case
def module_with_the_name_of_another():
    m = types.ModuleType("json")
    m.mine = 1
    return m, lambda m: m.mine == 1 and not hasattr(m, "dumps")


@case
def mappingproxy():
    return types.MappingProxyType({"a": [1]}), lambda m: m["a"] == [1] and type(m).__name__ == "mappingproxy"


@case
def memoryviews():
    m = memoryview(bytearray(range(8)))

    def check(ms):
        a, b, c = ms
        a[0] = 9
        return a.tobytes() == b"\x09\x01\x02\x03\x04\x05\x06\x07" and b.readonly and c.shape == (2, 4) and c[1, 0] == 4

    return [m, memoryview(b"xy"), m.cast("B", [2, 4])], check


@case
def dict_views():
    d = {"a": 1, "b": 2}
    return [d.keys(), d.values(), d.items(), d], (
        lambda v: (
            list(v[0]) == ["a", "b"]
            and list(v[1]) == [1, 2]
            and ("a", 1) in v[2]
            and (v[3].update(c=3), "c" in v[0])[1]
        )
    )


@case
def special_types():
    found = [type(None), type(...), type(NotImplemented), None, ..., NotImplemented]
    return found + [types.FunctionType, type({}.keys())], (
        lambda t: (
            t[0] is type(None)
            and t[1] is type(...)
            and t[2] is type(NotImplemented)
            and t[4] is ...
            and t[5] is NotImplemented
            and t[6] is type(lambda: 0)
            and t[7] is type({}.keys())
        )
    )


@case
def generic_alias_and_namespace():
    return types.SimpleNamespace(f=lambda: 3, a=list[int]), lambda s: s.f() == 3 and s.a == list[int]


@case
def itertools_over_lambdas():
    return map(lambda x: x + 1, [1, 2]), lambda m: list(m) == [2, 3]


@case
def shared_objects_stay_shared():
    shared = [1]

    def f():
        return shared

    return (f, shared, f), lambda t: t[0]() is t[1] and t[0] is t[2]


@case
def pickled_inside():
    return pickle.PickleBuffer(b"abc"), lambda b: bytes(b) == b"abc"


@case
def default_dict_of_lambda():
    d = collections.defaultdict(lambda: [0])
    d["a"].append(1)
    return d, lambda d: d["a"] == [0, 1] and d["new"] == [0]


@case
def chain_of_iterators():
    return itertools.count(3), lambda c: next(c) == 3


main()

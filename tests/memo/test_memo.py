"""What achar.Memo does in one process: hits, misses, keys of calls, results of all sizes, limits."""

import functools
import math
import threading
import warnings

import achar
import achar.memo
import numpy as np
import pytest


@pytest.fixture
def memo(tmp_path):
    with achar.Memo(tmp_path / "m") as memo:
        yield memo


def counted(memo, **options):
    """A memoized function of (x, y=2, *rest, z=3, **named) and the list of its calls."""
    calls = []

    def f(x, y=2, *rest, z=3, **named):
        calls.append(x)
        return [x, y, rest, z, named]

    return memo(key="name", **options)(f), calls


def test_a_call_is_computed_once(memo, tmp_path):
    f, calls = counted(memo)
    assert [f(1), f(1), f(2)] == [[1, 2, (), 3, {}]] * 2 + [[2, 2, (), 3, {}]]
    assert calls == [1, 2]
    assert {name: memo.stats()[name] for name in ("hits", "misses", "stored", "results")} == {
        "hits": 1, "misses": 2, "stored": 2, "results": 2,
    }  # fmt: skip
    memo.close()
    with achar.Memo(tmp_path / "m") as again:
        f, calls = counted(again)
        assert f(1) == [1, 2, (), 3, {}] and calls == []
    with pytest.raises(achar.memo.MemoError, match="closed"):
        memo.get(1)


@pytest.mark.parametrize(
    "call",
    [lambda f: f(1, 2), lambda f: f(x=1), lambda f: f(1, z=3), lambda f: f(y=2, x=1), lambda f: f(1, 2, *(), z=3)],
)
def test_arguments_are_known_by_their_parameters(memo, call):
    f, calls = counted(memo)
    assert f(1) == call(f) and calls == [1]
    assert f.key(1) == call(lambda *args, **kwargs: f).key(1)


def test_other_arguments_are_other_calls(memo):
    f, calls = counted(memo)
    results = [f(1), f(1, 3), f(1, z=4), f(1, 2, 3), f(1, w=3), f(1, v=3), f(1, 2, 3, 4), f(1, 2, (3, 4))]
    assert len(calls) == len(results) == len({repr(result) for result in results})


def test_calls_that_do_not_fit_raise_as_the_function_does(memo):
    @memo
    def f(x, /, y):
        return x

    for call in (lambda: f(), lambda: f(1), lambda: f(1, 2, 3), lambda: f(1, 2, z=3), lambda: f(x=1, y=2)):
        with pytest.raises(TypeError, match="f\\(\\)"):
            call()
    assert memo.stats()["results"] == 0
    with pytest.raises(TypeError):
        f.key(1)


def test_ignored_arguments_do_not_count(memo):
    f, calls = counted(memo, ignore=["z", "verbose"])
    assert f(1, z=1) == f(1, z=2) == f(1, z=1, verbose=True) and calls == [1]
    with pytest.raises(ValueError, match="no parameter nothing"):
        memo(ignore="nothing")(lambda x: x)


def test_a_callable_says_what_a_call_is(memo):
    @memo(key=lambda x: x % 10)
    def f(x):
        return x

    assert [f(3), f(13), f(4)] == [3, 3, 4]


def test_functions_of_all_kinds(memo):
    assert memo(math.sqrt)(4.0) == memo(math.sqrt)(4.0) == 2
    assert memo(functools.partial(pow, 2))(5) == 32

    class C:
        def __init__(self, n):
            self.n = n

        @memo
        def plus(self, x):
            return self.n + x

        @staticmethod
        @memo
        def twice(x):
            return 2 * x

    assert C(1).plus(2) == 3 and C(2).plus(2) == 4 and C(1).plus(2) == 3 and C.twice(4) == 8
    assert memo.stats()["hits"] == 2

    async def coroutine():
        pass

    def generator():
        yield

    for function, what in ((coroutine, "a coroutine"), (generator, "a generator")):
        with pytest.raises(TypeError, match=what):
            memo(function)
    with pytest.raises(TypeError, match="above the memo"):
        memo(staticmethod(generator))


def test_a_function_that_calls_itself_and_others(memo):
    space = {"memo": memo}
    exec("@memo\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n@memo\ndef g(n): return fib(n) + 1", space)
    assert space["g"](90) == 2880067194370816121 and memo.stats()["stored"] == 92
    before = space["g"].key(90)
    exec("@memo\ndef fib(n): return -n", space)
    assert space["g"].key(90) != before and space["g"](90) == -89


def test_what_a_function_changes_itself_is_output(memo):
    space = {"memo": memo, "calls": [], "count": 0, "factor": [2]}
    exec(
        "@memo\ndef f(x):\n global count\n count += 1\n calls.append(x)\n return x * factor[0]\n"
        "@memo\ndef fib(n):\n calls.append(n)\n return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "@memo\ndef g(x):\n calls.append(x)\n return f(x)",
        space,
    )
    f, fib, g, calls = space["f"], space["fib"], space["g"], space["calls"]
    keys = f.key(1), g.key(1)
    assert [f(1), f(1), f(2), f(1), f(2)] == [2, 2, 4, 2, 4] and calls == [1, 2] and space["count"] == 2
    assert fib(20) == fib(20) == 6765 and len(calls) == 2 + 21
    assert g(1) == g(1) == 2 and len(calls) == 24
    calls.clear()
    assert g(1) == f(1) == 2 and not calls and (f.key(1), g.key(1)) == keys
    space["factor"][0] = 3  # input: the functions only read it
    assert f(1) == g(1) == 3 and f.key(1) != keys[0]
    space["factor"] = [2]
    assert f(1) == g(1) == 2 and f.key(1) == keys[0]


def test_results_are_the_callers_own(memo):
    f, _ = counted(memo)
    f(1).append("changed")
    assert f(1) == [1, 2, (), 3, {}]


def test_get_and_put(memo):
    assert memo.get("k") is None and memo.get("k", 5) == 5 and "k" not in memo
    memo.put("k", None)
    memo.put((1, "k"), [1])
    assert memo.get("k", 5) is None and "k" in memo and memo.get((1, "k")) == [1]
    memo.put("k", 2)
    assert memo.get("k") == 2 and memo.stats()["results"] == 2
    assert memo.invalidate(key="k") == 1 and "k" not in memo and memo.invalidate() == 1


def test_invalidate(memo):
    f, calls = counted(memo)
    g = memo(abs)
    f(1), f(2), g(-1), memo.put(1, 1)
    name = f"{__name__}.counted.<locals>.f"
    assert memo.functions() == {name: 2, "builtins.abs": 1, "": 1}
    assert f.is_stored(1) and f.invalidate(1) and not f.is_stored(1) and not f.invalidate(1)
    assert memo.invalidate(f) == 1 and memo.invalidate("builtins.abs") == 1
    assert memo.functions() == {"": 1}


@pytest.mark.parametrize("make", [np.zeros, np.random.default_rng(1).random], ids=["compressible", "not"])
@pytest.mark.parametrize("count", [1000, 100_000])
def test_arrays_come_back_writable_and_apart(memo, make, count):
    f = memo(key="name")(lambda n: {"array": make(n), "n": n})
    first, second = f(count), f(count)
    second["array"][0] = 7
    third = f(count)
    assert np.array_equal(first["array"], third["array"]) and third["n"] == count
    assert memo.stats()["hits"] == 2
    large = make is not np.zeros and count > 8192
    assert bool(list((memo_folder(memo)).glob("*/*"))) == large
    memo.invalidate()
    assert not list(memo_folder(memo).glob("*/*")) and memo.stats()["nbytes"] < 100_000
    assert np.array_equal(first["array"], third["array"])  # its memory is still there


def memo_folder(memo):
    import pathlib

    return pathlib.Path(memo.path + ".d")


def test_exceptions_are_stored_if_asked(memo):
    calls = []

    def f(x):
        calls.append(x)
        raise KeyError(x)

    plain, stored, some = (
        memo(key="name")(f),
        memo(key=lambda x: ("stored", x), exceptions=True)(f),
        memo(key=lambda x: ("some", x), exceptions=(ValueError, KeyError))(f),
    )
    for function, count in ((plain, 2), (stored, 1), (some, 1)):
        calls.clear()
        for _ in range(2):
            with pytest.raises(KeyError, match="1"):
                function(1)
        assert len(calls) == count
    none = memo(key=lambda x: ("none", x), exceptions=ValueError)(f)
    for _ in range(2):
        with pytest.raises(KeyError):
            none(1)
    assert len(calls) == 3


def test_what_cannot_be_stored(memo):
    def f(x):
        return [x, {"lock": threading.Lock()}]

    with pytest.raises(achar.memo.Unstorable, match=r"obj\[1\]\['lock'\]") as caught:
        memo(f)(1)
    assert caught.value.result[0] == 1 and isinstance(caught.value.__cause__, Exception)
    with pytest.warns(achar.memo.MemoWarning, match="cannot be stored"):
        assert memo(f, unstorable="return")(1)[0] == 1


def test_what_cannot_be_identified_is_refused(memo):
    f, calls = counted(memo)
    with pytest.raises(
        Exception, match=r"argument\['x'\]\[1\]\['k'\]: _thread.lock cannot be identified(.|\n)*ignore="
    ):
        f([1, {"k": threading.Lock()}])
    lock = threading.Lock()
    with pytest.raises(Exception, match="_thread.lock"):
        memo(lambda: lock)()
    with pytest.raises(Exception, match=r"key\[0\]: generator"):
        memo.put([i for i in [(j for j in [])]], 1)
    assert calls == [] and memo.stats()["results"] == 0


def test_the_least_recently_used_are_dropped(tmp_path):
    memo = achar.Memo(tmp_path / "m", max_bytes=2_000_000)
    noise = np.random.default_rng(1)
    for i in range(40):
        memo.put(i, noise.bytes(100_000))
        assert memo.get(0) is not None  # it is used all the time
    stats = memo.stats()
    assert stats["nbytes"] <= 2_200_000 and stats["dropped"] >= 20
    assert 0 in memo and 1 not in memo and 39 in memo
    assert memo.prune(max_bytes=500_000) > 5 and memo.stats()["nbytes"] <= 500_000 and 0 in memo


def test_results_age(tmp_path):
    memo = achar.Memo(tmp_path / "m")
    memo.put(1, 1)
    old = achar.Memo(tmp_path / "m", max_age=0)
    import time

    time.sleep(0.005)
    assert old.get(1) is None and memo.get(1) == 1
    assert memo.prune() == 0 and old.prune() == 1 and memo.get(1) is None


def test_options_are_checked(tmp_path):
    for options in ({"durability": "x"}, {"on_stale": "x"}, {"unstorable": 1}, {"max_bytes": -1}, {"max_age": -1}):
        with pytest.raises(ValueError):
            achar.Memo(tmp_path / "m", **options)
    memo = achar.Memo(tmp_path / "m", durability="power")
    memo.put(1, np.random.default_rng(1).random(20_000))
    assert memo.get(1).shape == (20_000,)
    with pytest.raises(ValueError):
        memo(abs, key="x")


def test_what_is_no_memo_is_left_alone(tmp_path):
    import sqlite3

    other = tmp_path / "other"
    sqlite3.connect(other).execute("CREATE TABLE t(x)")
    before = other.read_bytes()
    with pytest.raises(achar.memo.NotAMemo, match="something else"):
        achar.Memo(other)
    assert other.read_bytes() == before
    with pytest.raises(achar.memo.MemoError, match="nowhere.m: .*(No such file|unable)"):
        achar.Memo(tmp_path / "nowhere" / "m")
    text = tmp_path / "text"
    for content in (b"x = 1\n" * 2000, b"x = 1\n", b"SQLite format 3\0" + b"not really" * 1000):
        text.write_bytes(content)
        with pytest.raises(achar.memo.NotAMemo, match="something else"):
            achar.Memo(text)
        assert text.read_bytes() == content and not list(tmp_path.glob("text.*"))
    with pytest.raises(achar.memo.NotAMemo, match="directory"):
        achar.Memo(tmp_path)
    with pytest.raises(achar.memo.NotAMemo, match="device"):
        achar.Memo("/dev/null")


def test_it_goes_into_pickles(memo):
    f, calls = counted(memo)
    f(1)
    again = achar.loads(achar.dumps(f))
    assert again(1) == f(1) and again.memo._store is memo._store and repr(again) == repr(f)


def test_threads_share_one_computation(memo):
    calls, go = [], threading.Event()

    @memo(key="name")
    def f(x):
        calls.append(x)
        go.wait(120)
        return x

    results = []
    threads = [threading.Thread(target=lambda: results.append(f(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(120)
    assert results == [1] * 8 and calls == [1]


def test_threads_commit_together(memo):
    def work(n):
        for i in range(50):
            memo.put((n, i), i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert memo.stats()["results"] == 400 and all(memo.get((n, 49)) == 49 for n in range(8))


def test_checksums_are_xxh64():
    from achar import _memo

    for data, expected in (
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ):
        assert _memo.check(data) % 2**64 == expected


def test_no_warnings_in_all_that(memo):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f, _ = counted(memo)
        f(1), f(1), memo.prune(), memo.stats(), memo.check()

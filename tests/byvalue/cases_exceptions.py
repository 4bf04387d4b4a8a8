"""Exceptions. See cases.py."""

import sys

from cases import case, main


class Picky(Exception):
    def __init__(self, *, code, detail):
        super().__init__(f"code {code}")
        self.code = code
        self.detail = detail


@case
def exception_with_required_keywords():
    return Picky(code=3, detail=["d"]), (
        lambda e: (e.code, e.detail, e.args, str(e)) == (3, ["d"], ("code 3",), "code 3")
    )


@case
def exception_with_two_arguments():
    class E(Exception):
        def __init__(self, a, b):
            self.a, self.b = a, b

    return E(1, 2), lambda e: (e.a, e.b, e.args) == (1, 2, (1, 2))


@case
def exception_slots():
    class E(Exception):
        __slots__ = ("where",)

    e = E("x")
    e.where = "here"
    return e, lambda e: e.where == "here" and e.args == ("x",)


@case
def exception_chain():
    def make():
        try:
            try:
                raise KeyError("inner")
            except KeyError as e:
                raise Picky(code=1, detail=None) from e
        except Picky as e:
            try:
                raise ValueError("outer")
            except ValueError as outer:
                outer.__context__ = e
                return outer

    def check(e):
        return (
            type(e.__context__).__name__ == "Picky"
            and type(e.__context__.__cause__) is KeyError
            and e.__context__.__suppress_context__
            and not e.__suppress_context__
            and e.__context__.__cause__ is e.__context__.__context__
        )

    return make(), check


@case
def exception_from_none():
    def make():
        try:
            try:
                raise KeyError
            except KeyError:
                raise ValueError from None
        except ValueError as e:
            return e

    return make(), lambda e: e.__suppress_context__ and e.__cause__ is None and type(e.__context__) is KeyError


@case
def exception_cyclic_context():
    a, b = ValueError("a"), KeyError("b")
    a.__context__, b.__context__ = b, a
    a.itself = a
    return a, lambda e: e.__context__.__context__ is e and e.itself is e


@case
def exception_in_its_own_args():
    e = ValueError()
    e.args = (e, [e])
    return e, lambda e: e.args[0] is e and e.args[1][0] is e


@case
def exception_notes():
    e = ValueError("x")
    e.__notes__ = ["a note"]
    return e, lambda e: e.__notes__ == ["a note"]


@case
def exception_own_reduce():
    class E(Exception):
        def __init__(self, a):
            super().__init__("text")
            self.a = a

        def __reduce__(self):
            return E, (self.a + 1,)

    return E(1), lambda e: e.a == 2


@case
def exception_own_setstate():
    class E(Exception):
        def __setstate__(self, state):
            self.__dict__.update(state, restored=True)

    e = E()
    e.x = 1
    return e, lambda e: e.x == 1 and e.restored


@case
def exception_group():
    if sys.version_info < (3, 11):
        return None, lambda e: e is None

    class G(ExceptionGroup):  # noqa: F821
        def __new__(cls, label, excs):
            self = super().__new__(cls, label + "!", excs)
            return self

        def derive(self, excs):
            return G(self.message, excs)

    g = G("m", [ValueError(1), TypeError(2)])
    g.exceptions[0].__context__ = g
    g.hint = "h"

    def check(g):
        return (
            g.message == "m!"
            and [type(x) for x in g.exceptions] == [ValueError, TypeError]
            and g.exceptions[0].__context__ is g
            and g.hint == "h"
            and g.subgroup(ValueError).message == "m!!"
        )

    return g, check


def builtin_exceptions():
    def state(e):
        names = (
            "args errno strerror filename filename2 characters_written name path msg name_from lineno offset text"
            " end_lineno end_offset print_file_and_line encoding object start end reason value code __notes__"
        )
        found = {name: getattr(e, name, "absent") for name in names.split()}
        return found, str(e)

    made = []
    for name in sorted(vars(__import__("builtins"))):
        cls = getattr(__import__("builtins"), name)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)) or "Group" in name:
            continue
        if issubclass(cls, UnicodeEncodeError):
            made.append(cls("ascii", "é", 0, 1, "why"))
        elif issubclass(cls, UnicodeDecodeError):
            made.append(cls("ascii", b"\xe9", 0, 1, "why"))
        elif issubclass(cls, UnicodeTranslateError):
            made.append(cls("é", 0, 1, "why"))
        else:
            made += [cls(), cls("one")]
            if not issubclass(cls, SyntaxError):
                made.append(cls("one", 2))
    made.append(OSError(2, "no", "file", None, "file2"))
    made.append(OSError("one"))
    made.append(FileNotFoundError(2, "no", b"name"))
    made.append(BlockingIOError(11, "again", 7))
    made.append(ImportError("m", name="n", path="p"))
    made.append(SyntaxError("bad", ("f.py", 3, 4, "text", 3, 6)))
    made.append(IndentationError("bad", ("f.py", 3, 4, "text")))
    made.append(StopIteration(5))
    made.append(StopIteration((1, 2)))
    made.append(SystemExit(3))
    made.append(SystemExit("bye"))
    for source in ("nowhere", "(1).nothing", "1/0", "int('x')", "b'\\xff'.decode()", "import nothing_here", "1+"):
        try:
            exec(source)
        except Exception as e:
            made.append(e)
    for e in made:
        try:
            e.extra = "x"
        except AttributeError:
            pass
    return state, made


@case
def exceptions_builtin():
    state, made = builtin_exceptions()
    for e in made:
        e.__context__ = None
    expected = [(type(e), state(e)) for e in made]

    def check(got):
        made, expected, state = got
        found = [(type(e), state(e)) for e in made]
        wrong = [(f, e) for f, e in zip(found, expected, strict=True) if f != e]
        assert not wrong, wrong[:3]
        return len(found) > 150

    return (made, expected, state), check


@case
def exceptions_subclassed():
    # the same, with a class of ours in between, whose __init__ must not run
    state, made = builtin_exceptions()
    mine = []
    for e in made:
        base = type(e)

        class Mine(base):
            def __init__(self, *args, **kwargs):
                raise AssertionError("__init__ ran")

        copy = base.__new__(Mine, *e.args) if not isinstance(e, SyntaxError) else base.__new__(Mine)
        base.__init__(copy, *e.args)
        copy.__dict__.update(e.__dict__)
        for field in ("name", "path", "filename", "filename2", "lineno", "offset", "text", "errno", "strerror"):
            value = getattr(e, field, None)
            if value is not None:
                setattr(copy, field, value)
        mine.append(copy)
    expected = [(type(e), state(e)) for e in mine]

    def check(got):
        mine, expected, state = got
        found = [(type(e), state(e)) for e in mine]
        wrong = [(f, e) for f, e in zip(found, expected, strict=True) if f != e]
        assert not wrong, wrong[:3]
        return len(found) > 150

    return (mine, expected, state), check


main()

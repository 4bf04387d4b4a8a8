"""Classes, their instances and what stands in them; typing. See cases.py."""

import abc
import collections
import collections.abc
import dataclasses
import functools
import sys
import threading
import typing

from cases import case, main


class Plain:
    kind = "plain"

    def __init__(self, x):
        self.x = x

    def get(self):
        return self.x

    @staticmethod
    def static(a):
        return a * 2

    @classmethod
    def make(cls, x):
        return cls(x)

    @property
    def double(self):
        "twice x"
        return self.x * 2

    @double.setter
    def double(self, value):
        self.x = value // 2

    def __repr__(self):
        return f"Plain({self.x})"

    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x

    __hash__ = None


class Derived(Plain):
    def get(self):
        return super().get() + 1


@case
def class_plain():
    def check(C):
        c = C.make(4)
        c.double = 10
        return (
            C.__name__ == "Plain"
            and c.get() == 5
            and C.static(3) == 6
            and repr(c) == "Plain(5)"
            and c == C(5)
            and C.__hash__ is None
            and C.double.__doc__ == "twice x"
            and C.__module__ == "__main__"
        )

    return Plain, check


@case
def class_instance():
    return Plain(7), lambda c: c.get() == 7 and c.kind == "plain"


@case
def class_inheritance():
    return Derived(1), lambda c: c.get() == 2 and type(c).__mro__[1].__name__ == "Plain"


@case
def class_and_base_together():
    return [Derived, Plain], lambda cs: issubclass(cs[0], cs[1])


@case
def class_local_with_class_cell():
    class A:
        def who(self):
            return __class__

        def me(self):
            return A

    return A, lambda A: A().who() is A and A().me() is A


@case
def class_shared_class_cell():
    class A:
        def f(self):
            return super().__repr__()

        def g(self):
            return super().__hash__()

    return A, lambda A: A.f.__closure__[0] is A.g.__closure__[0] and A().f()


@case
def class_method_first():
    class A:
        def f(self):
            return super().__init__, A

    return A.f, lambda f: f(f.__closure__[0].cell_contents()) is not None


@case
def class_slots():
    class S:
        __slots__ = ("a", "__private")

        def __init__(self):
            self.a = 1
            self.__private = 2

        def get(self):
            return self.a + self.__private

    def check(s):
        try:
            s.other = 1
        except AttributeError:
            return s.get() == 3 and not hasattr(s, "__dict__") and type(s).__slots__ == ("a", "__private")

    return S(), check


@case
def class_slots_inherited():
    class A:
        __slots__ = ("a", "__weakref__")

    class B(A):
        __slots__ = {"b": "the second"}

    b = B()
    b.a, b.b = 1, 2

    def check(b):
        import weakref

        weakref.ref(b)
        return (b.a, b.b) == (1, 2) and not hasattr(b, "__dict__") and type(b).__slots__ == {"b": "the second"}

    return b, check


@case
def class_slots_string_and_iterator():
    class A:
        __slots__ = "only"

    class B:
        __slots__ = iter(("x", "y"))

    def check(classes):
        A, B = classes
        a, b = A(), B()
        a.only = b.x = b.y = 1
        return not hasattr(a, "__dict__") and not hasattr(b, "__dict__")

    return (A, B), check


@case
def class_slots_with_dict():
    class A:
        __slots__ = ("a", "__dict__")

    a = A()
    a.a, a.b = 1, 2
    return a, lambda a: (a.a, a.b, a.__dict__) == (1, 2, {"b": 2})


@case
def class_metaclass():
    class Meta(type):
        made = []

        def __new__(mcls, name, bases, namespace, *, required):
            cls = super().__new__(mcls, name, bases, namespace)
            cls.required = required
            mcls.made.append(name)
            return cls

        def __init__(cls, name, bases, namespace, *, required):
            super().__init__(name, bases, namespace)

        def __getitem__(cls, i):
            return (cls.__name__, i)

        def __setattr__(cls, name, value):
            if name == "frozen":
                raise AttributeError(name)
            super().__setattr__(name, value)

    class C(metaclass=Meta, required="yes"):
        frozen = 1

    return C, lambda C: C[2] == ("C", 2) and C.required == "yes" and type(C).made == ["C"] and C.frozen == 1


@case
def class_init_subclass_required():
    class Base:
        registry = {}

        def __init_subclass__(cls, *, key, **kwargs):
            super().__init_subclass__(**kwargs)
            Base.registry[key] = cls

    class Sub(Base, key="k"):
        pass

    def check(Sub):
        Base = Sub.__mro__[1]
        if Base.registry != {"k": Sub}:
            return False
        type("More", (Base,), {}, key="m")  # it is in force again
        return set(Base.registry) == {"k", "m"}

    return Sub, check


@case
def class_set_name_not_again():
    class Field:
        calls = 0

        def __set_name__(self, owner, name):
            Field.calls += 1
            self.name = name

    class C:
        x = Field()
        y = Field()

    return C, lambda C: type(C.x).calls == 2 and C.y.name == "y"


@case
def class_abc():
    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

        @property
        @abc.abstractmethod
        def name(self): ...

    class Square(Shape):
        def area(self):
            return 4

        name = "square"

    Shape.register(int)

    def check(pair):
        Shape, Square = pair
        try:
            Shape()
        except TypeError as e:
            ok = "abstract" in str(e)
        return ok and Square().area() == 4 and isinstance(3, Shape) and not isinstance("", Shape)

    return (Shape, Square), check


@case
def class_abc_registry_by_value():
    class Base(abc.ABC):  # noqa: B024
        pass

    @Base.register
    class Other:
        pass

    return Base, lambda B: [c for c in B.__subclasses__()] == [] and hasattr(B, "register")


@case
def class_collections_abc():
    class Seq(collections.abc.Sequence):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            if i >= 3:
                raise IndexError
            return i * i

    return Seq(), lambda s: list(s) == [0, 1, 4] and 4 in s and isinstance(s, collections.abc.Sequence)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    tags: list = dataclasses.field(default_factory=list, metadata={"unit": "m"})


@case
def class_dataclass():
    def check(p):
        import dataclasses

        P = type(p)
        fields = {f.name: f for f in dataclasses.fields(P)}
        return (
            p == P(1, 2, ["t"])
            and dataclasses.asdict(p) == {"x": 1, "y": 2, "tags": ["t"]}
            and fields["x"].default is dataclasses.MISSING
            and fields["tags"].metadata == {"unit": "m"}
            and dataclasses.replace(p, y=9).y == 9
            and dataclasses.make_dataclass("Q", [("z", int, 3)], bases=(P,))(1).z == 3
        )

    return Point(1, 2, ["t"]), check


@case
def class_dataclass_variants():
    @dataclasses.dataclass(frozen=True, order=True)
    class A:
        a: int
        _: dataclasses.KW_ONLY
        b: int = 1
        c: typing.ClassVar[int] = 3
        d: dataclasses.InitVar[int] = 4

    @dataclasses.dataclass(slots=True)
    class B:
        x: int

    def check(pair):
        import dataclasses

        a, b = pair
        A = type(a)
        try:
            a.a = 2
        except dataclasses.FrozenInstanceError:
            pass
        else:
            return False
        return A(1) < A(2) and hash(a) == hash(A(1)) and a.b == 1 and b.x == 5 and not hasattr(b, "__dict__")

    return (A(1), B(5)), check


@case
def class_namedtuples():
    Old = collections.namedtuple("Old", "a b", defaults=[2])

    class New(typing.NamedTuple):
        "documented"

        a: int
        b: str = "x"

        def both(self):
            return self.a, self.b

    def check(pair):
        old, new = pair
        return (
            old == (1, 2)
            and old._replace(a=5).a == 5
            and old._asdict() == {"a": 1, "b": 2}
            and new.both() == (1, "x")
            and type(new)(a=3).b == "x"
            and type(new).__doc__ == "documented"
            and repr(old) == "Old(a=1, b=2)"
        )

    return (Old(1), New(1)), check


@case
def class_typeddict():
    class Movie(typing.TypedDict, total=False):
        name: str

    return Movie, lambda M: M(name="x") == {"name": "x"} and M.__annotations__.keys() == {"name"}


T = typing.TypeVar("T")
B = typing.TypeVar("B", bound=Plain, covariant=True)
N = typing.TypeVar("N", int, str)


@case
def class_generic():
    class Box(typing.Generic[T]):
        def __init__(self, item: T):
            self.item = item

        def get(self) -> T:
            return self.item

    class IntBox(Box[int]):
        pass

    def check(triple):
        import typing

        Box, IntBox, T = triple
        return (
            Box[int](3).get() == 3
            and Box.__parameters__ == (T,)
            and typing.get_args(IntBox.__orig_bases__[0]) == (int,)
            and Box[int] == Box[int]
        )

    return (Box, IntBox, T), check


@case
def class_protocol():
    @typing.runtime_checkable
    class HasArea(typing.Protocol):
        def area(self) -> float: ...

    class Square:
        def area(self):
            return 1.0

    return (HasArea, Square), lambda p: isinstance(p[1](), p[0]) and not isinstance(3, p[0])


@case
def typevars():
    def check(vs):
        T, B, N = vs
        return (
            T.__name__ == "T"
            and B.__bound__.__name__ == "Plain"
            and B.__covariant__
            and N.__constraints__ == (int, str)
            and T.__module__ == "__main__"
        )

    return [T, B, N], check


@case
def typing_aliases():
    return [typing.List[T], dict[str, T], typing.Optional[Plain], int | str, typing.Callable[[int], T]], (  # noqa: UP006, UP045
        lambda a: a[0][int] == list[int] or str(a[0][int]) == "typing.List[int]"
    )


@case
def newtype():
    UserId = typing.NewType("UserId", int)
    return UserId, lambda U: U(3) == 3 and U.__supertype__ is int and U.__name__ == "UserId"


@case
def paramspec_and_typevartuple():
    P = typing.ParamSpec("P")
    return P, lambda P: P.__name__ == "P" and P.args is not None


@case
def class_with_nested_class():
    class Outer:
        class Inner:
            def up(self):
                return Outer

    return Outer, lambda C: C.Inner().up() is C and C.Inner.__qualname__.endswith("Outer.Inner")


@case
def class_refers_to_itself():
    class Node:
        instances = []

        def __init__(self):
            self.instances.append(self)

    Node.first = Node()
    Node.cls = Node
    return Node, lambda N: N.cls is N and type(N.first) is N and N.instances == [N.first]


@case
def class_property_subclass():
    class chatty(property):
        def __init__(self, *args, loud=False):
            super().__init__(*args)
            self.loud = loud

    class C:
        x = chatty(lambda self: 5, loud=True)

    return C, lambda C: C().x == 5 and C.__dict__["x"].loud is True


@case
def class_property_names():
    def check(C):
        try:
            C().x = 1
        except AttributeError as e:
            message = str(e)
        import sys

        return sys.version_info < (3, 11) or "'x'" in message

    return type("C", (), {"x": property(lambda self: 1)}), check


@case
def class_cached_property():
    class C:
        calls = 0

        @functools.cached_property
        def value(self):
            "computed once"
            type(self).calls += 1
            return self.calls * 10

    def check(C):
        c = C()
        return c.value == 10 and c.value == 10 and C.calls == 1 and C.value.__doc__ == "computed once"

    return C, check


@case
def class_static_and_classmethod_objects():
    return [staticmethod(lambda: 1), classmethod(lambda c: c)], lambda m: m[0].__func__() == 1 and m[1].__func__(2) == 2


@case
def class_custom_descriptor():
    class Positive:
        def __set_name__(self, owner, name):
            self.name = "_" + name

        def __get__(self, obj, cls):
            return self if obj is None else getattr(obj, self.name)

        def __set__(self, obj, value):
            if value < 0:
                raise ValueError(value)
            setattr(obj, self.name, value)

    class C:
        x = Positive()

    def check(C):
        c = C()
        c.x = 3
        try:
            c.x = -1
        except ValueError:
            return c.x == 3

    return C, check


@case
def class_operators():
    class V:
        def __init__(self, x):
            self.x = x

        def __add__(self, o):
            return V(self.x + o.x)

        def __len__(self):
            return self.x

        def __call__(self, y):
            return self.x * y

        def __getattr__(self, name):
            return name

        def __iter__(self):
            return iter(range(self.x))

        def __contains__(self, x):
            return x == self.x

        def __enter__(self):
            return self

        def __exit__(self, *a):
            return True

        def __lt__(self, o):
            return self.x < o.x

    def check(V):
        v = V(2) + V(3)
        with v:
            raise KeyError
        return len(v) == 5 and v(2) == 10 and v.foo == "foo" and list(v) == [0, 1, 2, 3, 4] and 5 in v and V(1) < v

    return V, check


@case
def class_builtin_bases():
    class D(dict):
        def twice(self):
            return {k: v * 2 for k, v in self.items()}

    class I(int):  # noqa: E742
        def next(self):
            return I(self + 1)

    d = D(a=1)
    d.extra = "e"
    return [d, I(4)], lambda p: p[0].twice() == {"a": 2} and p[0].extra == "e" and p[1].next() == 5


@case
def class_class_getitem_and_doc():
    class C:
        "the doc"

        def __class_getitem__(cls, item):
            return (cls.__name__, item)

    return C, lambda C: C[int] == ("C", int) and C.__doc__ == "the doc"


@case
def class_getstate_setstate():
    class C:
        def __init__(self):
            self.lock = threading.Lock()
            self.n = 3

        def __getstate__(self):
            return {"n": self.n}

        def __setstate__(self, state):
            self.__dict__.update(state)
            self.lock = threading.Lock()

    return C(), lambda c: c.n == 3 and c.lock.acquire()


@case
def class_reduce():
    class C:
        def __init__(self, a, b):
            self.ab = a, b

        def __reduce__(self):
            return C, self.ab

    return C(1, 2), lambda c: c.ab == (1, 2)


@case
def class_annotations():
    class C:
        x: int
        y: "C"

    def check(C):
        return C.__annotations__ == {"x": int, "y": "C"}

    return C, check


@case
def class_kwargs_new():
    class C:
        def __new__(cls, *, n):
            self = super().__new__(cls)
            self.n = n
            return self

        def __getnewargs_ex__(self):
            return (), {"n": self.n}

    return C(n=4), lambda c: c.n == 4


@case
def bound_methods():
    p = Plain(3)
    return [p.get, Plain.make, p.static], lambda m: m[0]() == 3 and m[1](4).x == 4 and m[2](5) == 10


@case
def bound_method_under_another_name():
    class C:
        def f(self):
            return 1

        g = lambda self: 2  # noqa: E731

    c = C()
    c.h = C.f.__get__(c)
    return [c.g, c], lambda p: p[0]() == 2 and p[1].h() == 1 and p[1].h.__self__ is p[1]


@case
def bound_method_of_stdlib():
    return collections.Counter("aab").most_common, lambda m: m(1) == [("a", 2)]


if sys.version_info >= (3, 12):
    exec(
        """
@case
def pep695():
    class Box[T: int]:
        def get(self, x: T) -> T:
            return x
    def first[U](xs: list[U]) -> U:
        return xs[0]
    return (Box, first), lambda p: p[0][int]().get(3) == 3 and p[1]([4]) == 4 and (
        p[0].__type_params__[0].__name__ == "T" and p[1].__type_params__[0].__name__ == "U"
        and p[0].__type_params__[0].__bound__ is int and p[0].__parameters__ == p[0].__type_params__)

@case
def pep695_bound_to_itself():
    class Tree[T: "Tree"]:
        pass
    class Node[T: Node]:
        pass
    return Node, lambda N: N.__type_params__[0].__bound__ is N

@case
def pep695_alias():
    class Item:
        pass
    type Pair[T] = tuple[T, T]
    type Items = dict[str, list[Pair[Item]]]
    return [Pair, Items, Pair, Item], lambda p: p[0] is p[2] and p[0].__name__ == "Pair" and (
        p[0].__value__.__args__ == p[0].__type_params__ * 2 and p[0][int].__args__ == (int,)
        and p[1].__value__.__args__[1].__args__[0].__origin__ is p[0]
        and p[1].__value__.__args__[1].__args__[0].__args__ == (p[3],))
"""
    )


main()

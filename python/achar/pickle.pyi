# Types of achar.pickle: the standard module's names, with achar's own functions and classes.
from collections.abc import Callable, Iterable, Mapping
from pickle import (
    ADDITEMS as ADDITEMS,
)
from pickle import (
    APPEND as APPEND,
)
from pickle import (
    APPENDS as APPENDS,
)
from pickle import (
    BINBYTES as BINBYTES,
)
from pickle import (
    BINBYTES8 as BINBYTES8,
)
from pickle import (
    BINFLOAT as BINFLOAT,
)
from pickle import (
    BINGET as BINGET,
)
from pickle import (
    BININT as BININT,
)
from pickle import (
    BININT1 as BININT1,
)
from pickle import (
    BININT2 as BININT2,
)
from pickle import (
    BINPERSID as BINPERSID,
)
from pickle import (
    BINPUT as BINPUT,
)
from pickle import (
    BINSTRING as BINSTRING,
)
from pickle import (
    BINUNICODE as BINUNICODE,
)
from pickle import (
    BINUNICODE8 as BINUNICODE8,
)
from pickle import (
    BUILD as BUILD,
)
from pickle import (
    BYTEARRAY8 as BYTEARRAY8,
)
from pickle import (
    DEFAULT_PROTOCOL as DEFAULT_PROTOCOL,
)
from pickle import (
    DICT as DICT,
)
from pickle import (
    DUP as DUP,
)
from pickle import (
    EMPTY_DICT as EMPTY_DICT,
)
from pickle import (
    EMPTY_LIST as EMPTY_LIST,
)
from pickle import (
    EMPTY_SET as EMPTY_SET,
)
from pickle import (
    EMPTY_TUPLE as EMPTY_TUPLE,
)
from pickle import (
    EXT1 as EXT1,
)
from pickle import (
    EXT2 as EXT2,
)
from pickle import (
    EXT4 as EXT4,
)
from pickle import (
    FALSE as FALSE,
)
from pickle import (
    FLOAT as FLOAT,
)
from pickle import (
    FRAME as FRAME,
)
from pickle import (
    FROZENSET as FROZENSET,
)
from pickle import (
    GET as GET,
)
from pickle import (
    GLOBAL as GLOBAL,
)
from pickle import (
    HIGHEST_PROTOCOL as HIGHEST_PROTOCOL,
)
from pickle import (
    INST as INST,
)
from pickle import (
    INT as INT,
)
from pickle import (
    LIST as LIST,
)
from pickle import (
    LONG as LONG,
)
from pickle import (
    LONG1 as LONG1,
)
from pickle import (
    LONG4 as LONG4,
)
from pickle import (
    LONG_BINGET as LONG_BINGET,
)
from pickle import (
    LONG_BINPUT as LONG_BINPUT,
)
from pickle import (
    MARK as MARK,
)
from pickle import (
    MEMOIZE as MEMOIZE,
)
from pickle import (
    NEWFALSE as NEWFALSE,
)
from pickle import (
    NEWOBJ as NEWOBJ,
)
from pickle import (
    NEWOBJ_EX as NEWOBJ_EX,
)
from pickle import (
    NEWTRUE as NEWTRUE,
)
from pickle import (
    NEXT_BUFFER as NEXT_BUFFER,
)
from pickle import (
    NONE as NONE,
)
from pickle import (
    OBJ as OBJ,
)
from pickle import (
    PERSID as PERSID,
)
from pickle import (
    POP as POP,
)
from pickle import (
    POP_MARK as POP_MARK,
)
from pickle import (
    PROTO as PROTO,
)
from pickle import (
    PUT as PUT,
)
from pickle import (
    READONLY_BUFFER as READONLY_BUFFER,
)
from pickle import (
    REDUCE as REDUCE,
)
from pickle import (
    SETITEM as SETITEM,
)
from pickle import (
    SETITEMS as SETITEMS,
)
from pickle import (
    SHORT_BINBYTES as SHORT_BINBYTES,
)
from pickle import (
    SHORT_BINSTRING as SHORT_BINSTRING,
)
from pickle import (
    SHORT_BINUNICODE as SHORT_BINUNICODE,
)
from pickle import (
    STACK_GLOBAL as STACK_GLOBAL,
)
from pickle import (
    STOP as STOP,
)
from pickle import (
    STRING as STRING,
)
from pickle import (
    TRUE as TRUE,
)
from pickle import (
    TUPLE as TUPLE,
)
from pickle import (
    TUPLE1 as TUPLE1,
)
from pickle import (
    TUPLE2 as TUPLE2,
)
from pickle import (
    TUPLE3 as TUPLE3,
)
from pickle import (
    UNICODE as UNICODE,
)
from pickle import (
    PickleBuffer as PickleBuffer,
)
from pickle import (
    PickleError as PickleError,
)
from pickle import (
    PicklingError as PicklingError,
)
from pickle import (
    UnpicklingError as UnpicklingError,
)
from typing import Any, Protocol, final, type_check_only

from _typeshed import ReadableBuffer, SupportsWrite
from typing_extensions import disjoint_base

__all__ = [
    "ADDITEMS",
    "APPEND",
    "APPENDS",
    "BINBYTES",
    "BINBYTES8",
    "BINFLOAT",
    "BINGET",
    "BININT",
    "BININT1",
    "BININT2",
    "BINPERSID",
    "BINPUT",
    "BINSTRING",
    "BINUNICODE",
    "BINUNICODE8",
    "BUILD",
    "BYTEARRAY8",
    "DEFAULT_PROTOCOL",
    "DICT",
    "DUP",
    "EMPTY_DICT",
    "EMPTY_LIST",
    "EMPTY_SET",
    "EMPTY_TUPLE",
    "EXT1",
    "EXT2",
    "EXT4",
    "FALSE",
    "FLOAT",
    "FRAME",
    "FROZENSET",
    "GET",
    "GLOBAL",
    "HIGHEST_PROTOCOL",
    "INST",
    "INT",
    "LIST",
    "LONG",
    "LONG1",
    "LONG4",
    "LONG_BINGET",
    "LONG_BINPUT",
    "MARK",
    "MEMOIZE",
    "NEWFALSE",
    "NEWOBJ",
    "NEWOBJ_EX",
    "NEWTRUE",
    "NEXT_BUFFER",
    "NONE",
    "OBJ",
    "PERSID",
    "POP",
    "POP_MARK",
    "PROTO",
    "PUT",
    "PickleBuffer",
    "PickleError",
    "Pickler",
    "PicklingError",
    "READONLY_BUFFER",
    "REDUCE",
    "SETITEM",
    "SETITEMS",
    "SHORT_BINBYTES",
    "SHORT_BINSTRING",
    "SHORT_BINUNICODE",
    "STACK_GLOBAL",
    "STOP",
    "STRING",
    "TRUE",
    "TUPLE",
    "TUPLE1",
    "TUPLE2",
    "TUPLE3",
    "UNICODE",
    "Unpickler",
    "UnpicklingError",
    "dump",
    "dumps",
    "load",
    "loads",
]

format_version: str
compatible_formats: list[str]

# file has read(n) and readline(); readinto(buffer) and peek(n) are used where it has them.
@type_check_only
class _Readable(Protocol):
    def read(self, size: int, /) -> ReadableBuffer: ...
    def readline(self) -> ReadableBuffer: ...

def dump(
    obj: object,
    file: SupportsWrite[bytes],
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: Callable[[PickleBuffer], object] | None = None,
) -> None: ...
def dumps(
    obj: object,
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: Callable[[PickleBuffer], object] | None = None,
) -> bytes: ...
def load(
    file: _Readable,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[object] | None = (),
) -> Any: ...
def loads(
    data: ReadableBuffer,
    /,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[object] | None = (),
) -> Any: ...

@final
@type_check_only
class _PicklerMemoProxy:
    def clear(self) -> None: ...
    def copy(self) -> dict[int, tuple[int, Any]]: ...

@final
@type_check_only
class _UnpicklerMemoProxy:
    def clear(self) -> None: ...
    def copy(self) -> dict[int, Any]: ...

@disjoint_base
class Pickler:
    bin: int
    fast: bool
    dispatch_table: Mapping[type, Callable[[Any], Any]]
    def __init__(
        self,
        file: SupportsWrite[bytes],
        protocol: int | None = None,
        fix_imports: bool = True,
        buffer_callback: Callable[[PickleBuffer], object] | None = None,
    ) -> None: ...
    @property
    def memo(self) -> _PicklerMemoProxy: ...
    @memo.setter
    def memo(self, value: _PicklerMemoProxy | dict[int, tuple[int, Any]]) -> None: ...
    def dump(self, obj: object, /) -> None: ...
    def clear_memo(self) -> None: ...
    def persistent_id(self, obj: Any, /) -> Any: ...
    # Subclasses may have reducer_override(self, obj); there is none here.

@disjoint_base
class Unpickler:
    def __init__(
        self,
        file: _Readable,
        *,
        fix_imports: bool = True,
        encoding: str = "ASCII",
        errors: str = "strict",
        buffers: Iterable[object] | None = (),
    ) -> None: ...
    @property
    def memo(self) -> _UnpicklerMemoProxy: ...
    @memo.setter
    def memo(self, value: _UnpicklerMemoProxy | dict[int, Any]) -> None: ...
    def load(self) -> Any: ...
    def find_class(self, module_name: str, global_name: str, /) -> Any: ...
    def persistent_load(self, pid: Any, /) -> Any: ...

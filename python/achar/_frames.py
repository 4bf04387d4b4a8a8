"""What a worker and its client say to each other on a worker's connection (_nested.py, _door.py).

frame   [u64 cookie][u8 what][u64 id][u64 nbytes][bytes]     both ways; an id is the worker's number for a call
"""

import struct

FRAME = struct.Struct("<QBQQ")
# What a SUBMIT begins with: limit (0: none), retries, backoff, priority, number of the task that submits. And a CALL:
# the actor's key, number of the task that calls it. Then both: input count, size of the name; inputs, name, call.
OPTIONS, ACTOR, COUNTS = struct.Struct("<dIdiI"), struct.Struct("<QI"), struct.Struct("<II")
SUBMIT, CALL, CANCEL, RELEASE, GOODBYE, PUT, WAIT, CHECK, FAILED, *RETURNED_OF_KIND = range(1, 13)  # packed.h's kinds
WAITER = struct.Struct("<QI")  # of a WAIT: the task of a task, or 0, and the process; nothing: the wait is over
HELLO = struct.Struct("<Q")  # the cookie; sent with the connection

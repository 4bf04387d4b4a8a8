/*
 * test_shapes.c - known shapes: look-alikes are refused, damage is survived, and what is made is
 * what was asked for. That C and Python mean the same by each of them is tests/codec's part.
 */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "exercise_shapes.h"

/* ---- look-alikes ---- */

/* Pieces of pickles. Text and integers are those of protocol 0, bytes of protocol 3. */
#define P3                             "\x80\x03"
#define BYTES(nbytes_in_hex, literal)  "C" nbytes_in_hex literal
#define DATETIME(nbytes_in_hex, state) "cdatetime\ndatetime\n(" BYTES(nbytes_in_hex, state) "tR"
#define TIMEDELTA(arguments)           "cdatetime\ntimedelta\n(" arguments "tR"
#define DTYPE(type, state)             "cnumpy\ndtype\n(V" type "\nI00\nI01\ntR(" state "tb"
#define F8                             DTYPE("f8", "I3\nV<\nNNNI-1\nI-1\nI0\n")
#define OBJECT                         DTYPE("O8", "I3\nV|\nNNNI-1\nI-1\nI63\n")
#define ARRAY(state)                                                                               \
    "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" BYTES("\x01",                 \
                                                                           "b") "tR(" state "tb"
#define FROMBUFFER(arguments) "cnumpy.core.numeric\n_frombuffer\n(" arguments "tR"
#define SIXTEEN               BYTES("\x10", "0123456789abcdef")
#define UUID(state)           "cuuid\nUUID\n)\x81" state

typedef struct case_of {
    const char *pickle;
    size_t nbytes;
    int shape; /* that it claims to be */
    int status;
    const char *message; /* part of it */
} case_of;

#define CASE(shape, status, message, pickle)                                                       \
    {                                                                                              \
        pickle ".", sizeof(pickle), ACHAR_SHAPE_##shape, ACHAR_##status, message                   \
    }

static const case_of cases[] = {
    /* so that the pieces are known to be good */
    CASE(DATETIME, OK, "", P3 DATETIME("\x0a", "\x07\xe8\x02\x1d\x17\x3b\x3b\x0f\x42\x3f")),
    CASE(TIMEDELTA, OK, "", P3 TIMEDELTA("I-1\nI0\nI999999\n")),
    CASE(NDARRAY, OK, "", P3 ARRAY("I1\n(I2\nt" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, OK, "", P3 ARRAY("I1\n(I0\nI576460752303423488\nt" F8 "I00\nC\0")),
    CASE(NDARRAY, OK, "", P3 FROMBUFFER(SIXTEEN F8 "(I1\nI2\ntVF\n")),
    CASE(NDARRAY, OK, "", P3 FROMBUFFER(SIXTEEN F8 "(I1\nI2\ntVK\n(I1\nI0\nt")),
    CASE(UUID, OK, "", P3 UUID("(dVint\nI5\nsb")),

    CASE(DATETIME, E_SHAPE, "9 bytes", P3 DATETIME("\x09", "\x07\xe8\x02\x1d\x17\x3b\x3b\x0f\x42")),
    CASE(DATETIME, E_SHAPE, "11 bytes",
         P3 DATETIME("\x0b", "\x07\xe8\x02\x1d\x17\x3b\x3b\x0f\x42\x3f\0")),
    CASE(DATETIME, E_SHAPE, "calendar", P3 DATETIME("\x0a", "\x07\xe8\x0d\1\0\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "calendar", P3 DATETIME("\x0a", "\x07\xe8\0\1\0\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "calendar", P3 DATETIME("\x0a", "\x07\xe7\x02\x1d\0\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "calendar", P3 DATETIME("\x0a", "\x07\x6c\x02\x1d\0\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "calendar", P3 DATETIME("\x0a", "\0\0\1\1\0\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "calendar", P3 DATETIME("\x0a", "\x27\x10\1\1\0\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "clock", P3 DATETIME("\x0a", "\x07\xe8\1\1\x18\0\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "clock", P3 DATETIME("\x0a", "\x07\xe8\1\1\0\x3c\0\0\0\0")),
    CASE(DATETIME, E_SHAPE, "clock", P3 DATETIME("\x0a", "\x07\xe8\1\1\0\0\x3c\0\0\0")),
    CASE(DATETIME, E_SHAPE, "clock", P3 DATETIME("\x0a", "\x07\xe8\1\1\0\0\0\x0f\x42\x40")),
    CASE(DATETIME, E_SHAPE, "changed", P3 DATETIME("\x0a", "\x07\xe8\1\1\0\0\0\0\0\0") "(db"),
    CASE(DATETIME, E_SHAPE, "arguments", P3 "cdatetime\ndatetime\n)R"),
    CASE(DATETIME, E_SHAPE, "not bytes", P3 "cdatetime\ndatetime\n(V0123456789\ntR"),
    CASE(DATETIME, E_SHAPE, "kind int",
         P3 "cdatetime\ndatetime\n(C\x0a\x07\xe8\1\1\0\0\0\0\0\0I1\ntR"),
    CASE(DATETIME, E_SHAPE, "no tuple", P3 "cdatetime\ndatetime\ncos\nargs\nR"),
    CASE(DATETIME, E_SHAPE, "call", P3 "cdatetime\ndatetime\n)\x81"),
    CASE(NONE, E_TYPE, "",
         P3 "cdatetime\ndatetime\n(db(C\x01"
            "0tR"), /* the class is changed */
    CASE(DATE, E_SHAPE, "10 bytes", P3 "cdatetime\ndate\n(C\x0a\x07\xe8\1\1\0\0\0\0\0\0tR"),
    CASE(TIME, E_SHAPE, "clock", P3 "cdatetime\ntime\n(C\x06\xff\0\0\0\0\0tR"),

    CASE(TIMEDELTA, E_SHAPE, "", P3 TIMEDELTA("I0\nI0\nI1000000\n")),
    CASE(TIMEDELTA, E_SHAPE, "", P3 TIMEDELTA("I0\nI86400\nI0\n")),
    CASE(TIMEDELTA, E_SHAPE, "", P3 TIMEDELTA("I1000000000\nI0\nI0\n")),
    CASE(TIMEDELTA, E_SHAPE, "", P3 TIMEDELTA("F1.5\nI0\nI0\n")),
    CASE(TIMEDELTA, E_SHAPE, "", P3 TIMEDELTA("I1\n")),
    CASE(TIMEZONE, E_SHAPE, "a day", P3 "cdatetime\ntimezone\n(" TIMEDELTA("I1\nI0\nI0\n") "tR"),
    CASE(TIMEZONE, E_SHAPE, "a day", P3 "cdatetime\ntimezone\n(" TIMEDELTA("I-1\nI0\nI0\n") "tR"),
    CASE(TIMEZONE, E_SHAPE, "timedelta", P3 "cdatetime\ntimezone\n(I5\ntR"),
    CASE(TIMEZONE, E_SHAPE, "name", P3 "cdatetime\ntimezone\n(" TIMEDELTA("I0\nI0\nI0\n") "I1\ntR"),
    CASE(ZONEINFO, E_SHAPE, "key",
         P3 "cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nV_unpickle\ntR(I1\nI1\ntR"),
    CASE(NONE, E_TYPE, "", P3 "cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nVno_cache\ntR(Vx\nI1\ntR"),

#define DECIMAL(text) P3 "cdecimal\nDecimal\n(V" text "\ntR"
    CASE(DECIMAL, OK, "", DECIMAL("1.")),
    CASE(DECIMAL, OK, "", DECIMAL("-.5e-999999999999999999")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("-")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL(".")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("1_0")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL(" 1")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("1E")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("1E+")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("1E1000000000000000000")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("Infinit")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("sInfinity")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("NaN1.5")),
    CASE(DECIMAL, E_SHAPE, "number", DECIMAL("\\uff11")),
    CASE(DECIMAL, E_SHAPE, "number", P3 "cdecimal\nDecimal\n(I1\ntR"),

    CASE(FRACTION, E_SHAPE, "integers", P3 "cfractions\nFraction\n(I1\nI0\ntR"),
    CASE(FRACTION, E_SHAPE, "integers", P3 "cfractions\nFraction\n(I1\nI-1\ntR"),
    CASE(FRACTION, E_SHAPE, "integers", P3 "cfractions\nFraction\n(F1.5\nI1\ntR"),
    CASE(FRACTION, E_SHAPE, "integers", P3 "cfractions\nFraction\n(V1/0\ntR"),
    CASE(FRACTION, E_SHAPE, "number", P3 "cfractions\nFraction\n(V1/\ntR"),
    CASE(FRACTION, E_SHAPE, "number", P3 "cfractions\nFraction\n(V1/2/3\ntR"),
    CASE(FRACTION, E_SHAPE, "number", P3 "cfractions\nFraction\n(V1.5\ntR"),
    CASE(COMPLEX, E_SHAPE, "floats", P3 "cbuiltins\ncomplex\n(I1\nI2\ntR"),
    CASE(RANGE, E_SHAPE, "not 0", P3 "cbuiltins\nrange\n(I1\nI2\nI0\ntR"),
    CASE(RANGE, E_SHAPE, "integers", P3 "cbuiltins\nrange\n(I1\nI2\nI01\ntR"),
    CASE(RANGE, E_SHAPE, "arguments", P3 "cbuiltins\nrange\n(I1\nI2\ntR"),
    CASE(NONE, E_TYPE, "", P3 "c__builtin__\nxrange\n(I1\nI2\nI3\ntR"), /* not in protocol 3 */
    CASE(RANGE, OK, "", "c__builtin__\nxrange\n(I1\nI2\nI3\ntR"),

    CASE(UUID, E_SHAPE, "128 bits", P3 UUID("(dVint\nI-1\nsb")),
    CASE(UUID, E_SHAPE, "128 bits",
         P3 UUID("(dVint\nL340282366920938463463374607431768211456L\nsb")),
    CASE(UUID, E_SHAPE, "128 bits", P3 UUID("(dVint\nNsb")),
    CASE(UUID, E_SHAPE, "128 bits", P3 UUID("(db")),
    CASE(UUID, E_SHAPE, "more", P3 UUID("(dVint\nI5\nsVhex\nI5\nsb")),
    CASE(UUID, E_SHAPE, "state", P3 UUID("(I5\ntb")),
    CASE(UUID, E_SHAPE, "state", P3 UUID("")),
    CASE(UUID, E_SHAPE, "state", P3 UUID("(dVint\nI5\nsb(dVint\nI5\nsb")),
    CASE(UUID, E_SHAPE, "all its items", P3 "(cuuid\nUUID\n)\x81p1\n(dp0\nbg0\nVint\nI5\ns01g1\n"),
    CASE(UUID, E_SHAPE, "arguments", P3 "cuuid\nUUID\n(I1\nt\x81(dVint\nI5\nsb"),
    CASE(PATH, E_SHAPE, "no text", P3 "cpathlib\nPurePosixPath\n(I1\ntR"),

    CASE(BYTES, E_SHAPE, "no bytes", "c_codecs\nencode\n(V\\u0100\nVlatin1\ntR"),
    CASE(BYTES, E_SHAPE, "not bytes", "c_codecs\nencode\n(I1\nVlatin1\ntR"),
    CASE(NONE, E_TYPE, "", "c_codecs\nencode\n(Vabc\nVutf-8\ntR"),
    CASE(BYTES, E_SHAPE, "not bytes", P3 "cbuiltins\nbytes\n(I1\ntR"),
    CASE(BYTEARRAY, E_SHAPE, "not bytes", P3 "cbuiltins\nbytearray\n(I1000000000\ntR"),
    CASE(BYTEARRAY, E_SHAPE, "Latin-1", "c__builtin__\nbytearray\n(Vabc\nVutf-8\ntR"),

    CASE(SET, E_SHAPE, "kind int", P3 "cbuiltins\nset\n(I1\ntR"),
    CASE(SET, E_SHAPE, "kind str", P3 "cbuiltins\nset\n(Vabc\ntR"),
    CASE(SET, E_SHAPE, "all its items", P3 "(cbuiltins\nset\n((lp0\ntRp1\n0g0\nI1\na1g1\n"),
    CASE(SET, E_SHAPE, "does not fit", P3 "cbuiltins\nset\n((ltRI1\na"),
    CASE(FROZENSET, E_SHAPE, "arguments", P3 "cbuiltins\nfrozenset\n)R"),
    CASE(DEQUE, E_SHAPE, "maxlen", P3 "ccollections\ndeque\n()I-1\ntR"),
    CASE(DEQUE, E_SHAPE, "maxlen", P3 "ccollections\ndeque\n()I1\ntRI1\naI2\na"),
    CASE(DEQUE, E_SHAPE, "does not fit", P3 "ccollections\ndeque\n)RI1\nI2\ns"),
    CASE(DEQUE, E_UNSUPPORTED, "attributes", P3 "ccollections\ndeque\n)R(db"),
    CASE(ORDERED_DICT, E_SHAPE, "pairs", "ccollections\nOrderedDict\n((l(I1\nI2\nI3\nlatR"),
    CASE(ORDERED_DICT, E_SHAPE, "pairs", "ccollections\nOrderedDict\n((lI1\natR"),
    CASE(ORDERED_DICT, E_SHAPE, "all its items",
         "(ccollections\nOrderedDict\n((l(I1\nlp0\natRp1\n0g0\nI2\na1g1\n"),
    CASE(DEFAULT_DICT, E_SHAPE, "factory", P3 "ccollections\ndefaultdict\n(I1\ntR"),
    CASE(COUNTER, E_SHAPE, "kind list", P3 "ccollections\nCounter\n((ltR"),

    CASE(DTYPE, E_SHAPE, "not known", P3 DTYPE("f3", "I3\nV<\nNNNI-1\nI-1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "not known", P3 DTYPE("x8", "I3\nV<\nNNNI-1\nI-1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "not known", P3 DTYPE("S99999999999999999999", "I3\nV|\nNNNI1\nI1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "two sizes", P3 DTYPE("U2", "I3\nV<\nNNNI400\nI4\nI8\n")),
    CASE(DTYPE, E_SHAPE, "order", P3 DTYPE("f8", "I3\nV=\nNNNI-1\nI-1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "order", P3 DTYPE("f8", "I3\nV|\nNNNI-1\nI-1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "order", P3 DTYPE("f8", "I3\nX\1\0\0\0\0NNNI-1\nI-1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "form", P3 DTYPE("f8", "I3\nV<\nNNNI-1\nI-1\n")),
    CASE(DTYPE, E_SHAPE, "unit", P3 DTYPE("M8", "I3\nV<\nNNNI-1\nI-1\nI0\n")),
    CASE(DTYPE, E_SHAPE, "unit",
         P3 DTYPE("M8", "I4\nV<\nNNNI-1\nI-1\nI0\n(N(C\x08verylongI1\nI1\nI1\ntt")),
    CASE(DTYPE, E_SHAPE, "unit", P3 DTYPE("M8", "I4\nV<\nNNNI-1\nI-1\nI0\n(N(C\1sI0\nI1\nI1\ntt")),
    CASE(DTYPE, E_SHAPE, "state", P3 "cnumpy\ndtype\n(Vf8\nI00\nI01\ntR"),
    CASE(DTYPE, E_SHAPE, "state", P3 F8 "(I3\nV>\nNNNI-1\nI-1\nI0\ntb"),
    CASE(DTYPE, E_UNSUPPORTED, "fields", P3 DTYPE("V8", "I3\nV|\nN(Va\nt(dI8\nI1\nI16\n")),
    CASE(DTYPE, E_UNSUPPORTED, "arrays", P3 DTYPE("V8", "I3\nV|\n(NNtNNI8\nI1\nI0\n")),

    CASE(NDARRAY, E_SHAPE, "16 bytes of data where 24", P3 ARRAY("I1\n(I3\nt" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "16 bytes of data where 8", P3 ARRAY("I1\n(I1\nt" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "16 bytes of data where 8", P3 ARRAY("I1\n)" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "sizes", P3 ARRAY("I1\n(I-1\nI-2\nt" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "too many", P3 ARRAY("I1\n(I4294967296\nI4294967296\nt" F8 "I00\nC\0")),
    CASE(NDARRAY, E_SHAPE, "too many", P3 ARRAY("I1\n(I2305843009213693954\nt" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "too many",
         P3 ARRAY("I1\n(I0\nI4294967296\nI4294967296\nt" F8 "I00\nC\0")),
    CASE(NDARRAY, E_SHAPE, "tuple", P3 ARRAY("I1\n(I2\nl" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "not bytes", P3 ARRAY("I1\n(I2\nt" F8 "I00\nV0123456789abcdef\n")),
    CASE(NDARRAY, E_SHAPE, "form", P3 ARRAY("I2\n(I2\nt" F8 "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "form", P3 ARRAY("I1\n(I2\nt" F8 "V\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "a list of 2", P3 ARRAY("I1\n(I2\nt" OBJECT "I00\n(NNNl")),
    CASE(NDARRAY, E_SHAPE, "a list of 2", P3 ARRAY("I1\n(I2\nt" OBJECT "I00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "all its items",
         P3 "(" ARRAY("I1\n(I1\nt" OBJECT "I00\n(lp0\n") "p1\n0g0\nNa1g1\n"),
    CASE(NDARRAY, E_SHAPE, "after it was used",
         P3 "(cnumpy\ndtype\n(Vf8\nI00\nI01\ntRp0\n0" ARRAY(
             "I1\n(I2\nt"
             "g0\nI00\n" SIXTEEN) "p1\n0g0\n(I3\nV<\nNNNI-1\nI-1\nI0\ntb1g1\n"),
    CASE(NDARRAY, E_UNSUPPORTED, "own",
         P3 ARRAY("I1\n(I2\nt"
                  "cm\nd\nI00\n" SIXTEEN)),
    CASE(NDARRAY, E_SHAPE, "state",
         P3 "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\n"
            "tC\1btR"),
    CASE(NONE, E_TYPE, "",
         P3 "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nmatrix\n(I0\ntC\1btR"),
    CASE(NDARRAY, E_SHAPE, "neither", P3 FROMBUFFER(SIXTEEN F8 "(I2\ntVA\n")),
    CASE(NDARRAY, E_SHAPE, "arguments", P3 FROMBUFFER(SIXTEEN F8 "(I2\ntVK\n")),
    CASE(NDARRAY, E_SHAPE, "axes", P3 FROMBUFFER(SIXTEEN F8 "(I1\nI2\ntVK\n(I0\nI0\nt")),
    CASE(NDARRAY, E_SHAPE, "axes", P3 FROMBUFFER(SIXTEEN F8 "(I1\nI2\ntVK\n(I0\nI2\nt")),
    CASE(NDARRAY, E_SHAPE, "axes", P3 FROMBUFFER(SIXTEEN F8 "(I1\nI2\ntVK\n(I0\nI-1\nt")),
    CASE(NDARRAY, E_SHAPE, "axes", P3 FROMBUFFER(SIXTEEN F8 "(I1\nI2\ntVK\n(I0\nt")),
    CASE(NDARRAY, E_SHAPE, "sizes", P3 FROMBUFFER(SIXTEEN F8 "(I-1\ntVC\n")),
    CASE(NDARRAY, E_SHAPE, "objects", P3 FROMBUFFER("(Nl" OBJECT "(I1\ntVC\n")),
    CASE(NDARRAY, E_BUFFERS, "buffer 0", "\x80\x05" FROMBUFFER("\x97" F8 "(I2\ntVC\n")),
    CASE(SCALAR, E_SHAPE, "16 bytes of data where 8",
         P3 "cnumpy.core.multiarray\nscalar\n(" F8 SIXTEEN "tR"),

#define RECONSTRUCT(rest) P3 "carray\n_array_reconstructor\n(carray\narray\n" rest "tR"
    CASE(ARRAY, OK, "",
         RECONSTRUCT("Vi\nI8\nC\x08"
                     "01234567")),
    CASE(ARRAY, E_SHAPE, "inside an item",
         RECONSTRUCT("Vi\nI8\nC\x07"
                     "0123456")),
    CASE(ARRAY, E_SHAPE, "format",
         RECONSTRUCT("Vi\nI14\nC\x08"
                     "01234567")),
    CASE(ARRAY, E_SHAPE, "format",
         RECONSTRUCT("Vi\nI22\nC\x08"
                     "01234567")),
    CASE(ARRAY, E_SHAPE, "format",
         RECONSTRUCT("Vi\nI-1\nC\x08"
                     "01234567")),
    CASE(ARRAY, E_SHAPE, "typecode",
         RECONSTRUCT("Vz\nI8\nC\x08"
                     "01234567")),
    CASE(ARRAY, E_SHAPE, "typecode",
         RECONSTRUCT("Vii\nI8\nC\x08"
                     "01234567")),
    CASE(ARRAY, E_SHAPE, "item 1 does not fit", "carray\narray\n(Vb\n(I127\nI128\nltR"),
    CASE(ARRAY, E_SHAPE, "item 0 does not fit", "carray\narray\n(VB\n(I-1\nltR"),
    CASE(ARRAY, E_SHAPE, "item 0 does not fit", "carray\narray\n(VQ\n(L18446744073709551616L\nltR"),
    CASE(ARRAY, E_SHAPE, "item 0 does not fit", "carray\narray\n(Vi\n(F1.0\nltR"),
    CASE(ARRAY, E_SHAPE, "item 0 does not fit", "carray\narray\n(Vd\n(I1\nltR"),
    CASE(ARRAY, E_SHAPE, "item 0 does not fit", "carray\narray\n(Vu\n(Vab\nltR"),
    CASE(ARRAY, E_SHAPE, "all its items", "(carray\narray\n(Vb\n(lp0\ntRp1\n0g0\nI1\na1g1\n"),
};

/* Asks for what the value claims to be. */
static int ask(achar_graph *graph, achar_value value, int shape, achar_error *error)
{
    union {
        achar_date date;
        achar_time time;
        achar_datetime datetime;
        achar_timedelta timedelta;
        achar_timezone timezone;
        achar_decimal decimal;
        achar_fraction fraction;
        achar_complex complex;
        achar_range range;
        achar_uuid uuid;
        achar_path path;
        achar_items items;
        achar_dtype dtype;
        achar_ndarray ndarray;
        achar_scalar scalar;
        achar_array array;
    } as;
    const unsigned char *data;
    size_t nbytes;
    switch (shape) {
    case ACHAR_SHAPE_DATETIME:
        return achar_as_datetime(graph, value, &as.datetime, error);
    case ACHAR_SHAPE_DATE:
        return achar_as_date(graph, value, &as.date, error);
    case ACHAR_SHAPE_TIME:
        return achar_as_time(graph, value, &as.time, error);
    case ACHAR_SHAPE_TIMEDELTA:
        return achar_as_timedelta(graph, value, &as.timedelta, error);
    case ACHAR_SHAPE_TIMEZONE:
        return achar_as_timezone(graph, value, &as.timezone, error);
    case ACHAR_SHAPE_ZONEINFO:
        return achar_as_zoneinfo(graph, value, (const char **)&data, &nbytes, error);
    case ACHAR_SHAPE_DECIMAL:
        return achar_as_decimal(graph, value, &as.decimal, error);
    case ACHAR_SHAPE_FRACTION:
        return achar_as_fraction(graph, value, &as.fraction, error);
    case ACHAR_SHAPE_COMPLEX:
        return achar_as_complex(graph, value, &as.complex, error);
    case ACHAR_SHAPE_RANGE:
        return achar_as_range(graph, value, &as.range, error);
    case ACHAR_SHAPE_UUID:
        return achar_as_uuid(graph, value, &as.uuid, error);
    case ACHAR_SHAPE_PATH:
        return achar_as_path(graph, value, &as.path, error);
    case ACHAR_SHAPE_BYTES:
    case ACHAR_SHAPE_BYTEARRAY:
        return achar_as_bytes(graph, value, &data, &nbytes, error);
    case ACHAR_SHAPE_ARRAY:
        return achar_as_array(graph, value, &as.array, error);
    case ACHAR_SHAPE_DTYPE:
        return achar_as_dtype(graph, value, &as.dtype, error);
    case ACHAR_SHAPE_NDARRAY:
        return achar_as_ndarray(graph, value, &as.ndarray, error);
    case ACHAR_SHAPE_SCALAR:
        return achar_as_scalar(graph, value, &as.scalar, error);
    default:
        return achar_as_items(graph, value, &as.items, error);
    }
}

static void look_alikes_are_refused(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const case_of *c = &cases[i];
        achar_graph *graph = read_bytes(c->pickle, c->nbytes);
        achar_error error = {0};
        int shape = achar_shape(graph, achar_root(graph));
        int status = ask(graph, achar_root(graph), shape, &error);
        if (shape != c->shape || status != c->status || strstr(error.message, c->message) == NULL)
            fail_msg("case %zu, %s: %s, %s: %s", i, c->pickle, achar_shape_name(shape),
                     achar_status_name(status), error.message);
        if (status != ACHAR_OK) {
            assert_true(error.offset < c->nbytes);
            assert_int_equal((unsigned char)c->pickle[error.offset], error.opcode);
        }
        use_shapes(graph, 0);
        achar_graph_free(graph);
    }
}

/* ---- making ---- */

enum { MADE_COUNT = 22, MADE_MEMBER = 10 };

static achar_value make_one(achar_graph *graph, int index)
{
    static const size_t shape[] = {2, 3};
    static const double six[6] = {0, 1, 2, 3, 4, 5};
    static const int64_t day = 18262;
    achar_datetime when = {.year = 2024, .month = 2, .day = 29, .hour = 23, .fold = 1};
    achar_time time = {.hour = 1};
    achar_value made;
    switch (index) {
    case 0:
        return achar_make_date(graph, &(achar_date){2024, 2, 29});
    case 1:
        time.tzinfo = achar_make_zoneinfo(graph, "Europe/Berlin");
        return achar_make_time(graph, &time);
    case 2:
        when.tzinfo = achar_make_timezone(graph, -3600000000, "west");
        return achar_make_datetime(graph, &when);
    case 3:
        return achar_make_timedelta(graph, &(achar_timedelta){-1, 2, 3});
    case 4:
        return achar_make_decimal(graph, "-1.50E+3");
    case 5:
        made = achar_make_int_decimal(graph, "100000000000000000000000");
        return achar_make_fraction(graph, achar_make_int(-3), made);
    case 6:
        return achar_make_complex(graph, 1, -2);
    case 7:
        return achar_make_range(graph, 1, 9, 2);
    case 8:
        return achar_make_uuid(graph, (const unsigned char *)"0123456789abcdef");
    case 9:
        return achar_make_path(graph, "/a/b");
    case MADE_MEMBER:
        return achar_make_member(graph, "colours", "Colour", achar_make_int(1));
    case 11:
        made = achar_make_deque(graph, 3);
        achar_append(graph, made, achar_make_int(1));
        return made;
    case 12:
        made = achar_make_counter(graph);
        achar_put(graph, made, "a", achar_make_int(1));
        return made;
    case 13:
        return achar_make_ordered_dict(graph);
    case 14:
        return achar_make_default_dict(graph, achar_make_global(graph, "builtins", "list"));
    case 15:
        made = achar_make_bytes(graph, six, sizeof six);
        return achar_make_ndarray(graph, "<f8", shape, 2, 0, made);
    case 16:
        made = achar_borrow_bytes(graph, six, sizeof six);
        return achar_make_ndarray(graph, ">f8", shape, 2, 1, made);
    case 17:
        made = achar_make_list(graph);
        for (int i = 0; i < 6; i++)
            achar_append(graph, made, achar_make_int(i));
        return achar_make_ndarray(graph, "|O", shape, 2, 0, made);
    case 18:
        made = achar_make_bytes(graph, &day, sizeof day);
        return achar_make_ndarray(graph, "<M8[25us]", NULL, 0, 0, made);
    case 19:
        return achar_make_scalar(graph, "<M8[D]", &day);
    case 20:
        return achar_make_scalar(graph, "<U2", "a\0\0\0\xe4\0\0\0");
    default:
        return achar_make_array(graph, 'd', six, 6);
    }
}

static void make_everything(achar_graph *graph)
{
    achar_value all[MADE_COUNT];
    for (int i = 0; i < MADE_COUNT; i++)
        all[i] = make_one(graph, i);
    achar_set_root(graph, achar_make_tuple(graph, all, MADE_COUNT));
}

static void what_is_made_is_found(void **state)
{
    for (int protocol = 0; protocol <= 5; protocol++) {
        achar_graph *graph = achar_graph_new(NULL);
        achar_bytes bytes;
        make_everything(graph);
        /* in the graph that it was made in, and in one that was read */
        for (size_t i = 0; i < MADE_COUNT; i++) {
            achar_value made = achar_item(achar_root(graph), i);
            int shape = achar_shape(graph, made);
            assert_int_equal(ask(graph, made, shape, NULL),
                             shape == ACHAR_SHAPE_NONE ? ACHAR_E_TYPE : ACHAR_OK);
        }
        assert_int_equal(achar_write(graph, protocol, NULL, &bytes, NULL), ACHAR_OK);
        achar_graph_free(graph);
        graph = read_bytes((const char *)bytes.data, bytes.nbytes);
        assert_true(use_shapes(graph, 0) >= MADE_COUNT - 1);
        for (size_t i = 0; i < MADE_COUNT; i++) {
            achar_value found = achar_item(achar_root(graph), i);
            int shape = achar_shape(graph, found);
            assert_true(shape != ACHAR_SHAPE_NONE || i == MADE_MEMBER);
            if (shape != ACHAR_SHAPE_NONE)
                assert_int_equal(ask(graph, found, shape, NULL), ACHAR_OK);
        }
        achar_graph_free(graph);
        achar_bytes_free(&bytes, NULL);
    }
}

static void members_are_what_they_are_asked_as(void **state)
{
    achar_graph *graph = READ("\x80\x03"
                              "ccolours\nColour\n(Vred\ntR.");
    achar_member member;
    assert_int_equal(achar_as_member(graph, achar_root(graph), &member, NULL), ACHAR_OK);
    assert_true(achar_global_is(member.type, "colours", "Colour"));
    assert_true(achar_text_is(member.value, "red"));
    assert_int_equal(achar_kind(member.name), ACHAR_NOTHING);
    achar_graph_free(graph);
    graph = READ("\x80\x03"
                 "cbuiltins\ngetattr\n(ccolours\nColour\nVRED\ntR.");
    assert_int_equal(achar_as_member(graph, achar_root(graph), &member, NULL), ACHAR_OK);
    assert_true(achar_global_is(member.type, "colours", "Colour"));
    assert_true(achar_text_is(member.name, "RED"));
    assert_int_equal(achar_kind(member.value), ACHAR_NOTHING);
    achar_graph_free(graph);
    graph = READ("\x80\x03"
                 "ccolours\nColour\n(I1\nI2\ntR.");
    assert_int_equal(achar_as_member(graph, achar_root(graph), &member, NULL), ACHAR_E_TYPE);
    achar_graph_free(graph);
}

static void bad_arguments_stick(void **state)
{
    static const size_t shape[] = {2}, large[] = {SIZE_MAX / 2, 3};
    achar_datetime when = {.year = 2023, .month = 2, .day = 29};
    achar_time time = {.hour = 24};
#define STICKS(code, expression)                                                                   \
    do {                                                                                           \
        achar_graph *graph = achar_graph_new(NULL);                                                \
        achar_value made = expression;                                                             \
        assert_int_equal(achar_kind(made), ACHAR_NOTHING);                                         \
        assert_int_equal(achar_graph_status(graph), code);                                         \
        achar_graph_free(graph);                                                                   \
    } while (0)
    STICKS(ACHAR_E_NUMBER, achar_make_datetime(graph, &when));
    STICKS(ACHAR_E_NUMBER, achar_make_time(graph, &time));
    STICKS(ACHAR_E_NUMBER, achar_make_date(graph, &(achar_date){0, 1, 1}));
    STICKS(ACHAR_E_NUMBER, achar_make_timedelta(graph, &(achar_timedelta){0, 86400, 0}));
    STICKS(ACHAR_E_NUMBER, achar_make_timezone(graph, (int64_t)86400 * 1000000, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_zoneinfo(graph, NULL));
    STICKS(ACHAR_E_TEXT, achar_make_decimal(graph, "1,5"));
    STICKS(ACHAR_E_NUMBER, achar_make_fraction(graph, achar_make_int(1), achar_make_int(0)));
    STICKS(ACHAR_E_NUMBER, achar_make_range(graph, 1, 2, 0));
    STICKS(ACHAR_E_NUMBER, achar_make_deque(graph, -2));
    STICKS(ACHAR_E_TEXT,
           achar_make_ndarray(graph, "f8", shape, 1, 0, achar_make_bytes(graph, "", 0)));
    STICKS(ACHAR_E_NUMBER,
           achar_make_ndarray(graph, "<f8", shape, 1, 0, achar_make_bytes(graph, "12345678", 8)));
    STICKS(ACHAR_E_NUMBER,
           achar_make_ndarray(graph, "<f8", large, 2, 0, achar_make_bytes(graph, "", 0)));
    STICKS(ACHAR_E_TYPE,
           achar_make_ndarray(graph, "|O", shape, 1, 0, achar_make_bytes(graph, "", 0)));
    STICKS(ACHAR_E_TYPE, achar_make_scalar(graph, "|O", ""));
    STICKS(ACHAR_E_TEXT, achar_make_array(graph, 'z', "", 0));
    /* and without a graph */
    assert_int_equal(achar_kind(achar_make_date(NULL, &(achar_date){0, 1, 1})), ACHAR_NOTHING);
    assert_int_equal(achar_kind(achar_make_counter(NULL)), ACHAR_NOTHING);
    assert_int_equal(
        achar_kind(achar_make_ndarray(NULL, "<f8", shape, 0, 0, achar_make_bytes(NULL, "", 0))),
        ACHAR_NOTHING);
}

static void dtypes_as_text(void **state)
{
    static const char *const good[] = {"<f8",
                                       ">i2",
                                       "|b1",
                                       "|i1",
                                       "<U3",
                                       "|S5",
                                       "<M8",
                                       "<M8[ns]",
                                       ">m8[25us]",
                                       "|O",
                                       "<c16",
                                       "|V3",
                                       "<M8[2147483647as]"};
    static const char *const bad[] = {"",         "f8",
                                      "<f",       "<f3",
                                      "|f8",      "=f8",
                                      "<f8x",     "<M8[]",
                                      "<M8[us",   "<M8[0us]",
                                      "<M8[x]",   "<f8[us]",
                                      "<M8[us]x", "<U999999999999",
                                      "<q8",      "|S",
                                      "<i-1",     "<M8[9999999999s]"};
    char text[ACHAR_DTYPE_TEXT_NBYTES];
    achar_dtype dtype;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(achar_dtype_parse(good[i], &dtype), ACHAR_OK);
        assert_int_equal(achar_dtype_format(&dtype, text), strlen(good[i]));
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (achar_dtype_parse(bad[i], &dtype) != ACHAR_E_TEXT)
            fail_msg("%s", bad[i]);
    assert_int_equal(achar_dtype_parse(NULL, &dtype), ACHAR_E_TEXT);
}

/* ---- memory ---- */

static void building_under_failure(void **state)
{
    counting c;
    size_t calls = SIZE_MAX, made_calls = 0;
    for (size_t fail_at = 0; fail_at <= calls || fail_at == 0; fail_at++) {
        counting_init(&c, fail_at);
        achar_graph *graph = achar_graph_new(&c.allocator);
        if (graph != NULL) {
            make_everything(graph);
            int status = achar_graph_status(graph);
            bool made = fail_at == 0 || fail_at > made_calls;
            assert_int_equal(status, made ? ACHAR_OK : ACHAR_E_NOMEM);
            if (fail_at == 0)
                made_calls = c.calls;
            if (made)
                use_shapes(graph, fail_at != 0);
        }
        achar_graph_free(graph);
        assert_int_equal(c.now_nbytes, 0);
        if (fail_at == 0)
            calls = c.calls;
    }
}

static void asking_under_failure(void **state)
{
    static const char data[] = /* what has to be decoded, twice */
        "("
        "c_codecs\nencode\n(V\xe9\nVlatin1\ntRp0\n"
        "g0\n"
        "carray\narray\n(Vb\n(I1\nI2\nltRp1\n"
        "g1\n"
        "cfractions\nFraction\n(V3/100000000000000000000000000\ntRp2\n"
        "g2\n"
        "t.";
    counting c;
    size_t calls = SIZE_MAX;
    for (size_t fail_at = 0; fail_at <= calls || fail_at == 0; fail_at++) {
        counting_init(&c, fail_at);
        achar_read_options options = {.allocator = &c.allocator};
        achar_graph *graph;
        if (achar_read(data, sizeof data - 1, &options, &graph, NULL, NULL) == ACHAR_OK) {
            size_t found = use_shapes(graph, fail_at != 0);
            assert_true(fail_at != 0 || found == 4); /* and the tuple */
        }
        achar_graph_free(graph);
        assert_int_equal(c.now_nbytes, 0);
        if (fail_at == 0)
            calls = c.calls;
    }
}

static void asking_again_takes_no_memory(void **state)
{
    static const char data[] = "c_codecs\nencode\n(V\xe9\xe9\xe9\nVlatin1\ntR.";
    counting c;
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator};
    achar_graph *graph;
    const unsigned char *first, *again;
    size_t nbytes;
    assert_int_equal(achar_read(data, sizeof data - 1, &options, &graph, NULL, NULL), ACHAR_OK);
    assert_int_equal(achar_as_bytes(graph, achar_root(graph), &first, &nbytes, NULL), ACHAR_OK);
    assert_int_equal(nbytes, 3);
    assert_memory_equal(first, "\xe9\xe9\xe9", 3);
    size_t calls = c.calls;
    for (int i = 0; i < 100000; i++)
        achar_as_bytes(graph, achar_root(graph), &again, &nbytes, NULL);
    assert_ptr_equal(first, again);
    assert_int_equal(c.calls, calls);
    achar_graph_free(graph);
}

typedef struct written {
    char *data;
    size_t nbytes;
} written;

/* Appends a literal so many times. There is room. */
#define WRITE(w, literal, times) write_times(w, literal, sizeof(literal) - 1, times)
static void write_times(written *w, const void *data, size_t nbytes, size_t times)
{
    for (; times != 0; times--, w->nbytes += nbytes)
        memcpy(w->data + w->nbytes, data, nbytes);
}

/* Asks of every item of the root; memory must be in proportion, and nothing is left. */
static void ask_of_all(const written *w, size_t count, int shape, int status)
{
    counting c;
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator};
    achar_graph *graph;
    assert_int_equal(achar_read(w->data, w->nbytes, &options, &graph, NULL, NULL), ACHAR_OK);
    assert_int_equal(achar_count(achar_root(graph)), count);
    for (size_t i = 0; i < count; i++) {
        achar_value item = achar_item(achar_root(graph), i);
        assert_int_equal(achar_shape(graph, item), shape);
        assert_int_equal(ask(graph, item, shape, NULL), status);
    }
    assert_true(c.peak_nbytes < 64 * w->nbytes);
    achar_graph_free(graph);
    assert_int_equal(c.now_nbytes, 0);
}

/*
 * Many calls that refer to one large list or text. It is decoded once, or refused once; once a call
 * would take gigabytes, and minutes.
 */
static void what_is_shared_is_decoded_once(void **state)
{
    enum { CALLS = 30000, ITEMS = 60000 };
    static const uint32_t text_nbytes = 2 * ITEMS;
    written w = {malloc((CALLS + ITEMS) * 16), 0};
    for (int bad = 0; bad <= 1; bad++) {
        w.nbytes = 0; /* array('b', list) */
        WRITE(&w,
              "\x80\x02"
              "carray\narray\nq\0"
              "0]q\1(",
              1);
        WRITE(&w, "K\1", ITEMS);
        WRITE(&w, "N", (size_t)bad);
        WRITE(&w, "e0(", 1);
        WRITE(&w, "h\0U\1bh\1\x86R", CALLS);
        WRITE(&w, "t.", 1);
        ask_of_all(&w, CALLS, ACHAR_SHAPE_ARRAY, bad ? ACHAR_E_SHAPE : ACHAR_OK);

        w.nbytes = 0; /* encode(text, 'latin1') */
        WRITE(&w,
              "\x80\x02"
              "c_codecs\nencode\nq\0"
              "0X",
              1);
        write_times(&w, &text_nbytes, sizeof text_nbytes, 1);
        WRITE(&w, "\xc3\xa9", ITEMS - 1);
        write_times(&w, bad ? "\xc4\x80" : "\xc3\xa9", 2, 1);
        WRITE(&w,
              "q\1"
              "0X\6\0\0\0latin1q\2"
              "0(",
              1);
        WRITE(&w, "h\0h\1h\2\x86R", CALLS);
        WRITE(&w, "t.", 1);
        ask_of_all(&w, CALLS, ACHAR_SHAPE_BYTES, bad ? ACHAR_E_SHAPE : ACHAR_OK);
    }
    w.nbytes = 0; /* set(list), which was filled in many steps, between which something happened */
    WRITE(&w,
          "\x80\x02"
          "c__builtin__\nset\nq\0"
          "0]q\1"
          "0",
          1);
    WRITE(&w, "h\1cm\nf\na0", ITEMS);
    WRITE(&w, "(", 1);
    WRITE(&w, "h\0h\1\x85R", CALLS);
    WRITE(&w, "t.", 1);
    ask_of_all(&w, CALLS, ACHAR_SHAPE_SET, ACHAR_OK);
    free(w.data);
}

static void a_limit_is_kept(void **state)
{
    /* Fits in the limit as it is, but not decoded as well. */
    size_t nbytes = 300000, used = 0;
    char *data = malloc(nbytes + 64);
    used += (size_t)sprintf(data, "c_codecs\nencode\n(X");
    uint32_t size = (uint32_t)nbytes;
    memcpy(data + used, &size, 4);
    used += 4;
    for (size_t i = 0; i < nbytes; i += 2)
        memcpy(data + used + i, "\xc3\xa9", 2);
    used += nbytes;
    memcpy(data + used, "Vlatin1\ntR.", 11);
    used += 11;
    achar_read_options options = {.max_nbytes = 100000};
    achar_graph *graph;
    const unsigned char *bytes;
    assert_int_equal(achar_read(data, used, &options, &graph, NULL, NULL), ACHAR_OK);
    assert_int_equal(achar_as_bytes(graph, achar_root(graph), &bytes, &nbytes, NULL),
                     ACHAR_E_LIMIT);
    achar_graph_free(graph);
    free(data);
}

/* ---- damage ---- */

static void use_changed(const unsigned char *data, size_t nbytes, size_t at, unsigned char byte)
{
    achar_read_options options = {.encoding = ACHAR_ENCODING_LATIN1};
    unsigned char *copy = malloc(nbytes); /* of its exact size, for ASan */
    achar_graph *graph;
    memcpy(copy, data, nbytes);
    copy[at] = byte;
    if (achar_read(copy, nbytes, &options, &graph, NULL, NULL) == ACHAR_OK)
        use_shapes(graph, 0);
    achar_graph_free(graph);
    free(copy);
}

static void change_every_byte(const unsigned char *data, size_t nbytes)
{
    static const char bytes[] = "\xff.0t";
    for (size_t i = 0; i < nbytes; i++) {
        for (size_t j = 0; j < sizeof bytes - 1; j++)
            use_changed(data, nbytes, i, (unsigned char)bytes[j]);
        use_changed(data, nbytes, i, data[i] ^ 1);
        use_changed(data, nbytes, i, data[i] ^ 0x80);
    }
}

static void every_byte_changed(void **state)
{
    static const int protocols[] = {0, 5};
    for (int i = 0; i < 2 * MADE_COUNT; i++) {
        achar_graph *graph = achar_graph_new(NULL);
        achar_bytes bytes;
        achar_set_root(graph, make_one(graph, i / 2));
        assert_int_equal(achar_write(graph, protocols[i % 2], NULL, &bytes, NULL), ACHAR_OK);
        achar_graph_free(graph);
        change_every_byte(bytes.data, bytes.nbytes);
        achar_bytes_free(&bytes, NULL);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (cases[i].status == ACHAR_OK)
            change_every_byte((const unsigned char *)cases[i].pickle, cases[i].nbytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(look_alikes_are_refused),
        cmocka_unit_test(what_is_made_is_found),
        cmocka_unit_test(members_are_what_they_are_asked_as),
        cmocka_unit_test(bad_arguments_stick),
        cmocka_unit_test(dtypes_as_text),
        cmocka_unit_test(building_under_failure),
        cmocka_unit_test(asking_under_failure),
        cmocka_unit_test(asking_again_takes_no_memory),
        cmocka_unit_test(what_is_shared_is_decoded_once),
        cmocka_unit_test(a_limit_is_kept),
        cmocka_unit_test(every_byte_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * status.h - what every achar function that can fail returns.
 *
 * One table (ACHAR_STATUS_TABLE) makes the enum, the names and the messages; to add a code, add a
 * line to it. ACHAR_OK is 0; every failure is negative.
 */
#ifndef ACHAR_STATUS_H
#define ACHAR_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ACHAR_API __attribute__((visibility("default")))
#else
#define ACHAR_API
#endif

/* ACHAR_STATUS_TABLE lists what can go wrong: X(name, number, message) */
#define ACHAR_STATUS_TABLE(X)                                                                      \
    X(OK, 0, "success")                                                                            \
    X(E_NOMEM, -1, "out of memory")                                                                \
    X(E_LIMIT, -2, "a configured limit was reached")                                               \
    X(E_INVALID, -3, "invalid argument")                                                           \
    X(E_IO, -4, "input or output failed")                                                          \
    X(E_TIMEOUT, -5, "the time limit expired")                                                     \
    X(E_INTERRUPTED, -6, "a signal arrived while waiting")                                         \
    X(E_CLOSED, -7, "the other side is closed")                                                    \
    X(E_OWNER_DIED, -8, "its owner died while holding it")                                         \
    X(E_NOT_HELD, -9, "it is not held by the caller")                                              \
    X(E_BROKEN, -10, "the barrier is broken")                                                      \
    X(E_RAISED, -11, "the task raised an exception")                                               \
    X(E_WORKER_DIED, -12, "the worker that ran the task died")                                     \
    X(E_OVERDUE, -13, "the time limit of the task passed")                                         \
    X(E_CANCELLED, -14, "the task was cancelled")                                                  \
    X(E_NO_WORKERS, -15, "workers cannot be started")                                              \
    X(E_TRUNCATED, -32, "the pickle ends too early")                                               \
    X(E_OPCODE, -33, "not an opcode")                                                              \
    X(E_PROTOCOL, -34, "not a protocol this library knows")                                        \
    X(E_FRAME, -35, "opcodes and frames do not agree")                                             \
    X(E_STACK, -36, "the stack does not hold what the opcode takes")                               \
    X(E_MEMO, -37, "the memo does not hold what the opcode asks for")                              \
    X(E_TYPE, -38, "a value of a kind the opcode cannot work on")                                  \
    X(E_NUMBER, -39, "not a number")                                                               \
    X(E_TEXT, -40, "not text in its encoding")                                                     \
    X(E_BUFFERS, -41, "fewer out-of-band buffers than the pickle takes")                           \
    X(E_UNSUPPORTED, -42, "the protocol has no way to say this")                                   \
    X(E_SHAPE, -43, "not what its name says it is")

/* One constant for each line of ACHAR_STATUS_TABLE: ACHAR_OK, ACHAR_E_NOMEM, and so on. */
enum achar_status {
#define ACHAR_STATUS_ENUM(name, number, message) ACHAR_##name = number,
    ACHAR_STATUS_TABLE(ACHAR_STATUS_ENUM)
#undef ACHAR_STATUS_ENUM
};

/* achar_status_name() is the code's name ("E_NOMEM"), "?" for no known code. Static storage;
 * any thread. */
ACHAR_API const char *achar_status_name(int status);

/* achar_status_message() is one line of English for the code; for no known code it says so.
 * Static storage; any thread. */
ACHAR_API const char *achar_status_message(int status);

/*
 * achar_error says what went wrong and where. Functions that take one fill it in when they fail
 * and leave it alone when they do not; NULL is allowed everywhere.
 *
 * 'offset' is in bytes from the start of the input and points at the opcode that failed, or at the
 * end of an input that stopped too early. 'opcode' is its byte, -1 where there is none (no opcode
 * was read, or the function does not read a pickle). 'message' is one line, without code, offset
 * and final stop.
 */
typedef struct achar_error {
    int code;
    int opcode;
    uint64_t offset;
    char message[160];
} achar_error;

#ifdef __cplusplus
}
#endif
#endif

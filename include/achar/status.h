/*
 * status.h - what every achar function that can fail returns.
 *
 * One table (ACHAR_STATUS_TABLE) makes the enum, the names and the messages; to add a code, add a
 * line to it. ACHAR_OK is 0; every failure is negative.
 */
#ifndef ACHAR_STATUS_H
#define ACHAR_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ACHAR_API __attribute__((visibility("default")))
#else
#define ACHAR_API
#endif

/* X(name, number, message) */
#define ACHAR_STATUS_TABLE(X)                                                                      \
    X(OK, 0, "success")                                                                            \
    X(E_NOMEM, -1, "out of memory")                                                                \
    X(E_LIMIT, -2, "a configured limit was reached")                                               \
    X(E_INVALID, -3, "invalid argument")                                                           \
    X(E_IO, -4, "input or output failed")                                                          \
    X(E_TIMEOUT, -5, "the time limit expired")                                                     \
    X(E_INTERRUPTED, -6, "a signal arrived while waiting")                                         \
    X(E_CLOSED, -7, "the other side is closed")

enum achar_status {
#define ACHAR_STATUS_ENUM(name, number, message) ACHAR_##name = number,
    ACHAR_STATUS_TABLE(ACHAR_STATUS_ENUM)
#undef ACHAR_STATUS_ENUM
};

/* achar_status_name() is the code's name ("E_NOMEM"), "?" for no known code. Static storage. */
ACHAR_API const char *achar_status_name(int status);

/* achar_status_message() is one line of English for the code. Static storage. */
ACHAR_API const char *achar_status_message(int status);

#ifdef __cplusplus
}
#endif
#endif

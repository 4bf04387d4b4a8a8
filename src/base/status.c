/* status.c - names and messages of status codes, from the one table in status.h. */
#include <achar/status.h>

const char *achar_status_name(int status)
{
    switch (status) {
#define NAME(name, number, message)                                                                \
    case number:                                                                                   \
        return #name;
        ACHAR_STATUS_TABLE(NAME)
#undef NAME
    default:
        return "?";
    }
}

const char *achar_status_message(int status)
{
    switch (status) {
#define MESSAGE(name, number, message)                                                             \
    case number:                                                                                   \
        return message;
        ACHAR_STATUS_TABLE(MESSAGE)
#undef MESSAGE
    default:
        return "unknown status";
    }
}

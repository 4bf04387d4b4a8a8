/* error.c - filling in achar_error. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int achar__fail(achar_error *error, int code, uint64_t offset, int opcode, const char *format, ...)
{
    if (error == NULL)
        return code;
    *error = (achar_error){.code = code, .opcode = opcode, .offset = offset};
    if (format == NULL) {
        snprintf(error->message, sizeof error->message, "%s", achar_status_message(code));
        return code;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return code;
}

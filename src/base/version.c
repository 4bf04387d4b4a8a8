/* version.c - the version, which the build passes in as ACHAR_VERSION. */
#include <achar/version.h>

const char *achar_version(void)
{
    return ACHAR_VERSION;
}

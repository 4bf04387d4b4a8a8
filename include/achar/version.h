/* version.h - which achar this is. */
#ifndef ACHAR_VERSION_H
#define ACHAR_VERSION_H

#include <achar/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* achar_version() is the library's version, "major.minor.patch". Static storage; any
 * thread. */
ACHAR_API const char *achar_version(void);

#ifdef __cplusplus
}
#endif
#endif

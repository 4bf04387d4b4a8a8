/* version.h - what differs between versions as a whole: whether the insides are known, and wordings. See compat.h. */
#ifndef ACHAR_PYTHON_COMPAT_VERSION_H
#define ACHAR_PYTHON_COMPAT_VERSION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#if PY_VERSION_HEX < 0x030B0000
#include <longintrepr.h>
#endif

/*
 * COMPAT_INSIDES is 1 for the versions whose lists we have read (3.10 to 3.13, with the GIL).
 * -DCOMPAT_INSIDES=0 builds the public way.
 */
#ifndef COMPAT_INSIDES
#if PY_VERSION_HEX >= 0x030A0000 && PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED)
#define COMPAT_INSIDES 1
#else
#define COMPAT_INSIDES 0
#endif
#endif

/* Messages that differ between versions. */
#if PY_VERSION_HEX >= 0x030C0000
#define COMPAT_LINE_BREAK " "
#else
#define COMPAT_LINE_BREAK "\n"
#endif
#if PY_VERSION_HEX >= 0x030D0000
#define COMPAT_LOCAL_ATTRIBUTE "Can't get local attribute %R on %R"
#else
#define COMPAT_LOCAL_ATTRIBUTE "Can't pickle local attribute %R on %R"
#endif

/* Is a persistent id read before it is missed that there is no persistent_load()? */
#define COMPAT_PERSISTENT_ID_FIRST (PY_VERSION_HEX >= 0x030D0000)

/*
 * From 3.13 on _pickle writes a nested name below protocol 4 as getattr(getattr(…)) down from the
 * module's global, takes any integer for an extension code, and words these errors differently.
 */
#define COMPAT_NAMES_AS_3_13 (PY_VERSION_HEX >= 0x030D0000)

/* What Lock.acquire() says of a negative timeout. */
#if PY_VERSION_HEX >= 0x030D0000
#define COMPAT_NEGATIVE_TIMEOUT "timeout value must be a non-negative number"
#else
#define COMPAT_NEGATIVE_TIMEOUT "timeout value must be positive"
#endif

#endif

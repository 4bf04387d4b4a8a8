/*
 * compat.h - the one place that knows the insides of Python's objects, version by version.
 *
 * Each name says what it answers; beside each fast reading stands the public call that means the
 * same, used where the fast one is not known to hold. Everything in these headers is static inline.
 */
#ifndef ACHAR_PYTHON_COMPAT_H
#define ACHAR_PYTHON_COMPAT_H

#include "python/compat/atoms.h"
#include "python/compat/containers.h"
#include "python/compat/instances.h"
#include "python/compat/interpreter.h"
#include "python/compat/version.h"

#endif

/*
 * test_points.h - where the tests can kill a process or take its memory away. In every other build
 * these are nothing.
 */
#ifndef ACHAR_RUNTIME_TEST_POINTS_H
#define ACHAR_RUNTIME_TEST_POINTS_H

#ifdef ACHAR__TEST_POINTS
#include <stdbool.h>
#include <stddef.h>

/* SIGKILLs this process when the environment's ACHAR_CRASH is "name:count" and this is the
 * count-th time that it comes by; "any:count": at the count-th point of any name. */
void achar__test_crash_point(const char *name);
/* Takes 'nbytes' off the budget that achar__test_set_commit_budget() gave; false: it is spent. */
bool achar__test_may_commit(size_t nbytes);
void achar__test_set_commit_budget(size_t nbytes);

#define ACHAR__CRASH_POINT(name)  achar__test_crash_point(name)
#define ACHAR__MAY_COMMIT(nbytes) achar__test_may_commit(nbytes)
#else
#define ACHAR__CRASH_POINT(name)  ((void)0)
#define ACHAR__MAY_COMMIT(nbytes) true
#endif

#endif

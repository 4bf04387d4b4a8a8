/*
 * kit.h - a memo's file of a test's own, and rows that tell whether they are what was stored.
 */
#ifndef ACHAR_TESTS_MEMO_KIT_H
#define ACHAR_TESTS_MEMO_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "memo/internal.h"

extern char path[128];

/* For cmocka: sets 'path'; removes what is there. */
int set_path(void **state);
int remove_files(void **state);
void name_beside(char *out, size_t room, const char *ending);

memo_store *opened(void);
/* A row of 'nbytes' that depend on 'number'. */
memo_status put(memo_store *store, unsigned number, size_t nbytes);
/* MEMO_OK only if it is what put() has stored. */
memo_status find(memo_store *store, unsigned number, size_t nbytes);
void key_of(unsigned number, uint8_t key[MEMO_KEY_NBYTES]);
/* One statement on the file, past the store. */
void change(const char *sql);

#endif

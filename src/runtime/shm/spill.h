/*
 * spill.h - a file without a name, on disk, for what shall not be in memory.
 */
#ifndef ACHAR_RUNTIME_SPILL_H
#define ACHAR_RUNTIME_SPILL_H

#include <stddef.h>

/*
 * A new, sparse file of 'nbytes' in the folder 'path', which has no name (or loses it at once, on
 * filesystems that cannot make such), so that it is gone with the last process that has it open or
 * mapped. Close-on-exec, numbered 16 or higher. ACHAR_E_IO with errno.
 */
int achar__spill_create(const char *path, size_t nbytes, int *fd);

#endif

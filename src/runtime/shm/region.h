/*
 * region.h - one stretch of shared memory with one writer: a memfd, mapped whole.
 *
 * A region is address space first: it is created at its full size and mapped once, sparse, with
 * nothing reserved. Its writer commits pages before it touches them, so that running out of memory
 * is a status and not a SIGBUS, and may punch them out again. Its size is sealed: no one who holds a
 * descriptor can shrink it under the others.
 */
#ifndef ACHAR_RUNTIME_REGION_H
#define ACHAR_RUNTIME_REGION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct achar__region {
    unsigned char *base; /* NULL: not mapped */
    size_t nbytes;
    size_t file_offset; /* where in the file it begins */
    int fd;             /* only where pages cannot be committed without it; else -1 */
    /* The same pages once more, this process's own as soon as it writes there; NULL: not to be had.
     * To be written in windows only (window.h). */
    unsigned char *mirror;
} achar__region;

#define ACHAR__REGION_CLOSED ((achar__region){.base = NULL, .nbytes = 0, .fd = -1})

/*
 * The address space to give each of 'region_count' regions: a multiple of the machine's memory, less
 * where that would not fit into the process (RLIMIT_AS, RLIMIT_FSIZE, the 47 bits of an address).
 */
size_t achar__region_default_nbytes(unsigned region_count);

/*
 * A new, empty memfd of 'nbytes' (a multiple of the page size), close-on-exec and numbered 16 or
 * higher, so that it does not stand where a spawn wants to put another. Its first
 * 'committed_nbytes' are committed. ACHAR_E_IO or ACHAR_E_NOMEM with errno.
 */
int achar__region_create(const char *name, size_t nbytes, size_t committed_nbytes, int *fd);

/* A second descriptor through which the region cannot be written, where /proc allows it. */
int achar__region_reopen_readonly(int fd, int *readonly_fd);

/*
 * Maps the region behind 'fd'. The caller keeps and closes 'fd'. ACHAR_E_NOMEM, ACHAR_E_IO.
 */
int achar__region_map(int fd, bool writable, achar__region *out);
/* The same for [offset, offset + nbytes) of the file, whole pages. */
int achar__region_map_part(int fd, size_t offset, size_t nbytes, bool writable, achar__region *out);
/*
 * Maps the whole of 'fd', and right behind it the whole of 'behind_fd' (-1: nothing). To be written are
 * the two parts, each a region of its own: achar__region_part().
 */
int achar__region_map_pair(int fd, int behind_fd, bool writable, achar__region *out);
/* Makes '*part' the bytes [offset, offset + nbytes) of 'whole', which begin 'fd' and stay mapped by
 * 'whole': the part is closed by achar__region_close_part(). */
int achar__region_part(const achar__region *whole, size_t offset, size_t nbytes, int fd,
                       achar__region *part);
void achar__region_close_part(achar__region *part);
/* Gives a mapped region its mirror, where the address space has room for that; descriptors as above. */
void achar__region_mirror(achar__region *region, int fd, int behind_fd);
void achar__region_unmap(achar__region *region);
/* Unmaps what lies beyond the first 'nbytes' (rounded up to pages; at least one page stays). */
void achar__region_shorten(achar__region *region, size_t nbytes);

/*
 * Makes [offset, offset + nbytes), whole pages, present: writing there cannot fail afterwards.
 * ACHAR_E_NOMEM: not all of it could be had.
 */
int achar__region_commit(achar__region *region, size_t offset, size_t nbytes);

/* Gives the pages back to the machine; they read as zeros. False: the kernel refused. */
bool achar__region_punch(achar__region *region, size_t offset, size_t nbytes);

#endif

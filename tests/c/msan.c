/*
 * msan.c - what MemorySanitizer has to be told: memory that code without it reads or fills.
 *
 * Linked into what is built with -Db_sanitize=memory, with -Wl,--wrap for each function here.
 */
#include <gmp.h>
#include <sanitizer/msan_interface.h>
#include <sys/stat.h>

size_t __real___gmpn_get_str(unsigned char *digits, int base, mp_limb_t *limbs, mp_size_t count);
size_t __wrap___gmpn_get_str(unsigned char *digits, int base, mp_limb_t *limbs, mp_size_t count);
mp_size_t __real___gmpn_set_str(mp_limb_t *limbs, const unsigned char *digits, size_t nbytes,
                                int base);
mp_size_t __wrap___gmpn_set_str(mp_limb_t *limbs, const unsigned char *digits, size_t nbytes,
                                int base);
int __real_stat64(const char *path, struct stat *about);
int __wrap_stat64(const char *path, struct stat *about);
int __real_fstat64(int fd, struct stat *about);
int __wrap_fstat64(int fd, struct stat *about);

size_t __wrap___gmpn_get_str(unsigned char *digits, int base, mp_limb_t *limbs, mp_size_t count)
{
    __msan_check_mem_is_initialized(limbs, (size_t)count * sizeof *limbs);
    size_t digits_count = __real___gmpn_get_str(digits, base, limbs, count);
    __msan_unpoison(digits, digits_count);
    return digits_count;
}

mp_size_t __wrap___gmpn_set_str(mp_limb_t *limbs, const unsigned char *digits, size_t nbytes,
                                int base)
{
    __msan_check_mem_is_initialized(digits, nbytes);
    mp_size_t limbs_count = __real___gmpn_set_str(limbs, digits, nbytes, base);
    __msan_unpoison(limbs, (size_t)limbs_count * sizeof *limbs);
    return limbs_count;
}

/* stat() and fstat() with 64-bit offsets. Clang 14's sanitizer knows glibc's older names only. */
int __wrap_stat64(const char *path, struct stat *about)
{
    int result = __real_stat64(path, about);
    if (result == 0)
        __msan_unpoison(about, sizeof *about);
    return result;
}

int __wrap_fstat64(int fd, struct stat *about)
{
    int result = __real_fstat64(fd, about);
    if (result == 0)
        __msan_unpoison(about, sizeof *about);
    return result;
}

/* test_store.c - memory up to a limit, and a nameless file behind it. */
#include "kit.h"

#include "runtime/shm/spill.h"
#include "runtime/shm/store.h"
#include "runtime/test_points.h"

#include <achar/status.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MIB ((size_t)1 << 20)

typedef struct place {
    int memory_fd, spill_fd;
    achar__region region, reader;
    achar__store *store;
    char folder[64];
} place;

static void place_make(place *it, bool spills)
{
    strcpy(it->folder, "/tmp/achar-test-XXXXXX");
    assert_non_null(mkdtemp(it->folder));
    it->spill_fd = -1;
    assert_status(achar__region_create("test", 32 * MIB, 4096, &it->memory_fd), ACHAR_OK);
    if (spills) {
        assert_status(achar__spill_create(it->folder, 32 * MIB, &it->spill_fd), ACHAR_OK);
        assert_true(it->spill_fd >= 16);
    }
    assert_status(achar__region_map_pair(it->memory_fd, it->spill_fd, true, &it->region), ACHAR_OK);
    assert_status(achar__region_map_pair(it->memory_fd, it->spill_fd, false, &it->reader),
                  ACHAR_OK);
    assert_int_equal(it->region.nbytes, spills ? 64 * MIB : 32 * MIB);
    assert_status(
        achar__store_create(&it->region, it->memory_fd, it->spill_fd, 100, MIB, &it->store),
        ACHAR_OK);
}

static void place_end(place *it)
{
    achar__store_destroy(it->store);
    achar__region_unmap(&it->region);
    achar__region_unmap(&it->reader);
    close(it->memory_fd);
    if (it->spill_fd >= 0) {
        close(it->spill_fd);
    }
    assert_int_equal(rmdir(it->folder), 0); /* so nothing is in it */
}

static size_t on_disk_nbytes(const place *it)
{
    struct stat about;
    assert_int_equal(fstat(it->spill_fd, &about), 0);
    return (size_t)about.st_blocks * 512;
}

static bool is_spilled(const place *it, const void *block)
{
    return (const unsigned char *)block >= it->region.base + 32 * MIB;
}

static void beyond_the_limit_is_the_file(void **state)
{
    place it;
    void *blocks[6], *small, *more;
    size_t capacity;
    place_make(&it, true);
    achar__store_limit(it.store, 4 * MIB, 8 * MIB);
    for (int i = 0; i < 6; i++) {
        assert_status(achar__store_alloc(it.store, 2 * MIB, &blocks[i], &capacity), ACHAR_OK);
        assert_int_equal(is_spilled(&it, blocks[i]), i >= 2);
        memset(blocks[i], 'a' + i, 2 * MIB);
    }
    assert_status(achar__store_alloc(it.store, 2 * MIB, &more, &capacity), ACHAR_E_LIMIT);
    assert_status(achar__store_alloc(it.store, 100, &small, &capacity), ACHAR_E_LIMIT);
    achar__store_usage usage = achar__store_usage_of(it.store);
    assert_int_equal(usage.memory_nbytes, 4 * MIB);
    assert_int_equal(usage.spill_nbytes, 8 * MIB);
    assert_true(on_disk_nbytes(&it) >= 8 * MIB);
    for (int i = 0; i < 6; i++) { /* others see it at the same offset */
        size_t offset = (size_t)((unsigned char *)blocks[i] - it.region.base);
        assert_int_equal(it.reader.base[offset], 'a' + i);
        assert_int_equal(it.reader.base[offset + 2 * MIB - 1], 'a' + i);
    }
    assert_true(achar__store_free(it.store, blocks[0]));
    assert_false(achar__store_free(it.store, blocks[0]));
    assert_status(achar__store_alloc(it.store, 100, &small, &capacity), ACHAR_OK);
    assert_false(is_spilled(&it, small));
    assert_true(achar__store_free(it.store, small));
    for (int i = 1; i < 6; i++) {
        assert_true(achar__store_free(it.store, blocks[i]));
    }
    assert_true(achar__store_has_excess(it.store));
    achar__store_purge(it.store);
    assert_true(on_disk_nbytes(&it) < MIB);
    usage = achar__store_usage_of(it.store);
    assert_int_equal(usage.memory_nbytes + usage.spill_nbytes, 0);
    place_end(&it);
}

static void a_block_grows_into_the_file(void **state)
{
    place it;
    void *block;
    size_t capacity;
    place_make(&it, true);
    achar__store_limit(it.store, 4 * MIB, 8 * MIB);
    assert_status(achar__store_alloc(it.store, MIB, &block, &capacity), ACHAR_OK);
    memset(block, 'g', MIB);
    assert_status(achar__store_grow(it.store, &block, &capacity, MIB, 3 * MIB), ACHAR_OK);
    assert_false(is_spilled(&it, block));
    assert_status(achar__store_grow(it.store, &block, &capacity, MIB, 6 * MIB), ACHAR_OK);
    assert_true(is_spilled(&it, block));
    for (size_t at = 0; at < MIB; at += 1000) {
        assert_int_equal(((unsigned char *)block)[at], 'g');
    }
    assert_status(achar__store_grow(it.store, &block, &capacity, MIB, 9 * MIB), ACHAR_E_LIMIT);
    assert_int_equal(((unsigned char *)block)[MIB - 1], 'g');
    assert_int_equal(achar__store_usage_of(it.store).memory_nbytes, 0);
    achar__store_trim(it.store, &block, &capacity, MIB);
    assert_int_equal(achar__store_usage_of(it.store).spill_nbytes, MIB);
    assert_true(achar__store_free(it.store, block));
    place_end(&it);
}

static void without_a_file_the_limit_is_the_end(void **state)
{
    place it;
    void *block, *other;
    size_t capacity;
    place_make(&it, false);
    achar__store_limit(it.store, 4 * MIB, 0);
    assert_status(achar__store_alloc(it.store, 3 * MIB, &block, &capacity), ACHAR_OK);
    assert_status(achar__store_alloc(it.store, 2 * MIB, &other, &capacity), ACHAR_E_LIMIT);
    assert_true(achar__store_free(it.store, block));
    assert_status(achar__store_alloc(it.store, 4 * MIB, &block, &capacity), ACHAR_OK);
    achar__store_limit(it.store, 0, 0);
    assert_status(achar__store_alloc(it.store, 2 * MIB, &other, &capacity), ACHAR_OK);
    place_end(&it);
}

/* Neither memory nor disk gives pages: a status, and what was there is as it was. */
static void no_pages_is_a_status(void **state)
{
    place it;
    void *block, *other;
    size_t capacity;
    place_make(&it, true);
    assert_status(achar__store_alloc(it.store, MIB, &block, &capacity), ACHAR_OK);
    memset(block, 'k', MIB);
    achar__store_usage before = achar__store_usage_of(it.store);
    achar__test_set_commit_budget(0);
    assert_status(achar__store_alloc(it.store, MIB, &other, &capacity), ACHAR_E_NOMEM);
    assert_status(achar__store_grow(it.store, &block, &capacity, MIB, 2 * MIB), ACHAR_E_NOMEM);
    achar__test_set_commit_budget(SIZE_MAX);
    achar__store_usage after = achar__store_usage_of(it.store);
    assert_memory_equal(&after, &before, sizeof after);
    assert_int_equal(((unsigned char *)block)[MIB - 1], 'k');
    place_end(&it);
}

static void a_folder_that_is_none(void **state)
{
    int fd = -1;
    assert_status(achar__spill_create("/nowhere/at/all", MIB, &fd), ACHAR_E_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(fd, -1);
    assert_status(achar__spill_create("/proc", MIB, &fd), ACHAR_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(beyond_the_limit_is_the_file),
        KIT_TEST(a_block_grows_into_the_file),
        KIT_TEST(without_a_file_the_limit_is_the_end),
        KIT_TEST(no_pages_is_a_status),
        KIT_TEST(a_folder_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

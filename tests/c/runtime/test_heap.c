/* test_heap.c - regions and the blocks inside them. */
#include "kit.h"

#include "runtime/shm/heap.h"
#include "runtime/test_points.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MIB ((size_t)1 << 20)

typedef struct arena {
    int fd;
    achar__region region;
    achar__heap *heap;
} arena;

static void arena_make(arena *it, size_t nbytes, size_t warm_limit_nbytes)
{
    assert_status(achar__region_create("test", nbytes, 4096, &it->fd), ACHAR_OK);
    assert_status(achar__region_map(it->fd, true, &it->region), ACHAR_OK);
    assert_status(achar__heap_create(&it->region, 100, warm_limit_nbytes, &it->heap), ACHAR_OK);
}

static void arena_end(arena *it)
{
    achar__heap_destroy(it->heap);
    achar__region_unmap(&it->region);
    close(it->fd);
}

static size_t resident_nbytes(const arena *it)
{
    struct stat about;
    assert_int_equal(fstat(it->fd, &about), 0);
    return (size_t)about.st_blocks * 512;
}

static void region_is_sealed_and_safe(void **state)
{
    int fd, readonly_fd;
    assert_status(achar__region_create("test", 16 * MIB, 4096, &fd), ACHAR_OK);
    assert_true(fd >= 16);
    assert_int_equal(ftruncate(fd, 4096), -1);
    assert_int_equal(ftruncate(fd, (off_t)(32 * MIB)), -1);
    assert_status(achar__region_reopen_readonly(fd, &readonly_fd), ACHAR_OK);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, readonly_fd, 0),
                     MAP_FAILED);
    achar__region reader, writer;
    assert_status(achar__region_map(readonly_fd, false, &reader), ACHAR_OK);
    assert_status(achar__region_map(fd, true, &writer), ACHAR_OK);
    assert_int_equal(writer.nbytes, 16 * MIB);
    memcpy(writer.base, "seen", 4);
    assert_memory_equal(reader.base, "seen", 4);
    achar__region_unmap(&reader);
    achar__region_unmap(&writer);
    close(fd);
    close(readonly_fd);
}

static void region_respects_file_size_limit(void **state)
{
    struct rlimit before, low;
    getrlimit(RLIMIT_FSIZE, &before);
    low = (struct rlimit){.rlim_cur = 64 * MIB, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
    int fd;
    assert_status(achar__region_create("test", 65 * MIB, 0, &fd), ACHAR_E_IO); /* no SIGXFSZ */
    assert_int_equal(errno, EFBIG);
    assert_true(achar__region_default_nbytes(3) <= 64 * MIB);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_true(achar__region_default_nbytes(3) >= 1024 * MIB);
    assert_true(achar__region_default_nbytes(1025) * 1025 <= (size_t)1 << 46);
}

static void capacity_and_alignment_of_every_size(void **state)
{
    arena it;
    arena_make(&it, 64 * MIB, 64 * MIB);
    for (size_t nbytes = 0; nbytes < 200000; nbytes += nbytes < 3000 ? 1 : 377) {
        void *block = NULL;
        size_t capacity = 0;
        assert_status(achar__heap_alloc(it.heap, nbytes, &block, &capacity), ACHAR_OK);
        assert_true(capacity >= nbytes);
        assert_true(nbytes < 64 || nbytes > 32768 || capacity <= nbytes + nbytes / 4 + 64);
        assert_int_equal((uintptr_t)block % ACHAR__HEAP_ALIGNMENT, 0);
        memset(block, 0xAA, capacity);
        assert_true(achar__heap_free(it.heap, block));
    }
    assert_int_equal(achar__heap_usage_of(it.heap).used_nbytes, 0);
    arena_end(&it);
}

static void freeing_what_is_no_block_does_nothing(void **state)
{
    arena it;
    arena_make(&it, 16 * MIB, 16 * MIB);
    void *small, *large;
    size_t capacity;
    int other;
    assert_status(achar__heap_alloc(it.heap, 100, &small, &capacity), ACHAR_OK);
    assert_status(achar__heap_alloc(it.heap, MIB, &large, &capacity), ACHAR_OK);
    assert_true(achar__heap_free(it.heap, NULL));
    assert_false(achar__heap_free(it.heap, &other));
    assert_false(achar__heap_free(it.heap, it.region.base));
    assert_false(achar__heap_free(it.heap, (char *)small + 1));
    assert_false(achar__heap_free(it.heap, (char *)small + 128));
    assert_false(achar__heap_free(it.heap, (char *)large + 64));
    assert_false(achar__heap_free(it.heap, (char *)large + ACHAR__HEAP_SPAN_NBYTES));
    assert_true(achar__heap_free(it.heap, small));
    assert_false(achar__heap_free(it.heap, small));
    assert_true(achar__heap_free(it.heap, large));
    assert_false(achar__heap_free(it.heap, large));
    arena_end(&it);
}

/* Random blocks, each full of its own byte: none overlaps another, and nothing is lost. */
typedef struct churn {
    arena *it;
    unsigned seed;
    int rounds;
} churn;

static void *churn_main(void *argument)
{
    churn *job = argument;
    achar__heap *heap = job->it->heap;
    enum { HELD = 64 };
    struct {
        unsigned char *data;
        size_t capacity, used;
        unsigned char mark;
    } held[HELD] = {{0}};
    for (int i = 0; i < job->rounds; i++) {
        int at = rand_r(&job->seed) % HELD;
        for (size_t j = 0; j < held[at].used; j += 61) {
            assert_int_equal(held[at].data[j], held[at].mark);
        }
        void *data = held[at].data;
        int what = rand_r(&job->seed) % 4;
        if (data && what == 0) { /* larger */
            size_t wanted = held[at].capacity + (size_t)rand_r(&job->seed) % 100000;
            if (achar__heap_grow(heap, &data, &held[at].capacity, held[at].used, wanted) == 0) {
                assert_true(held[at].capacity >= wanted);
            }
            held[at].data = data;
        } else if (data && what == 1) { /* smaller */
            held[at].used /= 1 + (size_t)rand_r(&job->seed) % 8;
            achar__heap_trim(heap, &data, &held[at].capacity, held[at].used);
            held[at].data = data;
            assert_true(held[at].capacity >= held[at].used);
        } else {
            assert_true(achar__heap_free(heap, data));
            achar__heap_purge(heap);
            held[at].data = NULL;
            held[at].used = 0;
            size_t nbytes = (size_t)1 << rand_r(&job->seed) % 21;
            nbytes += (size_t)rand_r(&job->seed) % nbytes;
            if (achar__heap_alloc(heap, nbytes, &data, &held[at].capacity) == ACHAR_OK) {
                held[at].data = data;
                held[at].used = nbytes;
                held[at].mark = (unsigned char)rand_r(&job->seed);
                memset(data, held[at].mark, nbytes);
            }
        }
    }
    for (int at = 0; at < HELD; at++) {
        assert_true(achar__heap_free(heap, held[at].data));
        achar__heap_purge(heap);
    }
    return NULL;
}

static void blocks_never_overlap(void **state)
{
    /* The second arena is so small that it runs full, the warm limit so low that it is purged. */
    size_t sizes[] = {512 * MIB, 48 * MIB};
    for (int i = 0; i < 2; i++) {
        arena it;
        arena_make(&it, sizes[i], 8 * MIB);
        enum { THREADS = 3 };
        pthread_t threads[THREADS];
        churn jobs[THREADS];
        for (int t = 0; t < THREADS; t++) {
            jobs[t] = (churn){
                .it = &it, .seed = (unsigned)(i * THREADS + t + 1), .rounds = KIT_MANY(6000)};
            assert_int_equal(pthread_create(&threads[t], NULL, churn_main, &jobs[t]), 0);
        }
        for (int t = 0; t < THREADS; t++) {
            pthread_join(threads[t], NULL);
        }
        achar__heap_purge(it.heap);
        achar__heap_usage usage = achar__heap_usage_of(it.heap);
        assert_int_equal(usage.used_nbytes, 0);
        assert_true(usage.warm_nbytes <= 9 * MIB);
        assert_true(resident_nbytes(&it) <= 16 * MIB);
        arena_end(&it);
    }
}

static void full_region_is_a_status_and_recovers(void **state)
{
    enum { MOST = 200 };
    arena it;
    arena_make(&it, 8 * MIB, 64 * MIB);
    void *blocks[MOST];
    size_t capacity;
    for (int round = 0; round < 3; round++) {
        int count = 0, status;
        while ((status = achar__heap_alloc(it.heap, 100000 * (size_t)(round + 1), &blocks[count],
                                           &capacity)) == ACHAR_OK) {
            count++;
            assert_true(count < MOST);
        }
        assert_status(status, ACHAR_E_LIMIT);
        assert_true(count > 10);
        for (int i = 0; i < count; i += 2) { /* every second first, so that runs must merge */
            assert_true(achar__heap_free(it.heap, blocks[i]));
        }
        for (int i = 1; i < count; i += 2) {
            assert_true(achar__heap_free(it.heap, blocks[i]));
        }
    }
    void *all;
    assert_status(achar__heap_alloc(it.heap, 8 * MIB, &all, &capacity), ACHAR_E_LIMIT);
    assert_status(achar__heap_alloc(it.heap, SIZE_MAX, &all, &capacity), ACHAR_E_LIMIT);
    assert_status(achar__heap_alloc(it.heap, 8 * MIB - ACHAR__HEAP_SPAN_NBYTES, &all, &capacity),
                  ACHAR_OK);
    void *more;
    assert_status(achar__heap_alloc(it.heap, 1, &more, &capacity), ACHAR_E_LIMIT);
    assert_true(achar__heap_free(it.heap, all));
    arena_end(&it);
}

static void missing_pages_are_a_status_and_recover(void **state)
{
    arena it;
    arena_make(&it, 64 * MIB, 64 * MIB);
    void *block, *other;
    size_t capacity, other_capacity;
    assert_status(achar__heap_alloc(it.heap, MIB, &block, &capacity), ACHAR_OK);
    memset(block, 1, MIB);
    achar__test_set_commit_budget(0);
    assert_status(achar__heap_alloc(it.heap, 2 * MIB, &other, &other_capacity), ACHAR_E_NOMEM);
    assert_status(achar__heap_alloc(it.heap, 10, &other, &other_capacity), ACHAR_E_NOMEM);
    void *same = block;
    assert_status(achar__heap_grow(it.heap, &block, &capacity, MIB, 4 * MIB), ACHAR_E_NOMEM);
    assert_ptr_equal(block, same);
    assert_int_equal(capacity, MIB);
    achar__test_set_commit_budget(SIZE_MAX);
    assert_status(achar__heap_grow(it.heap, &block, &capacity, MIB, 4 * MIB), ACHAR_OK);
    assert_ptr_equal(block, same); /* in place: nothing stands behind it */
    assert_int_equal(((unsigned char *)block)[MIB - 1], 1);
    assert_true(achar__heap_free(it.heap, block));
    assert_int_equal(achar__heap_usage_of(it.heap).used_nbytes, 0);
    arena_end(&it);
}

static void freed_pages_stay_warm_up_to_the_limit(void **state)
{
    arena it;
    arena_make(&it, 256 * MIB, 32 * MIB);
    void *block;
    size_t capacity;
    assert_status(achar__heap_alloc(it.heap, 20 * MIB, &block, &capacity), ACHAR_OK);
    assert_true(resident_nbytes(&it) >= 20 * MIB);
    achar__heap_free(it.heap, block);
    assert_true(resident_nbytes(&it) >= 20 * MIB);
    achar__test_set_commit_budget(0); /* the same pages serve again */
    assert_status(achar__heap_alloc(it.heap, 20 * MIB, &block, &capacity), ACHAR_OK);
    achar__test_set_commit_budget(SIZE_MAX);
    achar__heap_free(it.heap, block);
    assert_status(achar__heap_alloc(it.heap, 100 * MIB, &block, &capacity), ACHAR_OK);
    achar__heap_free(it.heap, block);
    assert_true(achar__heap_has_excess(it.heap));
    achar__heap_purge(it.heap);
    assert_false(achar__heap_has_excess(it.heap));
    assert_true(resident_nbytes(&it) <= 32 * MIB);
    assert_true(achar__heap_usage_of(it.heap).warm_nbytes <= 32 * MIB);
    arena_end(&it);
}

static void trimming_gives_back_the_slack(void **state)
{
    arena it;
    arena_make(&it, 64 * MIB, 64 * MIB);
    void *block;
    size_t capacity;
    assert_status(achar__heap_alloc(it.heap, 10 * MIB, &block, &capacity), ACHAR_OK);
    memcpy(block, "kept", 4);
    void *same = block;
    achar__heap_trim(it.heap, &block, &capacity, MIB);
    assert_ptr_equal(block, same);
    assert_int_equal(capacity, MIB);
    achar__heap_trim(it.heap, &block, &capacity, 4);
    assert_int_equal(capacity, 64);
    assert_memory_equal(block, "kept", 4);
    assert_int_equal(achar__heap_usage_of(it.heap).used_nbytes, 64);
    assert_true(achar__heap_free(it.heap, block));
    arena_end(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(region_is_sealed_and_safe),
        KIT_TEST(region_respects_file_size_limit),
        KIT_TEST(capacity_and_alignment_of_every_size),
        KIT_TEST(freeing_what_is_no_block_does_nothing),
        KIT_TEST(blocks_never_overlap),
        KIT_TEST(full_region_is_a_status_and_recovers),
        KIT_TEST(missing_pages_are_a_status_and_recover),
        KIT_TEST(freed_pages_stay_warm_up_to_the_limit),
        KIT_TEST(trimming_gives_back_the_slack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

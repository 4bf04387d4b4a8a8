/* test_base.c - memory, arena, buffer and table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/table.h"

/* ---- memory ---- */

static void memory_counts_and_limits(void **state)
{
    memory mem;
    achar__memory_init(&mem, NULL, 100);
    void *a = achar__memory_take(&mem, 60);
    assert_non_null(a);
    assert_int_equal(mem.used_nbytes, 60);
    assert_null(achar__memory_take(&mem, 41));
    assert_int_equal(achar__memory_status(&mem), ACHAR_E_LIMIT);
    assert_null(achar__memory_resize(&mem, a, 60, SIZE_MAX));
    a = achar__memory_resize(&mem, a, 60, 100);
    assert_non_null(a);
    assert_int_equal(mem.used_nbytes, 100);
    achar__memory_give(&mem, a, 100);
    achar__memory_give(&mem, NULL, 0);
    assert_int_equal(mem.used_nbytes, 0);
}

static void *refuse(void *opaque, void *block, size_t old_nbytes, size_t new_nbytes)
{
    return NULL;
}

static void memory_that_runs_out(void **state)
{
    memory mem;
    achar__memory_init(&mem, &(achar_allocator){refuse, NULL}, 100);
    assert_null(achar__memory_take(&mem, 10));
    assert_int_equal(achar__memory_status(&mem), ACHAR_E_NOMEM);
    assert_int_equal(mem.used_nbytes, 0);
}

/* ---- arena ---- */

static void arena_pieces(void **state)
{
    memory mem;
    arena a;
    achar__memory_init(&mem, NULL, 0);
    achar__arena_init(&a, &mem, NULL, 0);
    uint64_t *pieces[5000];
    uint64_t asked_nbytes = 0;
    for (size_t i = 0; i < 5000; i++) {
        size_t nbytes = 8 + i % 40 + (i % 500 == 0 ? 100000 : 0);
        pieces[i] = achar__arena_take(&a, nbytes);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], 0xee, nbytes);
        *pieces[i] = i;
        asked_nbytes += nbytes;
    }
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(*pieces[i], i);
    assert_true(mem.used_nbytes < 3 * asked_nbytes);
    assert_null(achar__arena_take(&a, SIZE_MAX));
    assert_null(achar__arena_take(&a, SIZE_MAX - 7));
    achar__arena_free(&a);
    assert_int_equal(mem.used_nbytes, 0);
}

static void arena_extends_the_last_piece(void **state)
{
    memory mem;
    arena a;
    achar__memory_init(&mem, NULL, 0);
    achar__arena_init(&a, &mem, NULL, 0);
    void *first = achar__arena_take(&a, 16);
    assert_true(achar__arena_extend(&a, first, 16, 32));
    void *second = achar__arena_take(&a, 16);
    assert_ptr_equal(second, (char *)first + 32);
    assert_false(achar__arena_extend(&a, first, 32, 48));
    assert_false(achar__arena_extend(&a, second, 16, 1 << 20));
    achar__arena_free(&a);
}

static void arena_blocks(void **state)
{
    memory mem;
    arena a;
    achar__memory_init(&mem, NULL, 0);
    achar__arena_init(&a, &mem, NULL, 0);
    char *blocks[3] = {NULL};
    for (size_t nbytes = 100; nbytes < 100000; nbytes *= 3) {
        for (int i = 0; i < 3; i++) {
            blocks[i] = achar__arena_block_resize(&a, blocks[i], nbytes);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % 16, 0);
            assert_int_equal(achar__arena_block_capacity(blocks[i]), nbytes);
            memset(blocks[i], i, nbytes);
        }
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(blocks[i][99], i);
    achar__arena_free(&a);
    assert_int_equal(mem.used_nbytes, 0);
}

/* ---- buffer ---- */

static void buffer_appends(void **state)
{
    memory mem;
    buffer b;
    achar__memory_init(&mem, NULL, 0);
    achar__buffer_init(&b, &mem);
    for (int i = 0; i < 1000; i++) {
        achar__buffer_printf(&b, "%d,", i % 10);
        achar__buffer_append(&b, NULL, 0);
    }
    achar__buffer_fill(&b, '-', 3);
    achar__buffer_text(&b, "end");
    assert_int_equal(b.nbytes, 2006);
    assert_memory_equal(b.data + 1998, "9,---end", 8);
    assert_int_equal(b.failed, ACHAR_OK);
    assert_false(achar__buffer_reserve(&b, SIZE_MAX - 10));
    assert_int_equal(b.failed, ACHAR_E_NOMEM);
    achar__buffer_free(&b);
    assert_int_equal(mem.used_nbytes, 0);
}

static void buffer_remembers_its_failure(void **state)
{
    memory mem;
    buffer b;
    achar__memory_init(&mem, NULL, 300);
    achar__buffer_init(&b, &mem);
    achar__buffer_fill(&b, 'x', 200);
    achar__buffer_fill(&b, 'y', 200);
    assert_int_equal(b.failed, ACHAR_E_LIMIT);
    achar__buffer_fill(&b, 'z', 200);
    assert_int_equal(b.nbytes, 200);
    achar__buffer_free(&b);
}

/* ---- table ---- */

static void table_finds_what_was_put(void **state)
{
    memory mem;
    table t;
    achar__memory_init(&mem, NULL, 0);
    achar__table_init(&t, &mem);
    assert_int_equal(achar__table_get(&t, 1), TABLE_ABSENT);
    assert_null(achar__table_find(&t, 1));
    bool added;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t *value = achar__table_put(&t, i * 4096, i, &added);
        assert_non_null(value);
        assert_true(added);
    }
    assert_int_equal(t.count, 20000);
    for (uint64_t i = 0; i < 20000; i++) {
        assert_int_equal(achar__table_get(&t, i * 4096), i);
        assert_int_equal(achar__table_get(&t, i * 4096 + 1), TABLE_ABSENT);
    }
    uint64_t *value = achar__table_put(&t, 4096, 77, &added);
    assert_false(added);
    assert_int_equal(*value, 1);
    *value = 5;
    assert_int_equal(achar__table_get(&t, 4096), 5);
    achar__table_free(&t);
    assert_int_equal(mem.used_nbytes, 0);
}

/* ---- errors and names ---- */

static void errors(void **state)
{
    achar_error error;
    assert_int_equal(achar__fail(&error, ACHAR_E_IO, 7, 'K', "disk %d", 3), ACHAR_E_IO);
    assert_int_equal(error.code, ACHAR_E_IO);
    assert_int_equal(error.offset, 7);
    assert_int_equal(error.opcode, 'K');
    assert_string_equal(error.message, "disk 3");
    achar__fail(&error, ACHAR_E_NOMEM, 0, -1, NULL);
    assert_string_equal(error.message, "out of memory");
    assert_int_equal(achar__fail(NULL, ACHAR_E_IO, 0, -1, NULL), ACHAR_E_IO);
    assert_string_equal(achar_status_name(ACHAR_E_TRUNCATED), "E_TRUNCATED");
    assert_string_equal(achar_status_name(12345), "?");
    assert_string_equal(achar_status_message(ACHAR_OK), "success");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_counts_and_limits),
        cmocka_unit_test(memory_that_runs_out),
        cmocka_unit_test(arena_pieces),
        cmocka_unit_test(arena_extends_the_last_piece),
        cmocka_unit_test(arena_blocks),
        cmocka_unit_test(buffer_appends),
        cmocka_unit_test(buffer_remembers_its_failure),
        cmocka_unit_test(table_finds_what_was_put),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

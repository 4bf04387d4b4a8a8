/*
 * items.c - records as items of a batch: arrays of JSON, of integers but for an error's line.
 *
 *    [number, calls, name, state, submitted, wait | null, run, worker | null, args_nbytes, result_nbytes,
 *     cpu_ns | null, peak_kib | null, raised, retries, before, parent_pool | null, parent | null, code | null,
 *     error | null, [number, ...] | null, number - map, item]
 *
 * 'submitted' is nanoseconds from the batch's base; 'wait' begins there, and 'run' behind it. The last three are of
 * a piece of a map: which of its calls raised, and where it stands. What stands at the end and is nothing is left
 * out. Of a submission that has not ended, only what is known then is something; its state is 1.
 */
#include "record/internal.h"

#include <stdlib.h>
#include <string.h>

static bool reserve(record_text *to, size_t nbytes)
{
    if (to->capacity - to->nbytes >= nbytes) {
        return true;
    }
    size_t capacity = (to->capacity + nbytes) * 2;
    char *data = realloc(to->data, capacity);
    if (!data) {
        return false;
    }
    to->data = data;
    to->capacity = capacity;
    return true;
}

/* Two digits at a time: most of what a task costs here is this. */
static char *put_number(char *at, int64_t value)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "6869707172737475767778798081828384858687888990919293949596979899";
    char digits[24], *first = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    while (rest >= 10) {
        first -= 2;
        memcpy(first, pairs + rest % 100 * 2, 2);
        rest /= 100;
    }
    if (rest || first == digits + sizeof digits) {
        *--first = (char)('0' + rest);
    }
    if (value < 0) {
        *at++ = '-';
    }
    size_t count = (size_t)(digits + sizeof digits - first);
    memcpy(at, first, count);
    return at + count;
}

static char *put_next(char *at, int64_t value)
{
    *at++ = ',';
    return put_number(at, value);
}

static char *put_null(char *at)
{
    memcpy(at, ",null", 5);
    return at + 5;
}

/* As JSON; the bytes of what is no UTF-8 are taken as they come, as SQLite does. */
static char *put_text(char *at, const char *from)
{
    static const char hex[] = "0123456789abcdef";
    *at++ = ',';
    *at++ = '"';
    for (; *from; from++) {
        unsigned char c = (unsigned char)*from;
        if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            memcpy(at, "\\u00", 4);
            at[4] = hex[c >> 4];
            at[5] = hex[c & 15];
            at += 6;
        } else {
            *at++ = (char)c;
        }
    }
    *at++ = '"';
    return at;
}

static char *put_or_null(char *at, bool is, int64_t value)
{
    return is ? put_next(at, value) : put_null(at);
}

static char *put_numbers(char *at, const uint32_t *numbers, uint32_t count)
{
    *at++ = ',';
    for (uint32_t i = 0; i < count; i++) {
        *at++ = i ? ',' : '[';
        at = put_number(at, numbers[i]);
    }
    *at++ = ']';
    return at;
}

/* What few have, but for pieces; each needs those before it. */
static char *put_rest(char *at, const achar__journal_record *it)
{
    bool has_error = it->text || it->map, has_code = it->pid || has_error;
    bool has_parent = it->parent || has_code;
    if (it->raised || it->attempt || it->before || has_parent) {
        at = put_next(at, it->raised);
        at = put_next(at, it->attempt);
    }
    if (it->before || has_parent) {
        at = put_next(at, it->before);
    }
    if (has_parent) {
        at = put_or_null(at, it->parent, (int64_t)(it->parent >> 32));
        at = put_or_null(at, it->parent, (int64_t)(it->parent & UINT32_MAX));
    }
    if (has_code) {
        at = put_or_null(at, it->pid, it->code);
    }
    if (has_error) {
        at = it->text ? put_text(at, it->text) : put_null(at);
    }
    if (it->map) {
        at = it->raised_numbers ? put_numbers(at, it->raised_numbers, it->raised) : put_null(at);
        at = put_next(at, it->number - it->map);
        at = put_next(at, it->item);
    }
    return at;
}

static char *put_item(char *at, const achar__journal_record *it, int64_t base_ns)
{
    bool is_open = it->kind == ACHAR__JOURNAL_SUBMITTED, has_started = it->started_ns != 0;
    at = put_number(at, it->number);
    at = put_next(at, it->calls);
    at = put_next(at, it->name);
    at = put_next(at, is_open ? RECORD_STATE_UNFINISHED : it->how);
    at = put_next(at, it->submitted_ns - base_ns);
    at = put_or_null(at, has_started, it->started_ns - it->submitted_ns);
    at =
        put_or_null(at, !is_open, it->ended_ns - (has_started ? it->started_ns : it->submitted_ns));
    at = put_or_null(at, it->worker, it->worker);
    at = put_next(at, (int64_t)it->args_nbytes);
    if (is_open && !it->parent && !it->map) {
        return at;
    }
    at = put_or_null(at, !is_open, (int64_t)it->result_nbytes);
    at = put_or_null(at, it->cpu_ns, (int64_t)it->cpu_ns);
    at = put_or_null(at, it->peak_nbytes, (int64_t)(it->peak_nbytes >> 10));
    return put_rest(at, it);
}

void record_add_item(batch *to, const achar__journal_record *it)
{
    size_t error_nbytes = it->text ? strlen(it->text) * 6 : 0;
    size_t numbers_nbytes = it->raised_numbers ? (size_t)it->raised * 11 : 0;
    if (!reserve(&to->items, 512 + error_nbytes + numbers_nbytes)) {
        to->items.failed = true;
        return;
    }
    char *at = to->items.data + to->items.nbytes;
    *at++ = to->count ? ',' : '[';
    *at++ = '[';
    at = put_item(at, it, to->base_ns);
    *at++ = ']';
    to->items.nbytes = (size_t)(at - to->items.data);
    to->count++;
}

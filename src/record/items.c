/*
 * items.c - records as items of a batch: arrays of JSON, of integers but for an error's line.
 *
 *    submitted   [number, calls, name, submitted, args_nbytes, parent_pool, parent]
 *    the others  [number, calls, name, state, submitted, wait | null, run, worker | null, args_nbytes,
 *                 result_nbytes, cpu_ns | null, peak_kib | null, raised, retries, before, parent_pool, parent,
 *                 code | null, error]
 *
 * 'submitted' is nanoseconds from the batch's base; 'wait' begins there, and 'run' behind it. What stands at
 * the end and is nothing is left out.
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

static char *put_submitted(char *at, const achar__journal_record *it, int64_t base_ns)
{
    at = put_number(at, it->number);
    at = put_next(at, it->calls);
    at = put_next(at, it->name);
    at = put_next(at, it->submitted_ns - base_ns);
    at = put_next(at, (int64_t)it->args_nbytes);
    if (it->parent) {
        at = put_next(at, (int64_t)(it->parent >> 32));
        at = put_next(at, (int64_t)(it->parent & UINT32_MAX));
    }
    return at;
}

static char *put_attempt(char *at, const achar__journal_record *it, int64_t base_ns)
{
    at = put_number(at, it->number);
    at = put_next(at, it->calls);
    at = put_next(at, it->name);
    at = put_next(at, it->how);
    at = put_next(at, it->submitted_ns - base_ns);
    at = it->started_ns ? put_next(at, it->started_ns - it->submitted_ns) : put_null(at);
    at = put_next(at, it->ended_ns - (it->started_ns ? it->started_ns : it->submitted_ns));
    at = it->worker ? put_next(at, it->worker) : put_null(at);
    at = put_next(at, (int64_t)it->args_nbytes);
    at = put_next(at, (int64_t)it->result_nbytes);
    at = it->cpu_ns ? put_next(at, (int64_t)it->cpu_ns) : put_null(at);
    at = it->peak_nbytes ? put_next(at, (int64_t)(it->peak_nbytes >> 10)) : put_null(at);
    bool has_more = it->pid || it->text;
    if (it->raised || it->attempt || it->before || it->parent || has_more) {
        at = put_next(at, it->raised);
        at = put_next(at, it->attempt);
    }
    if (it->before || it->parent || has_more) {
        at = put_next(at, it->before);
    }
    if (it->parent || has_more) {
        at = it->parent ? put_next(at, (int64_t)(it->parent >> 32)) : put_null(at);
        at = it->parent ? put_next(at, (int64_t)(it->parent & UINT32_MAX)) : put_null(at);
    }
    if (has_more) {
        at = it->pid ? put_next(at, it->code) : put_null(at);
    }
    return it->text ? put_text(at, it->text) : at;
}

void record_add_item(batch *to, const achar__journal_record *it)
{
    size_t error_nbytes = it->text ? strlen(it->text) * 6 : 0;
    if (!reserve(&to->items, 512 + error_nbytes)) {
        to->items.failed = true;
        return;
    }
    char *at = to->items.data + to->items.nbytes;
    *at++ = to->count ? ',' : '[';
    *at++ = '[';
    at = it->kind == ACHAR__JOURNAL_SUBMITTED ? put_submitted(at, it, to->base_ns)
                                              : put_attempt(at, it, to->base_ns);
    *at++ = ']';
    to->items.nbytes = (size_t)(at - to->items.data);
    to->count++;
}

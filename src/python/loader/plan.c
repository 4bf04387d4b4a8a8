/*
 * plan.c - looks ahead through a pickle for the memo entries that it may fetch.
 *
 * Picklers put nearly everything into the memo and fetch next to nothing. Holding on to all of it
 * costs a reference, a slot and, at the end, a second walk over all objects. Where the rest of the
 * pickle is in memory, one pass over its bytes tells which entries are never fetched, and plain
 * objects among those are not kept. Besides, a dict that nobody fetches is its place on the stack
 * and nothing else: it need not exist before its items are there (shapes.c).
 *
 * The pass does not even look where opcodes begin: a LONG_BINGET of index i is the byte 'j' and i
 * in four bytes, so where these five do not stand anywhere, i is not fetched. What only looks like
 * a fetch keeps an entry in vain, no more. Two kinds of fetch are too short to be looked for: BINGET
 * reaches the indexes below 256, which a long pickle simply keeps; GET as text, which only protocol
 * 0 writes, gives no plan.
 *
 * Nothing depends on the bytes being the same later, where Python code could change them: an entry
 * that is missing after all is an error like any other.
 */
#include "python/loader/core.h"

#include "codec/decode.h"
#include "codec/opcodes.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    /* Up to here BINGETs are looked for: so that a few objects too can do without state dicts. */
    SHORT_PICKLE_NBYTES = 4096,
    SHORT_PICKLE_OF_OBJECTS_NBYTES = 65536,
    /* Where entries so far have taken more bytes than this each, a plan costs more than it saves. */
    ENTRY_NBYTES = 512,
};

typedef struct search {
    loader_memo *memo;
    const uint8_t *start;
    const uint8_t *end;
    size_t limit; /* no index can be as great */
    bool is_short;
} search;

/*
 * Does what follows a 'g' read as the argument of a GET? An integer, which ends with the line or, as
 * for the interpreter, before it at a NUL.
 */
static bool is_text_get(const search *s, const uint8_t *get)
{
    bool has_digit = false;
    for (const uint8_t *at = get + 1; at < s->end; at++) {
        if (*at == '\n' || *at == 0)
            return has_digit;
        has_digit |= Py_ISDIGIT(*at);
        if (!Py_ISDIGIT(*at) && !Py_ISSPACE(*at) && *at != '_' && *at != '+' && *at != '-')
            return false;
    }
    return false;
}

/* Looks at a byte that may be part of a fetch. False: no plan. */
static bool look(const search *s, const uint8_t *at)
{
    size_t left = (size_t)(s->end - at) - 1;
    switch (*at) {
    case OP_GET:
        return !is_text_get(s, at);
    case OP_BINGET:
        return left < 1 || loader_memo_plan_fetch(s->memo, at[1]);
    case OP_LONG_BINGET:
        if (left < 4 || decode_uint4(at + 1) >= s->limit)
            return true;
        return loader_memo_plan_fetch(s->memo, decode_uint4(at + 1));
    }
    return true;
}

static bool search_bytes(const search *s)
{
    const uint8_t *at = s->start;
#ifdef __SSE2__
    const __m128i text_get = _mm_set1_epi8(OP_GET), nine = _mm_set1_epi8('9');
    const __m128i long_get = _mm_set1_epi8(OP_LONG_BINGET);
    const __m128i get = s->is_short ? _mm_set1_epi8(OP_BINGET) : _mm_setzero_si128();
    const __m128i highest = _mm_set1_epi8((char)(s->limit >> 24 > 255 ? 255 : s->limit >> 24));
    const __m128i is_short = _mm_set1_epi8(s->is_short ? -1 : 0);
    for (; s->end - at >= 20; at += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        /* The number behind a text GET begins with a digit, a sign or a space. */
        const __m128i after = _mm_loadu_si128((const __m128i *)(at + 1));
        /* The last byte of a LONG_BINGET's index is its highest. */
        const __m128i behind = _mm_loadu_si128((const __m128i *)(at + 4));
        const __m128i found = _mm_or_si128(
            _mm_and_si128(_mm_cmpeq_epi8(bytes, get), is_short),
            _mm_or_si128(_mm_and_si128(_mm_cmpeq_epi8(bytes, text_get),
                                       _mm_cmpeq_epi8(_mm_min_epu8(after, nine), after)),
                         _mm_and_si128(_mm_cmpeq_epi8(bytes, long_get),
                                       _mm_cmpeq_epi8(_mm_min_epu8(behind, highest), behind))));
        for (int bits = _mm_movemask_epi8(found); bits; bits &= bits - 1)
            if (!look(s, at + __builtin_ctz((unsigned)bits)))
                return false;
    }
#endif
    for (; at < s->end; at++)
        if ((*at == OP_GET || *at == OP_LONG_BINGET || (s->is_short && *at == OP_BINGET)) &&
            !look(s, at))
            return false;
    return true;
}

void loader_plan(loader *ld, bool of_objects)
{
    loader_memo *memo = &ld->memo;
    search s = {.memo = memo, .start = ld->in.next, .end = ld->in.chunk_end};
    size_t left = (size_t)(s.end - s.start), done = (size_t)(s.start - ld->in.start);
    if (ld->planned || ld->in.read || ld->unpickler || done == 0)
        return;
    ld->planned = true;
    if (memo->far || memo->gaps || done > ENTRY_NBYTES * (memo->used + 1))
        return;
    s.limit = memo->used + left;
    s.is_short = left <= (of_objects ? SHORT_PICKLE_OF_OBJECTS_NBYTES : SHORT_PICKLE_NBYTES);
    loader_memo_plan_begin(memo, s.is_short ? 0 : 256);
    if (!search_bytes(&s))
        loader_memo_plan_end(memo);
}

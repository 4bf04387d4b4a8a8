/*
 * read.c - any bytes: a value or an error, with memory in proportion, under limits and without
 * memory too. Reader, accessors, log of effects, writer, JSON and disassembler all take part.
 */
#include "exercise.h"
#include "fuzz.h"

/* What the work on a pickle may take of memory: for each of its bytes, and besides. */
enum { MEMORY_PER_BYTE = 300, MEMORY_BESIDES_NBYTES = 128 << 10 };

static const uint8_t *input;
static size_t input_nbytes;

/* Once more, with one thing different. Whatever comes, nothing may be left. */
static int use(achar_read_options options, size_t fail_at, counting *c)
{
    counting_init(c, fail_at);
    options.allocator = &c->allocator;
    int status = use_everything(input, input_nbytes, &options, 0);
    REQUIRE(c->now_nbytes == 0, "%zu bytes left", c->now_nbytes);
    REQUIRE(c->peak_nbytes <= MEMORY_BESIDES_NBYTES + input_nbytes * MEMORY_PER_BYTE,
            "%zu bytes for a pickle of %zu", c->peak_nbytes, input_nbytes);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    counting c;
    achar_read_options options = {.encoding = ACHAR_ENCODING_ASCII};
    input = data;
    input_nbytes = nbytes;
    int status = use(options, 0, &c);
    while (status == ACHAR_E_TEXT && options.encoding < ACHAR_ENCODING_BYTES) {
        options.encoding++;
        status = use(options, 0, &c);
    }
    /* The input chooses where memory ends, so that finding more ways in finds more places. */
    size_t choice = nbytes == 0 ? 0 : data[nbytes - 1] + 256u * data[nbytes / 2];
    if (c.calls != 0)
        use(options, 1 + choice % c.calls, &c);
    options.max_nbytes = 1 + choice % (1 << 14);
    use(options, 0, &c);
    options.max_nbytes = 0;
    options.max_stack_count = 1 + choice % 7;
    use(options, 0, &c);
    options.max_stack_count = 0;
    options.max_memo_count = 1 + choice % 5;
    use(options, 0, &c);
    return 0;
}

/* trace.c - any bytes: the trace says what the reader says, lets no byte of the pickle through that is
 * not text, and leaves nothing behind, without memory too. */
#include "exercise.h"
#include "exercise_trace.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    counting c;
    counting_init(&c, 0);
    trace_everything(data, nbytes, &c.allocator);
    REQUIRE(c.now_nbytes == 0, "%zu bytes left", c.now_nbytes);
    /* The input chooses in which way memory ends, and where. */
    size_t choice = nbytes == 0 ? 0 : data[nbytes - 1] + 256u * data[nbytes / 2];
    counting_init(&c, 1 + choice / TRACE_WAYS % (1 + c.calls / TRACE_WAYS));
    trace_one_way(data, nbytes, (int)(choice % TRACE_WAYS), &c.allocator);
    REQUIRE(c.now_nbytes == 0, "%zu bytes left without memory", c.now_nbytes);
    return 0;
}

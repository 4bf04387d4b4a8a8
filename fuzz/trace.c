/* trace.c - any bytes: the trace says what the reader says, lets no byte of the pickle through that is
 * not text, and leaves nothing behind, without memory too. */
#include "exercise.h"
#include "exercise_trace.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    counting c;
    trace_everything(data, nbytes, NULL);
    size_t choice = nbytes == 0 ? 0 : data[nbytes - 1] + 256u * data[nbytes / 2];
    counting_init(&c, 1 + choice % 64);
    trace_everything(data, nbytes, &c.allocator);
    REQUIRE(c.now_nbytes == 0, "%zu bytes left", c.now_nbytes);
    return 0;
}

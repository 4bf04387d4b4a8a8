/*
 * test_queue_faults.c - kill -9 at every step of a queue's life, as test_faults.c does it for the
 * others: a producer or a consumer loses at most the message in its hands, and hangs nobody.
 */
#include "kit.h"

#include "runtime/sync/arena.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define STEP_LIMIT  2000
#define LONG_NBYTES 70000 /* two units */

typedef struct scene {
    achar_space *space;
    achar_queue queue;
    achar_event ready;
    _Atomic int *progress; /* of the victim, in memory of its own */
} scene;

static scene scene_make(uint32_t max_count)
{
    scene s = {.space = kit_space(1)};
    assert_status(achar_queue_create(s.space, max_count, &s.queue), ACHAR_OK);
    assert_status(achar_event_create(s.space, &s.ready), ACHAR_OK);
    s.progress =
        mmap(NULL, sizeof *s.progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(s.progress, MAP_FAILED);
    return s;
}

static void scene_end(scene *s)
{
    munmap((void *)s->progress, sizeof *s->progress);
    achar_space_close(s->space);
}

static void report(const char *name, unsigned deaths)
{
    print_message("           %s: killed at %u steps\n", name, deaths);
    assert_in_range(deaths, 1, STEP_LIMIT - 1);
}

static int put_number(achar_queue queue, uint32_t number, size_t nbytes, int64_t timeout_ns)
{
    unsigned char *data = malloc(nbytes);
    memset(data, (int)number, nbytes);
    memcpy(data, &number, sizeof number);
    int status = achar_queue_put(queue, data, nbytes, timeout_ns);
    free(data);
    return status;
}

/* The number in the first message, which is whole; or a negative status. */
static int64_t get_number(achar_queue queue, int64_t timeout_ns)
{
    achar_message message;
    uint32_t number;
    int status = achar_queue_get(queue, timeout_ns, &message);
    if (status != ACHAR_OK) {
        return status;
    }
    memcpy(&number, message.data, sizeof number);
    for (size_t i = sizeof number; i < message.nbytes; i++) {
        if (((unsigned char *)message.data)[i] != (unsigned char)number) {
            fail_msg("message %u is damaged at %zu", number, i);
        }
    }
    achar_message_free(&message);
    return number;
}

/* Short, long, and such that segments end between them. */
static size_t size_of(uint32_t number)
{
    return number % 4 == 3 ? LONG_NBYTES : number % 4 == 0 ? 16 : 4090;
}

static int get_one(void *argument)
{
    return get_number(((scene *)argument)->queue, FOR_EVER) >= 0 ? ACHAR_OK : ACHAR_E_BROKEN;
}

/* It works for one who waits, for one who does not; and the dead have left no memory. */
static void expect_queue_works(scene *s)
{
    kit_call call;
    achar__reap_the_dead(s->space);
    assert_int_equal(get_number(s->queue, 0), ACHAR_E_TIMEOUT);
    kit_start(&call, get_one, s);
    kit_expect_waiting(s->space, 1);
    assert_status(put_number(s->queue, 1, 16, ENOUGH_NS), ACHAR_OK);
    assert_status(kit_join(&call), ACHAR_OK);
    assert_status(put_number(s->queue, 2, LONG_NBYTES, ENOUGH_NS), ACHAR_OK);
    assert_int_equal(get_number(s->queue, 0), 2);
    assert_int_equal(s->queue.cell->messages.count, 0);
    assert_int_equal(s->queue.cell->messages.promised, 0);
    assert_int_equal(s->queue.cell->messages.reserved, 0);
    assert_int_equal(achar__extents_taken(s->space, achar__ticket(s->space)), 1);
}

/* ---- a producer ---- */

enum { PUT_COUNT = 22 }; /* two segments and a bit */

static void produce(void *argument)
{
    scene *s = argument;
    for (uint32_t i = 0; i < PUT_COUNT; i++) {
        put_number(s->queue, i, size_of(i), FOR_EVER);
        atomic_store(s->progress, (int)i + 1);
    }
}

/* What it had put is there, in order; at most one more, which it was putting. */
static void producer_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        killed = kit_was_killed(kit_fork(produce, &s, n));
        int64_t got;
        int count = 0;
        while ((got = get_number(s.queue, 0)) >= 0) {
            assert_int_equal(got, count);
            count++;
        }
        int done = atomic_load(s.progress);
        assert_true(count == done || (killed && count == done + 1));
        expect_queue_works(&s);
        scene_end(&s);
    }
    report("producer", n - 2);
}

static int consume_all(void *argument)
{
    scene *s = argument;
    for (uint32_t i = 0; i < PUT_COUNT; i++) {
        int64_t got = get_number(s->queue, FOR_EVER);
        if (got == 1000) { /* the producer is gone */
            return (int)i;
        }
        assert_int_equal(got, i);
    }
    return PUT_COUNT;
}

/* The same with a consumer that waits: it gets what there is, and is not left asleep. */
static void producer_dies_while_a_consumer_waits(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(2);
        kit_call consumer;
        kit_start(&consumer, consume_all, &s);
        killed = kit_was_killed(kit_fork(produce, &s, n));
        if (killed) { /* or the consumer waits for the rest */
            assert_status(put_number(s.queue, 1000, 16, ENOUGH_NS), ACHAR_OK);
        }
        int count = kit_join(&consumer), done = atomic_load(s.progress);
        assert_true(count == done || (killed && count == done + 1));
        if (count == PUT_COUNT && killed) {
            assert_int_equal(get_number(s.queue, ENOUGH_NS), 1000);
        }
        expect_queue_works(&s);
        scene_end(&s);
    }
    report("producer with a consumer", n - 2);
}

/* ---- a consumer ---- */

static void consume(void *argument)
{
    scene *s = argument;
    for (int i = 0; i < PUT_COUNT; i++) {
        get_number(s->queue, FOR_EVER);
        atomic_store(s->progress, i + 1);
        achar_queue_task_done(s->queue);
    }
}

/* What it had not taken is there; the one in its hands is lost, and who joins is told. */
static void consumer_dies(void **state)
{
    unsigned n = 1, lost_count = 0;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        uint32_t lost = 0;
        for (uint32_t i = 0; i < PUT_COUNT; i++) {
            assert_status(put_number(s.queue, i, size_of(i), 0), ACHAR_OK);
        }
        killed = kit_was_killed(kit_fork(consume, &s, n));
        int done = atomic_load(s.progress), first = -1;
        int64_t got;
        while ((got = get_number(s.queue, 0)) >= 0) {
            first = first < 0 ? (int)got : first;
            assert_status(achar_queue_task_done(s.queue), ACHAR_OK);
        }
        first = first < 0 ? PUT_COUNT : first;
        assert_true(first == done || (killed && first == done + 1));
        int status = achar_queue_join(s.queue, ENOUGH_NS);
        if (status != ACHAR_OK) {
            assert_status(status, ACHAR_E_OWNER_DIED);
            assert_status(achar_queue_join(s.queue, 0), ACHAR_E_OWNER_DIED);
            assert_status(achar_queue_recover(s.queue, &lost), ACHAR_OK);
            assert_int_equal(lost, 1);
            assert_status(achar_queue_recover(s.queue, &lost), ACHAR_E_NOT_HELD);
            assert_status(achar_queue_join(s.queue, 0), ACHAR_OK);
            lost_count++;
        }
        assert_true(killed || status == ACHAR_OK);
        expect_queue_works(&s);
        scene_end(&s);
    }
    report("consumer", n - 2);
    assert_int_not_equal(lost_count, 0);
}

static void consume_one(void *argument)
{
    scene *s = argument;
    atomic_store(s->progress, get_number(s->queue, FOR_EVER) == 5);
}

/* Without collecting it. */
static bool is_gone(pid_t child)
{
    siginfo_t info = {0};
    waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == child;
}

static int get_five(void *argument)
{
    return get_number(((scene *)argument)->queue, FOR_EVER) == 5 ? ACHAR_OK : ACHAR_E_BROKEN;
}

/* Two wait, the victim first; one message comes. If the victim dies before it has it, it is the other's. */
static void waiting_consumer_dies(void **state)
{
    unsigned n = 1, passed_on = 0;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        kit_call other;
        pid_t victim = kit_fork(consume_one, &s, n);
        while (kit_count_waiting(s.space) == 0 && !is_gone(victim)) {
            kit_nap_ms(1);
        }
        bool waited = !is_gone(victim);
        kit_start(&other, get_five, &s);
        kit_expect_asleep(&other);
        assert_status(put_number(s.queue, 5, size_of(n), ENOUGH_NS), ACHAR_OK);
        killed = kit_was_killed(victim);
        achar__reap_the_dead(s.space);
        uint32_t lost = 0;
        if (!killed || achar_queue_recover(s.queue, &lost) == ACHAR_OK) { /* the victim had it */
            assert_status(put_number(s.queue, 5, 16, ENOUGH_NS), ACHAR_OK);
        } else {
            passed_on += waited;
        }
        assert_status(kit_join(&other), ACHAR_OK);
        expect_queue_works(&s);
        scene_end(&s);
    }
    report("waiting consumer", n - 2);
    assert_int_not_equal(passed_on, 0);
}

static void put_into_full(void *argument)
{
    put_number(((scene *)argument)->queue, 7, 16, FOR_EVER);
}

static int put_eight(void *argument)
{
    return put_number(((scene *)argument)->queue, 8, 16, FOR_EVER);
}

/* The queue is full, the victim waits for room, another behind it. Room is made: for one at least. */
static void waiting_producer_dies(void **state)
{
    unsigned n = 1, passed_on = 0;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(1);
        kit_call other;
        assert_status(put_number(s.queue, 1, 16, 0), ACHAR_OK);
        pid_t victim = kit_fork(put_into_full, &s, n);
        while (kit_count_waiting(s.space) == 0 && !is_gone(victim)) {
            kit_nap_ms(1);
        }
        kit_start(&other, put_eight, &s);
        kit_expect_asleep(&other);
        assert_int_equal(get_number(s.queue, ENOUGH_NS), 1);
        killed = kit_was_killed(victim);
        int64_t first = get_number(s.queue, ENOUGH_NS);
        assert_true(first == 7 || (killed && first == 8));
        passed_on += first == 8;
        if (first == 7) {
            assert_int_equal(get_number(s.queue, ENOUGH_NS), 8);
        }
        assert_status(kit_join(&other), ACHAR_OK);
        expect_queue_works(&s);
        scene_end(&s);
    }
    report("waiting producer", n - 2);
    assert_int_not_equal(passed_on, 0);
}

/* ---- a reaper ---- */

static void reap(void *argument)
{
    achar__reap_the_dead(((scene *)argument)->space);
}

static void hold(void *argument)
{
    scene *s = argument;
    achar_message messages[3];
    for (int i = 0; i < 3; i++) {
        achar_queue_get(s->queue, FOR_EVER, &messages[i]);
    }
    achar_message_create(s->space, LONG_NBYTES, &messages[0]);
    achar_event_set(s->ready);
    get_number(s->queue, FOR_EVER); /* waits */
}

/* Who reaps one that held messages and waited is killed as well, at every step. */
static void reaper_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        uint32_t lost = 0;
        for (int i = 0; i < 3; i++) {
            assert_status(put_number(s.queue, 3, LONG_NBYTES, 0), ACHAR_OK);
        }
        pid_t holder = kit_fork(hold, &s, 0);
        while (kit_count_waiting(s.space) != 1 || !achar_event_is_set(s.ready)) {
            kit_nap_ms(1);
        }
        kill(holder, SIGKILL);
        assert_true(kit_was_killed(holder));
        killed = kit_was_killed(kit_fork(reap, &s, n));
        achar__reap_the_dead(s.space);
        assert_status(achar_queue_recover(s.queue, &lost), ACHAR_OK);
        assert_int_equal(lost, 3);
        expect_queue_works(&s);
        scene_end(&s);
    }
    report("reaper", n - 2);
}

/* More processes that have taken something than a cell has accounts for. */
static void many_holders_die(void **state)
{
    enum { COUNT = 20 };
    scene s = scene_make(0);
    pid_t children[COUNT];
    uint32_t lost = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_status(put_number(s.queue, i, size_of(i), 0), ACHAR_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            get_number(s.queue, FOR_EVER);
            atomic_fetch_add(s.progress, 1);
            pause();
        }
    }
    while (atomic_load(s.progress) < COUNT) {
        kit_nap_ms(1);
    }
    for (int i = 0; i < COUNT; i++) {
        kill(children[i], SIGKILL);
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    }
    assert_status(achar_queue_join(s.queue, ENOUGH_NS), ACHAR_E_OWNER_DIED);
    achar__reap_the_dead(s.space);
    assert_status(achar_queue_recover(s.queue, &lost), ACHAR_OK);
    assert_int_equal(lost, COUNT);
    expect_queue_works(&s);
    scene_end(&s);
}

/* A message of the parent's is not the child's to put or to free. */
static void a_fork_has_none_of_its_parents_messages(void **state)
{
    scene s = scene_make(0);
    achar_message message;
    assert_status(achar_message_create(s.space, LONG_NBYTES, &message), ACHAR_OK);
    pid_t child = fork();
    if (child == 0) {
        bool refused = achar_queue_put_message(s.queue, &message, 0) == ACHAR_E_INVALID;
        achar_message_free(&message);
        _exit(refused ? 0 : 1);
    }
    assert_false(kit_was_killed(child));
    memset(message.data, 9, LONG_NBYTES);
    memcpy(message.data, &(uint32_t){9}, 4);
    assert_status(achar_queue_put_message(s.queue, &message, 0), ACHAR_OK);
    assert_int_equal(get_number(s.queue, 0), 9);
    expect_queue_works(&s);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(producer_dies),         KIT_TEST(producer_dies_while_a_consumer_waits),
        KIT_TEST(consumer_dies),         KIT_TEST(waiting_consumer_dies),
        KIT_TEST(waiting_producer_dies), KIT_TEST(reaper_dies),
        KIT_TEST(many_holders_die),      KIT_TEST(a_fork_has_none_of_its_parents_messages),
    };
    return cmocka_run_group_tests_name("sync queue faults", tests, NULL, NULL);
}

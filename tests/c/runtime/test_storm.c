/*
 * test_storm.c - random kills and stops while tasks flow from several threads: every task finishes
 * exactly once, with the right bytes or as lost.
 */
#include "kit.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { SENDERS = 3, AT_ONCE = 250, WORKERS = 3, KILLS_LEAST = 5 };

/* Sanitizers start processes ten times slower. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { TASKS_EACH = 3000, KILL_EVERY_MS = 20 };
#else
enum { TASKS_EACH = 20000, KILL_EVERY_MS = 3 };
#endif

typedef struct storm {
    achar__pool *pool;
    _Atomic bool over;
    _Atomic int sent, returned, lost, cancelled, handed_out, to_hand_out, kill_count;
} storm;

typedef struct sender {
    storm *storm;
    unsigned seed;
} sender;

static void *send_main(void *argument)
{
    sender *self = argument;
    storm *it = self->storm;
    achar__task *tasks[AT_ONCE];
    char text[32];
    /* At the least; until the one that kills has come to it. */
    for (int done = 0; done < TASKS_EACH || it->kill_count <= KILLS_LEAST; done += AT_ONCE) {
        it->sent += AT_ONCE;
        for (int i = 0; i < AT_ONCE; i++) {
            /* One in 50 takes far longer than the rest. */
            tasks[i] = rand_r(&self->seed) % 50 == 0 ? kit_submit(it->pool, "spin 2000")
                                                     : kit_submit(it->pool, "echo %d", done + i);
            if (rand_r(&self->seed) % 4 == 0) {
                it->to_hand_out += achar__task_watch(tasks[i], NULL);
            }
        }
        if (rand_r(&self->seed) % 4 == 0) {
            achar__task_cancel(tasks[(unsigned)rand_r(&self->seed) % AT_ONCE]);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            achar__task_result result = kit_result(tasks[i]);
            int length = snprintf(text, sizeof text, "%d", done + i);
            switch (result.state) {
            case ACHAR__TASK_RETURNED:
                it->returned++;
                if (result.nbytes) {
                    assert_int_equal(result.nbytes, length);
                    assert_memory_equal(result.bytes, text, result.nbytes);
                }
                break;
            case ACHAR__TASK_LOST:
                it->lost++;
                assert_int_equal(result.death.signal, SIGKILL);
                break;
            case ACHAR__TASK_CANCELLED:
                it->cancelled++;
                break;
            default:
                fail_msg("state %d", result.state);
            }
            achar__task_release(tasks[i]);
        }
    }
    return NULL;
}

static void *watch_main(void *argument)
{
    storm *it = argument;
    achar__task *task;
    while (achar__pool_next_watched(it->pool, -1, &task) == ACHAR_OK) {
        it->handed_out++;
        achar__task_release(task);
    }
    return NULL;
}

static void *kill_main(void *argument)
{
    storm *it = argument;
    unsigned seed = 5;
    int seen = -1;
    while (!it->over) {
        /* On a machine where none gets ready in that time the pool would be given up. */
        int ended = it->returned + it->lost + it->cancelled;
        if (ended == seen) {
            kit_nap_ms(1);
            continue;
        }
        seen = ended;
        int pids[WORKERS];
        size_t count = achar__pool_pids(it->pool, pids, WORKERS);
        count = count < WORKERS ? count : WORKERS;
        if (count) {
            int pid = pids[(size_t)rand_r(&seed) % count];
            if (rand_r(&seed) % 8 == 0) {
                kill(pid, SIGSTOP);
                kit_nap_ms(KILL_EVERY_MS);
                kill(pid, SIGCONT);
            } else {
                /* The pid is a living worker's or, at worst, one just collected. */
                kill(pid, SIGKILL);
                it->kill_count++;
            }
        }
        kit_nap_ms(1 + rand_r(&seed) % (2 * KILL_EVERY_MS));
    }
    return NULL;
}

static void every_task_finishes_once(void **state)
{
    storm it = {.pool = kit_pool((kit_options){.workers = WORKERS})};
    pthread_t senders[SENDERS], watcher, killer;
    sender jobs[SENDERS];
    kit_expect_works(it.pool);
    pthread_create(&watcher, NULL, watch_main, &it);
    pthread_create(&killer, NULL, kill_main, &it);
    for (unsigned i = 0; i < SENDERS; i++) {
        jobs[i] = (sender){.storm = &it, .seed = i + 1};
        pthread_create(&senders[i], NULL, send_main, &jobs[i]);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i], NULL);
    }
    it.over = true;
    pthread_join(killer, NULL);
    kit_expect_works(it.pool);
    achar__pool_close(it.pool);
    pthread_join(watcher, NULL);
    kit_end(it.pool);

    print_message("%d returned, %d lost, %d cancelled; %d kills\n", it.returned, it.lost,
                  it.cancelled, it.kill_count);
    assert_true(it.sent >= SENDERS * TASKS_EACH);
    assert_int_equal(it.returned + it.lost + it.cancelled, it.sent);
    assert_int_equal(it.handed_out, it.to_hand_out);
    assert_true(it.lost <= it.kill_count);
    assert_true(it.kill_count > KILLS_LEAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {KIT_TEST(every_task_finishes_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

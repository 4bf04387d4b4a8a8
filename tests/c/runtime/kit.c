/* kit.c - see kit.h. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

const char *kit_echo_worker(void)
{
    const char *path = getenv("ACHAR_ECHO_WORKER");
    assert_non_null(path);
    return path;
}

achar__pool *kit_pool(kit_options options)
{
    achar__pool *pool = NULL;
    char crash[64];
    static const char *const sanitizer_variables[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS",
                                                      "TSAN_OPTIONS"};
    static char copies[3][256];
    const char *argv[] = {options.program ? options.program : kit_echo_worker(), options.mode,
                          NULL};
    const char *envp[8];
    size_t count = 0;
    if (options.crash) {
        snprintf(crash, sizeof crash, "ACHAR_CRASH=%s", options.crash);
        envp[count++] = crash;
    }
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(sanitizer_variables[i]);
        if (value) {
            snprintf(copies[i], sizeof copies[i], "%s=%s", sanitizer_variables[i], value);
            envp[count++] = copies[i];
        }
    }
    envp[count] = NULL;
    achar__pool_options made = {.worker_argv = argv,
                                .worker_envp = envp,
                                .worker_count = options.workers ? options.workers : 2,
                                .hello = options.hello,
                                .hello_nbytes = options.hello ? strlen(options.hello) : 0,
                                .region_nbytes = options.region_nbytes,
                                .max_tasks_per_worker = options.max_tasks_per_worker,
                                .has_door = options.has_door};
    assert_status(achar__pool_create(&made, &pool), ACHAR_OK);
    return pool;
}

void kit_end(achar__pool *pool)
{
    achar__pool_close(pool);
    assert_status(achar__pool_join(pool, ENOUGH_NS), ACHAR_OK);
    int pid;
    assert_int_equal(achar__pool_pids(pool, &pid, 1), 0);
    achar__pool_release(pool);
}

achar__function *kit_function(achar__pool *pool)
{
    achar__function *function = NULL;
    assert_status(achar__pool_function(pool, "function", 8, 7, &function), ACHAR_OK);
    return function;
}

achar__task *kit_submit_bytes(achar__pool *pool, achar__function *function, const char *command,
                              const void *bytes, size_t nbytes)
{
    achar__block args;
    achar__task *task = NULL;
    size_t length = strlen(command);
    assert_status(achar__pool_block_reserve(pool, length + 1 + nbytes, &args), ACHAR_OK);
    memcpy(args.data, command, length);
    ((char *)args.data)[length] = ' ';
    if (nbytes) {
        memcpy((char *)args.data + length + 1, bytes, nbytes);
    }
    assert_status(achar__pool_submit(pool, function, &args, length + 1 + nbytes, NULL, &task),
                  ACHAR_OK);
    assert_null(args.data);
    return task;
}

achar__task *kit_submit(achar__pool *pool, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    achar__block args;
    achar__task *task = NULL;
    achar__function *function = kit_function(pool);
    assert_status(achar__pool_block_reserve(pool, strlen(text), &args), ACHAR_OK);
    memcpy(args.data, text, strlen(text));
    assert_status(achar__pool_submit(pool, function, &args, strlen(text), NULL, &task), ACHAR_OK);
    achar__function_release(function);
    return task;
}

static const char *gate_path(void)
{
    static char path[40]; /* echo_worker takes 63 characters */
    snprintf(path, sizeof path, "/tmp/achar-test-gate-%d", (int)getpid());
    return path;
}

const char *kit_hold_command(void)
{
    static char command[64];
    snprintf(command, sizeof command, "hold %s", gate_path());
    return command;
}

achar__task *kit_hold(achar__pool *pool)
{
    return kit_submit(pool, "%s", kit_hold_command());
}

void kit_open_gate(void)
{
    int fd = open(gate_path(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

void kit_close_gate(void)
{
    unlink(gate_path());
}

void kit_wait_until_running(achar__task *task)
{
    while (achar__task_state_of(task) != ACHAR__TASK_RUNNING) {
        assert_false(ACHAR__TASK_FINISHED(achar__task_state_of(task)));
        kit_nap_ms(1);
    }
}

achar__task_result kit_result(achar__task *task)
{
    achar__task_result result;
    assert_status(achar__task_wait(task, ENOUGH_NS), ACHAR_OK);
    achar__task_result_of(task, &result);
    assert_true(ACHAR__TASK_FINISHED(result.state));
    assert_int_equal(achar__task_state_of(task), result.state);
    return result;
}

void kit_expect(achar__task *task, enum achar__task_state state, const char *text)
{
    achar__task_result result = kit_result(task);
    assert_int_equal(result.state, state);
    assert_int_equal(result.nbytes, strlen(text));
    if (result.nbytes) {
        assert_memory_equal(result.bytes, text, result.nbytes);
    }
    achar__task_release(task);
}

void kit_expect_death(achar__task *task, enum achar__task_state state, int exit_code,
                      int signal_number)
{
    achar__task_result result = kit_result(task);
    assert_int_equal(result.state, state);
    assert_null(result.bytes);
    assert_int_equal(result.death.exit_code, exit_code);
    assert_int_equal(result.death.signal, signal_number);
    assert_true(result.death.pid > 0);
    assert_int_equal(result.death.error, 0);
    achar__task_release(task);
}

long kit_expect_number(achar__task *task)
{
    char text[32] = "";
    achar__task_result result = kit_result(task);
    assert_int_equal(result.state, ACHAR__TASK_RETURNED);
    assert_in_range(result.nbytes, 1, sizeof text - 1);
    memcpy(text, result.bytes, result.nbytes);
    achar__task_release(task);
    return strtol(text, NULL, 10);
}

void kit_wait_for_workers(achar__pool *pool, int *pids, size_t count)
{
    for (int i = 0; achar__pool_pids(pool, pids, count) != count; i++) {
        assert_true(i < 15000);
        kit_nap_ms(10);
    }
}

void kit_expect_works(achar__pool *pool)
{
    kit_expect(kit_submit(pool, "echo still works"), ACHAR__TASK_RETURNED, "still works");
}

int kit_exit_code(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

char kit_state_of(int pid)
{
    char path[32], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return 'X';
    }
    int found = fscanf(file, "%*d (%*[^)]) %c", &state);
    fclose(file);
    return found == 1 ? state : 'X';
}

bool kit_is_alive(int pid)
{
    char state = kit_state_of(pid);
    return state != 'Z' && state != 'X';
}

void kit_expect_gone(int pid)
{
    for (int i = 0; kit_is_alive(pid); i++) {
        assert_true(i < 15000);
        kit_nap_ms(10);
    }
}

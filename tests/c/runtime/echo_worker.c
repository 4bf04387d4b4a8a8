/*
 * echo_worker.c - a worker program without Python, for the tests. A task's arguments are a command,
 * a space, and what the command takes:
 *
 *    echo BYTES     gives them back              big COUNT     that many bytes, of a pattern
 *    raise BYTES    gives them back as RAISED    sleep MS      then gives nothing
 *    hello          the pool's hello             spin US       the same, busy
 *    function       the function's bytes         exit CODE     _exit
 *    id             the function's id            signal N      raises it (9: kill, 6: abort, ...)
 *    pid            this process's id            none          ends with no block at all
 *    deaf MS        sleeps and ignores SIGALRM
 *    child          starts a process that stays, gives its id
 *    fork           forks; the child finds everything inert; "inert" or what was not
 *    unprivileged   forgets its parent-death signal, as a change of credentials does
 *    scribble       overwrites what it shares with the client, then waits
 *    kind N         ends with a result of that kind
 *    fill           reserves until nothing is left, gives back the status; frees all
 *    environ NAME   the variable, or "(none)"
 *    join           the inputs' bytes, one behind the other
 *    mask           blocked and ignored signals, descriptors: "clean" or what is not
 *    knock TEXT     sends this through its door, with a descriptor: the end of a pipe that says "in"
 *    flood          sends through its door until it takes no more; how many
 *    shut           shuts its door down, gives its id
 *
 * Each call of a stretch is one of: echo, big, sleep, spin, exit, signal; and
 *
 *    mark PATH      appends a byte to the file, which counts how often calls were made; then echoes
 */
#include "runtime/pool/wire.h"
#include "runtime/pool/worker.h"
#include "runtime/sync/futex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int finish_bytes(achar__worker *worker, enum achar__task_state state, const void *bytes,
                        size_t nbytes)
{
    achar__block block;
    int status = achar__worker_block_reserve(worker, nbytes, &block);
    if (status != ACHAR_OK) {
        return achar__worker_finish(worker, ACHAR__TASK_RAISED, NULL, 0);
    }
    memcpy(block.data, bytes, nbytes);
    return achar__worker_finish(worker, state, &block, nbytes);
}

/* How many bytes were sent. */
static long knock(const char *text)
{
    int ends[2];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.bytes};
    if (pipe(ends) != 0 || write(ends[1], "in", 2) != 2) {
        return -1;
    }
    memcpy(CMSG_DATA(&control.header), &ends[0], sizeof ends[0]);
    long sent = sendmsg(ACHAR__WIRE_DOOR_FD, &message, 0);
    close(ends[0]);
    close(ends[1]);
    return sent;
}

static int finish_text(achar__worker *worker, const char *text)
{
    return finish_bytes(worker, ACHAR__TASK_RETURNED, text, strlen(text));
}

static int finish_number(achar__worker *worker, long number)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", number);
    return finish_text(worker, text);
}

/* Grows its block step by step, as a pickler does. */
/* Nobody else sees these bytes yet, and there are hundreds of millions: no sanitizer looks. */
__attribute__((no_sanitize("thread", "address", "undefined"))) static void
write_pattern(unsigned char *bytes, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++) {
        bytes[i] = (unsigned char)(i * 31 + (i >> 8));
    }
}

static int finish_big(achar__worker *worker, size_t nbytes)
{
    achar__block block;
    size_t used = 0;
    int status = achar__worker_block_reserve(worker, 64, &block);
    while (status == ACHAR_OK && used < nbytes) {
        if (used == block.capacity) {
            status = achar__worker_block_grow(worker, &block, used, block.capacity * 2);
            continue;
        }
        size_t end = block.capacity < nbytes ? block.capacity : nbytes;
        write_pattern(block.data, used, end);
        used = end;
    }
    if (status != ACHAR_OK) {
        char text[16];
        achar__worker_block_free(worker, &block);
        snprintf(text, sizeof text, "%d", status);
        return finish_bytes(worker, ACHAR__TASK_RAISED, text, strlen(text));
    }
    return achar__worker_finish(worker, ACHAR__TASK_RETURNED, &block, nbytes);
}

static int finish_fill(achar__worker *worker)
{
    enum { MOST = 4096, EACH = 1 << 20 };
    static achar__block blocks[MOST];
    int count = 0, status = ACHAR_OK;
    while (count < MOST &&
           (status = achar__worker_block_reserve(worker, EACH, &blocks[count])) == ACHAR_OK) {
        count++;
    }
    while (count > 0) {
        achar__worker_block_free(worker, &blocks[--count]);
    }
    return finish_number(worker, status);
}

static int finish_join(achar__worker *worker, size_t input_count)
{
    achar__block block;
    size_t used = 0, nbytes;
    const void *bytes;
    uint32_t kind;
    for (size_t i = 0; i < input_count; i++) {
        if (!achar__worker_input(worker, i, &bytes, &nbytes, &kind)) {
            return finish_bytes(worker, ACHAR__TASK_RAISED, "no such input", 13);
        }
        used += nbytes;
    }
    int status = achar__worker_block_reserve(worker, used, &block);
    if (status != ACHAR_OK) {
        return achar__worker_finish(worker, ACHAR__TASK_RAISED, NULL, 0);
    }
    used = 0;
    for (size_t i = 0; i < input_count; i++) {
        achar__worker_input(worker, i, &bytes, &nbytes, &kind);
        memcpy((char *)block.data + used, bytes, nbytes);
        used += nbytes;
    }
    return achar__worker_finish(worker, ACHAR__TASK_RETURNED, &block, used);
}

static int finish_child(achar__worker *worker)
{
    pid_t child = fork();
    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    return finish_number(worker, child);
}

static int finish_fork(achar__worker *worker)
{
    pid_t child = fork();
    if (child == 0) {
        achar__block block = {0};
        achar__assignment assignment;
        _exit((achar__worker_finish(worker, ACHAR__TASK_RETURNED, NULL, 0) != ACHAR_E_CLOSED) |
              (achar__worker_next(worker, 0, &assignment) != ACHAR_E_CLOSED) << 1 |
              (achar__worker_block_reserve(worker, 1, &block) != ACHAR_E_CLOSED) << 2);
    }
    int wait_status = 0;
    waitpid(child, &wait_status, 0);
    return wait_status == 0 ? finish_text(worker, "inert") : finish_number(worker, wait_status);
}

static void scribble(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    achar__wire_up *up = NULL;
    achar__wire_bells *bells = NULL;
    while (maps && fgets(line, sizeof line, maps)) {
        if (!up && strstr(line, "achar-worker")) {
            up = (achar__wire_up *)strtoul(line, NULL, 16);
        } else if (strstr(line, "achar-bells")) {
            bells = (achar__wire_bells *)strtoul(line, NULL, 16);
        }
    }
    for (int i = 0; i < ACHAR__RING_SLOTS; i++) {
        up->completions[i].result_offset = UINT64_MAX;
        up->completions[i].state = 77;
    }
    atomic_store(&up->claimed, UINT64_MAX / 2);
    atomic_store(&up->completed, UINT64_MAX / 2);
    achar__futex_ring(&bells->tender, true);
    for (;;) {
        pause();
    }
}

/* What a worker inherits must not depend on the client. */
static int finish_mask(achar__worker *worker)
{
    char text[256] = "";
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < 32; number++) {
        struct sigaction action;
        sigaction(number, NULL, &action);
        if (sigismember(&blocked, number) || action.sa_handler == SIG_IGN) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "signal %d ", number);
        }
    }
    for (int fd = 3; fd < 100; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "fd %d ", fd);
        }
    }
    if (getpgrp() != getpid()) {
        strcat(text, "group ");
    }
    struct stat about, null_device;
    if (fstat(0, &about) || stat("/dev/null", &null_device) ||
        about.st_rdev != null_device.st_rdev) {
        strcat(text, "stdin ");
    }
    return finish_text(worker, *text ? text : "clean");
}

static void nap(long milliseconds)
{
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void wait_for_file(const char *path)
{
    while (access(path, F_OK) != 0) {
        nap(1);
    }
}

static int run(achar__worker *worker, const achar__assignment *task)
{
    char command[16] = "", text[64] = "";
    const char *args = task->args;
    size_t length = 0;
    while (length < task->args_nbytes && length < sizeof command - 1 && args[length] != ' ') {
        command[length] = args[length];
        length++;
    }
    size_t rest = length < task->args_nbytes ? length + 1 : length;
    const char *tail = args + rest;
    size_t tail_nbytes = task->args_nbytes - rest;
    memcpy(text, tail, tail_nbytes < sizeof text ? tail_nbytes : sizeof text - 1);
    long number = strtol(text, NULL, 10);

    if (strcmp(command, "echo") == 0) {
        return finish_bytes(worker, ACHAR__TASK_RETURNED, tail, tail_nbytes);
    } else if (strcmp(command, "raise") == 0) {
        return finish_bytes(worker, ACHAR__TASK_RAISED, tail, tail_nbytes);
    } else if (strcmp(command, "big") == 0) {
        return finish_big(worker, (size_t)number);
    } else if (strcmp(command, "sleep") == 0) {
        nap(number);
        return achar__worker_finish(worker, ACHAR__TASK_RETURNED, NULL, 0);
    } else if (strcmp(command, "hold") == 0) {
        wait_for_file(text);
        return achar__worker_finish(worker, ACHAR__TASK_RETURNED, NULL, 0);
    } else if (strcmp(command, "deaf") == 0) {
        signal(SIGALRM, SIG_IGN);
        nap(number);
        return achar__worker_finish(worker, ACHAR__TASK_RETURNED, NULL, 0);
    } else if (strcmp(command, "spin") == 0) {
        int64_t until_ns = achar__now_ns() + number * 1000;
        while (achar__now_ns() < until_ns) {
        }
        return achar__worker_finish(worker, ACHAR__TASK_RETURNED, NULL, 0);
    } else if (strcmp(command, "none") == 0 || task->args_nbytes == 0) {
        return achar__worker_finish(worker, ACHAR__TASK_RETURNED, NULL, 0);
    } else if (strcmp(command, "exit") == 0) {
        _exit((int)number);
    } else if (strcmp(command, "signal") == 0) {
        signal((int)number, SIG_DFL); /* sanitizers have handlers of their own */
        kill(getpid(), (int)number);
        nap(20000);
        return ACHAR_E_INVALID;
    } else if (strcmp(command, "hello") == 0) {
        size_t nbytes;
        const void *hello = achar__worker_hello(worker, &nbytes);
        return finish_bytes(worker, ACHAR__TASK_RETURNED, hello, nbytes);
    } else if (strcmp(command, "function") == 0) {
        return finish_bytes(worker, ACHAR__TASK_RETURNED, task->function, task->function_nbytes);
    } else if (strcmp(command, "id") == 0) {
        return finish_number(worker, (long)task->function_id);
    } else if (strcmp(command, "pid") == 0) {
        return finish_number(worker, getpid());
    } else if (strcmp(command, "child") == 0) {
        return finish_child(worker);
    } else if (strcmp(command, "fork") == 0) {
        return finish_fork(worker);
    } else if (strcmp(command, "unprivileged") == 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        return finish_number(worker, getpid());
    } else if (strcmp(command, "knock") == 0) {
        return finish_number(worker, knock(text));
    } else if (strcmp(command, "flood") == 0) {
        long count = 0;
        while (send(ACHAR__WIRE_DOOR_FD, "x", 1, MSG_DONTWAIT) == 1) {
            count++;
        }
        return finish_number(worker, count);
    } else if (strcmp(command, "shut") == 0) {
        shutdown(ACHAR__WIRE_DOOR_FD, SHUT_RDWR);
        return finish_number(worker, getpid());
    } else if (strcmp(command, "scribble") == 0) {
        scribble();
    } else if (strcmp(command, "kind") == 0) {
        achar__worker_set_result_kind(worker, (uint32_t)atoi(text));
        return finish_text(worker, "kind");
    } else if (strcmp(command, "keep") == 0) {
        achar__worker_keep_args(worker);
        return finish_text(worker, "kept");
    } else if (strcmp(command, "show-kept") == 0) {
        size_t nbytes = 0;
        const void *kept = achar__worker_input_kept(worker, 0, &nbytes);
        return finish_bytes(worker, ACHAR__TASK_RETURNED, kept ? kept : "", kept ? nbytes : 0);
    } else if (strcmp(command, "fill") == 0) {
        return finish_fill(worker);
    } else if (strcmp(command, "environ") == 0) {
        const char *value = getenv(text);
        return finish_text(worker, value ? value : "(none)");
    } else if (strcmp(command, "join") == 0) {
        return finish_join(worker, task->input_count);
    } else if (strcmp(command, "mask") == 0) {
        return finish_mask(worker);
    }
    return finish_bytes(worker, ACHAR__TASK_RAISED, "unknown command", 15);
}

/* Writes one record at the end of the results. */
static int add_record(achar__worker *worker, size_t *used, const char *text, size_t nbytes)
{
    achar__block block;
    uint64_t header = ACHAR__RECORD_HEADER(nbytes, 1);
    /* Small at first, and doubled: so the tests see it move. */
    size_t wanted = *used + sizeof header + nbytes;
    int status = achar__worker_results(worker, *used, wanted, &block);
    if (status == ACHAR_OK) {
        memcpy((char *)block.data + *used, &header, sizeof header);
        if (text) {
            memcpy((char *)block.data + *used + sizeof header, text, nbytes);
        } else {
            memset((char *)block.data + *used + sizeof header, 'b', nbytes);
        }
        *used = wanted;
    }
    return status;
}

static int run_call(achar__worker *worker, const char *args, size_t args_nbytes, size_t *used)
{
    char text[128] = "";
    memcpy(text, args, args_nbytes < sizeof text ? args_nbytes : sizeof text - 1);
    char *space = strchr(text, ' ');
    const char *tail = space ? space + 1 : "";
    long number = strtol(tail, NULL, 10);
    if (strncmp(text, "sleep ", 6) == 0) {
        nap(number);
    } else if (strncmp(text, "hold ", 5) == 0) {
        wait_for_file(tail);
    } else if (strncmp(text, "stay ", 5) == 0) { /* for ever, and says so */
        close(open(tail, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        for (;;) {
            nap(1000);
        }
    } else if (strncmp(text, "spin ", 5) == 0) {
        int64_t until_ns = achar__now_ns() + number * 1000;
        while (achar__now_ns() < until_ns) {
        }
    } else if (strncmp(text, "exit ", 5) == 0) {
        _exit((int)number);
    } else if (strncmp(text, "signal ", 7) == 0) {
        signal((int)number, SIG_DFL);
        kill(getpid(), (int)number);
        nap(20000);
    } else if (strncmp(text, "mark ", 5) == 0) {
        int fd = open(tail, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, "x", 1) != 1) {
            return ACHAR_E_IO;
        }
        close(fd);
    } else if (strncmp(text, "big ", 4) == 0) {
        return add_record(worker, used, NULL, (size_t)number);
    }
    return add_record(worker, used, tail, strlen(tail));
}

static int run_stretch(achar__worker *worker, const achar__assignment *task)
{
    const char *args = task->args;
    size_t used = 0;
    for (size_t i = 0; i < task->call_count && achar__worker_begin_call(worker) == ACHAR_OK; i++) {
        uint64_t header;
        memcpy(&header, args, sizeof header);
        args += sizeof header;
        int status = run_call(worker, args, (size_t)(header >> 2), &used);
        if (status != ACHAR_OK) {
            return status;
        }
        args += header >> 2;
        achar__worker_end_call(worker, used);
    }
    return achar__worker_finish_stretch(worker);
}

int main(int argc, char **argv)
{
    static achar__worker *worker; /* static: not a leak, however this process ends */
    if (argc > 1 && strcmp(argv[1], "fail-at-start") == 0) {
        return 3;
    }
    int status = achar__worker_attach(&worker);
    if (status != ACHAR_OK) {
        return 4;
    }
    if (argc > 1 && strcmp(argv[1], "fail-after-attach") == 0) {
        return 5;
    }
    for (;;) {
        achar__assignment task;
        status = achar__worker_next(worker, -1, &task);
        if (status == ACHAR_E_INTERRUPTED) {
            continue;
        }
        if (status != ACHAR_OK) {
            break;
        }
        if (argc > 1 && strcmp(argv[1], "never-finish") == 0) {
            pause();
        }
        if (argc > 1 && strcmp(argv[1], "never-empty") == 0 && task.args_nbytes == 0) {
            return 8;
        }
        status = task.call_count ? run_stretch(worker, &task) : run(worker, &task);
        if (status != ACHAR_OK) {
            return 6;
        }
    }
    if (argc > 1 && strcmp(argv[1], "never-leave") == 0) {
        pause();
    }
    achar__worker_detach(worker);
    return status == ACHAR_E_CLOSED ? 0 : 7;
}

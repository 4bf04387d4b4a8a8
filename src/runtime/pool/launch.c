/*
 * launch.c - a worker process comes to be: its memory and its pipes, then vfork and exec.
 *
 * Everything that a start needs is had before the process exists, so a start that fails leaves nothing
 * behind; and nothing of it comes from the client's region, so a worker can be replaced when that is full
 * of arguments.
 *
 * It is not posix_spawn since the child must ask for its parent-death signal before it becomes another
 * program: one that has been stopped, or hangs, before it has attached would outlive a client that is
 * killed. The signal follows the thread that makes the child: the tender, which lives as long as the pool.
 *
 * Until exec the child runs in the client's memory, while the tender stands still. So it changes nothing
 * there but the word for its error, calls only what may be called in a signal handler, and starts with all
 * signals blocked, as the tender has them: no handler of the client runs in it. Where vfork is a fork
 * (emulators, ThreadSanitizer) its error is not seen here: the worker ends, with exit code 127.
 */
#include "runtime/pool/launch.h"
#include "runtime/shm/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_STARTED 127 /* the exit code that a shell would give */

/* What the client has of a process before it exists, and gives away or closes afterwards. */
typedef struct launch {
    int region_fd, spill_fd;
    int door_fd;   /* the worker's end; -1: none */
    int writes[2]; /* the pipes of its output; -1: none */
    achar__launched out;
} launch;

static void close_all(const int fds[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static void launch_close(launch *it)
{
    const int spent[] = {it->region_fd, it->spill_fd, it->door_fd, it->writes[0], it->writes[1]};
    close_all(spent, sizeof spent / sizeof *spent);
}

static void launch_undo(launch *it)
{
    if (it->out.mapping) {
        achar__region_unmap(&it->out.mapping->region);
        free(it->out.mapping);
    }
    close_all(it->out.reads, 2);
    achar__door_free(it->out.door);
}

/* ACHAR_OK or a status with errno. */
static int launch_prepare(achar__pool *pool, achar__wire_down *down, launch *it)
{
    int status = achar__region_create("achar-worker", pool->region_nbytes, ACHAR__HEAP_SPAN_NBYTES,
                                      &it->region_fd);
    if (status != ACHAR_OK) {
        return status;
    }
    if (pool->spill_path &&
        achar__spill_create(pool->spill_path, pool->region_nbytes, &it->spill_fd) != ACHAR_OK) {
        it->spill_fd = -1; /* it makes do with memory */
    }
    errno = ENOMEM;
    it->out.mapping = calloc(1, sizeof *it->out.mapping);
    if (!it->out.mapping) {
        return ACHAR_E_NOMEM;
    }
    it->out.mapping->region = ACHAR__REGION_CLOSED;
    memset(down, 0, sizeof *down);
    if (pool->output && (errno = achar__output_pipes(it->out.reads, it->writes)) != 0) {
        return ACHAR_E_IO;
    }
    if (pool->door_fd >= 0 && (errno = achar__door_create(&it->door_fd, &it->out.door)) != 0) {
        return ACHAR_E_IO;
    }
    status = achar__region_map_pair(it->region_fd, it->spill_fd, false, &it->out.mapping->region);
    if (status == ACHAR_OK) {
        achar__region_mirror(&it->out.mapping->region, it->region_fd, it->spill_fd);
    }
    return status;
}

/* The pool's environment and ACHAR_WORKER, in one array whose strings are not copied. */
static char **environment_with(achar__pool *pool, char *variable)
{
    size_t count = 0;
    while (pool->envp[count]) {
        count++;
    }
    char **envp = calloc(count + 2, sizeof *envp);
    if (envp) {
        memcpy(envp, pool->envp, count * sizeof *envp);
        envp[count] = variable;
    }
    return envp;
}

/* What the child needs, all made before it exists. */
typedef struct birth {
    char **argv, **envp;
    int client_pid;
    int outputs[2];               /* -1: the client's own */
    int fds[ACHAR__WIRE_FDS_END]; /* numbered above all of those that they become; -1: none */
    volatile int *error;          /* in the client's memory, which is the child's until exec */
} birth;

static bool put(int fd, int as)
{
    return fd < 0 ? close(as) == 0 || errno == EBADF : dup2(fd, as) >= 0;
}

static bool set_descriptors(const birth *it)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || (nothing != STDIN_FILENO && dup2(nothing, STDIN_FILENO) < 0) ||
        (nothing == STDIN_FILENO && fcntl(nothing, F_SETFD, 0) != 0)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        if (it->outputs[i] >= 0 && dup2(it->outputs[i], STDOUT_FILENO + i) < 0) {
            return false;
        }
    }
    for (int fd = ACHAR__WIRE_CLIENT_FD; fd < ACHAR__WIRE_FDS_END; fd++) {
        if (!put(it->fds[fd], fd)) {
            return false;
        }
    }
    closefrom(ACHAR__WIRE_FDS_END);
    return true;
}

/* What the client ignores must not stay ignored; a signal that cannot be set is nobody's. */
static void set_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number <= SIGRTMAX; number++) {
        (void)sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become_worker(const birth *it)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    } else if (getppid() != it->client_pid) {
        errno = ESRCH; /* it has been killed meanwhile; nobody reads this */
    } else if (setpgid(0, 0) == 0 && set_descriptors(it)) {
        set_signals();
        execve(it->argv[0], it->argv, it->envp);
    }
    *it->error = errno;
    _exit(NOT_STARTED);
}

/* Its own frame: nothing that the compiler keeps in it may change between the two returns of vfork. */
static __attribute__((noinline)) int bear(const birth *it)
{
    int pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork)
    if (pid == 0) {
        become_worker(it);
    }
    return pid;
}

/* 0 or an errno. */
static int launch_start(achar__pool *pool, const achar__wire_down *down, launch *it)
{
    char variable[256];
    snprintf(variable, sizeof variable, ACHAR__WIRE_VARIABLE "=" ACHAR__WIRE_FORMAT,
             ACHAR__WIRE_VERSION, (int)getpid(), (int)gettid(), ACHAR__WIRE_CLIENT_FD,
             ACHAR__WIRE_WORKER_FD, ACHAR__WIRE_BELL_FD,
             pool->spill_fd >= 0 ? ACHAR__WIRE_CLIENT_SPILL_FD : -1,
             it->spill_fd >= 0 ? ACHAR__WIRE_WORKER_SPILL_FD : -1,
             (size_t)((const unsigned char *)down - pool->client.base),
             (size_t)((unsigned char *)pool->hello - pool->client.base), pool->hello_nbytes,
             pool->warm_limit_nbytes, pool->worker_memory_nbytes, pool->worker_spill_nbytes);
    volatile int error = 0;
    birth child = {.argv = pool->argv,
                   .envp = environment_with(pool, variable),
                   .client_pid = getpid(),
                   .outputs = {it->writes[0], it->writes[1]},
                   .fds = {[ACHAR__WIRE_CLIENT_FD] = pool->client_fd,
                           [ACHAR__WIRE_WORKER_FD] = it->region_fd,
                           [ACHAR__WIRE_BELL_FD] = pool->bell_fd,
                           [ACHAR__WIRE_DOOR_FD] = it->door_fd,
                           [ACHAR__WIRE_CLIENT_SPILL_FD] = pool->spill_fd,
                           [ACHAR__WIRE_WORKER_SPILL_FD] = it->spill_fd},
                   .error = &error};
    if (!child.envp) {
        return ENOMEM;
    }
    int pid = bear(&child);
    if (pid < 0) {
        error = errno;
    }
    free(child.envp);
    if (pid > 0 && !error) {
        it->out.pid = pid;
        it->out.pidfd = pidfd_open(pid, 0);
        if (it->out.pidfd < 0) { /* a process that cannot be watched must not be */
            error = errno;
            kill(pid, SIGKILL);
        }
    }
    if (pid > 0 && error) {
        waitpid(pid, NULL, 0);
    }
    return error;
}

int achar__launch(achar__pool *pool, achar__wire_down *down, achar__launched *out)
{
    launch it = {.region_fd = -1,
                 .spill_fd = -1,
                 .door_fd = -1,
                 .writes = {-1, -1},
                 .out = {.pidfd = -1, .reads = {-1, -1}}};
    int error = launch_prepare(pool, down, &it) == ACHAR_OK ? launch_start(pool, down, &it) : errno;
    launch_close(&it);
    if (error) {
        launch_undo(&it);
    } else {
        *out = it.out;
    }
    return error;
}

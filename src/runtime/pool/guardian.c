/*
 * guardian.c - the client's end is the end of a worker, together with the programs that its tasks have started.
 *
 * While the client lives it kills what a worker leaves behind, by its process group. When it is killed
 * itself nobody would: PR_SET_PDEATHSIG reaches the worker alone. So the signal that it asks for has a
 * handler that kills the group. It comes when the client's tender dies, which has started the worker; so
 * it comes, too, when the client becomes another program by exec, where the process goes on.
 *
 * A task may block all signals, or take the handler away. So a thread of the worker has this signal alone
 * unblocked, and sleeps besides on the client's pidfd. It has a descriptor table of its own where the
 * kernel allows that.
 *
 * It cannot act in a worker that is stopped, nor in one that has become another program by exec. Each
 * thread has its own PR_SET_PDEATHSIG: the guardian's is SIGCONT, so a stopped worker goes on, to its end.
 * Another program has no handler, and is ended by the signal.
 */
#include "runtime/pool/worker_internal.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STACK_NBYTES  ((size_t)64 << 10)
#define DEATH_SIGNAL  (SIGRTMAX - 3)
#define LOOK_AGAIN_US 100000 /* where a task has closed the pidfd */

typedef struct guardian {
    int client_pid;
    bool is_watching;
    sem_t decided;
} guardian;

/* Also the handler of DEATH_SIGNAL. */
static void kill_group(int number)
{
    (void)number;
    kill(-getpid(), SIGKILL); /* the group that it leads, and itself */
    kill(getpid(), SIGKILL);
}

static void *guard(void *context)
{
    guardian *it = context; /* good until it has decided */
    int client_pid = it->client_pid;
    sigset_t death;
    sigemptyset(&death);
    sigaddset(&death, DEATH_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &death, NULL);
    prctl(PR_SET_NAME, "achar-guardian");
    /* Where the kernel does not know this call, the pidfd stands among the tasks' descriptors. */
    (void)close_range(0, ~0U, CLOSE_RANGE_UNSHARE);
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    int fd = pidfd_open(client_pid, 0);
    /* The parent is looked at afterwards: so the descriptor is the client's and no later process's. */
    bool is_watching = it->is_watching = fd >= 0 && getppid() == client_pid;
    sem_post(&it->decided);
    if (!is_watching) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    while (getppid() == client_pid) {
        struct pollfd client = {.fd = fd, .events = POLLIN};
        if (poll(&client, 1, -1) != 1 || client.revents != POLLIN || getppid() == client_pid) {
            usleep(LOOK_AGAIN_US);
        }
    }
    kill_group(0);
    return NULL;
}

int achar__worker_start_guardian(int client_pid)
{
    struct sigaction action = {.sa_handler = kill_group, .sa_flags = SA_RESTART};
    guardian it = {.client_pid = client_pid};
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (sigaction(DEATH_SIGNAL, &action, NULL) != 0 || sem_init(&it.decided, 0, 0) != 0) {
        return SIGKILL;
    }
    if (pthread_attr_init(&attributes) != 0) {
        goto done;
    }
    pthread_attr_setstacksize(&attributes, STACK_NBYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool has_started = pthread_create(&thread, &attributes, guard, &it) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    while (has_started && sem_wait(&it.decided) != 0) { /* interrupted */
    }
done:
    sem_destroy(&it.decided);
    return it.is_watching ? DEATH_SIGNAL : SIGKILL;
}

/*
 * condition.pml - wait, notify, time limits and death, in every order that they can happen.
 *
 * A model of src/runtime/sync/{lock,condition,waiter,reap}.c for Spin. Two processes wait on a
 * condition (one may have a time limit), a third notifies one of them; one of the three may be killed
 * between any two stores, and is reaped. What the code does by one exchange, or by one change (the log
 * of latch.h makes its steps one), is one step here; everything else may be interleaved.
 *
 * Checked in every state that can be reached:
 *   - who has the lock is alone with it, so that no waiter goes on before the release;
 *   - nobody is stuck, but on the condition, without a notification;
 *   - a notification is not lost: while one is on its way or was given to one who died or gave up, nobody
 *     is left waiting for it;
 *   - who runs a signal handler is not given the lock, which the handler may want;
 *   - in the end the lock is free, or an orphan.
 *
 *     spin -a condition.pml && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -E -m200000
 *
 * spin -DDEATH: one of them is killed. -DLIMITED=2: both waiters have a time limit. -DSIGNALS=1: that many
 * waiters answer a signal, once each. -DWITHOUT_NUDGE, -DWITHOUT_PASSING_ON, -DWITHOUT_ASIDE and
 * -DWITHOUT_LOOKING break the protocol, which has to be found out.
 */
#define WAITERS  2
#define NOTIFIER 2
#define COUNT    3 /* who may be killed */
#define REAPER   3

#ifndef LIMITED
#define LIMITED 1 /* how many waiters have a time limit */
#endif

#ifndef SIGNALS
#define SIGNALS 0 /* how many waiters run a signal handler */
#endif

/* The lock's word. */
#define FREE     0
#define OWNED    1
#define GRANTED  2
#define ORPHANED 3
byte kind, who;
bool waited;

byte latch; /* 0: free; else who has it, and 1 */

/* One waiter for each process. */
#define IDLE         0
#define QUEUED       1
#define NUDGED       2
#define ASIDE        3
#define ON_CONDITION 4
#define AWAY         5
#define HAS_LOCK     6 /* WAITER_GRANTED */
#define TOLD         7 /* WAITER_ORPHANED */
byte state[COUNT];
bool rung[COUNT];
bool carries[COUNT];
bool firm[COUNT];
bool signalled[COUNT]; /* has had its signal */
chan lock_queue = [COUNT] of { byte };
chan condition_queue = [COUNT] of { byte };

bool dead[COUNT];
bool buried;        /* whoever died has been reaped */
byte inside = 255;  /* who believes that it has the lock */
byte given, used;   /* notifications that found somebody; those that had their effect, or cannot */

#define queues(i) (state[i] == QUEUED || state[i] == NUDGED || state[i] == ASIDE)
#define waits(i)  (state[i] == ON_CONDITION || state[i] == AWAY)
#define ended(i)  (state[i] >= HAS_LOCK)

inline take_latch(i) { atomic { latch == 0 -> latch = i + 1 } }
inline drop_latch(i) { latch = 0 }

inline enter(i)
{
    atomic { assert(inside == 255 || dead[inside]); inside = i }
}

/* ---- under the latch ---- */

inline take_off(i, next_state) { d_step { lock_queue??eval(i); state[i] = next_state } }

inline thaw() /* the list cannot change meanwhile */
{
    d_step { waited = waited && (len(lock_queue) > 0) }
}

/* The first in the lock's queue that is not ASIDE; 255: there is none. Within d_step. */
inline find_present(next)
{
    next = 255; turned = 0;
    do
    :: turned < len(lock_queue) ->
        lock_queue?seen; lock_queue!seen; turned++;
        if
#ifndef WITHOUT_ASIDE
        :: next == 255 && state[seen] != ASIDE -> next = seen
#else
        :: next == 255 -> next = seen
#endif
        :: else
        fi
    :: else -> break
    od;
    turned = 0; seen = 0
}

/* 'next' is whom to ring; 255: nobody. */
inline nudge(next)
{
    d_step {
        find_present(next);
        if
        :: next == 255
        :: next != 255 ->
            if
            :: state[next] == QUEUED -> state[next] = NUDGED
            :: else -> next = 255
            fi
        fi
    }
}

inline pass_on(next)
{
    if
    :: (len(lock_queue) == 0) ->
        next = 255;
        d_step { kind = FREE; waited = false }
    :: (len(lock_queue) > 0) ->
        d_step { find_present(next) };
        if
        :: next == 255 || !firm[next] ->
            d_step { kind = FREE; waited = true };
#ifdef WITHOUT_NUDGE /* the test of this test */
            next = 255
#else
            nudge(next)
#endif
        :: next != 255 && firm[next] ->
            d_step { kind = GRANTED; who = next; waited = true };
            take_off(next, HAS_LOCK)
        fi
    fi
}

/* On the lock's queue, or the lock is free and it has it. 'off' takes it off the condition's list. */
inline queue_for_lock(i, off)
{
    if
    :: kind == ORPHANED ->
        d_step { if :: off -> condition_queue??eval(i) :: else fi; state[i] = TOLD }
    :: else ->
        atomic {
            if
            :: kind == FREE && !waited -> kind = GRANTED; who = i; waited = true; granted_now = true
            :: else -> waited = true; granted_now = false
            fi
        };
        d_step {
            if :: off -> condition_queue??eval(i) :: else fi;
            if
            :: granted_now -> state[i] = HAS_LOCK
            :: else -> lock_queue!i; state[i] = QUEUED
            fi
        }
    fi
}

/* The first on the condition's list goes to the lock's; 'from' 255, or whose notification that was. */
inline move_first(to, from)
{
    condition_queue?<to>;
    if
    :: kind == ORPHANED ->
        d_step {
            condition_queue?_; state[to] = TOLD; carries[to] = true;
            if :: from != 255 -> carries[from] = false :: else -> given++ fi
        }
    :: state[to] == AWAY && kind != ORPHANED ->
        waited = true;
        d_step {
            condition_queue?_; carries[to] = true;
            if :: from != 255 -> carries[from] = false :: else -> given++ fi;
            lock_queue!to; state[to] = ASIDE
        };
        granted_now = false
    :: else ->
        atomic {
            if
            :: kind == FREE && !waited -> kind = GRANTED; who = to; waited = true; granted_now = true
            :: else -> waited = true; granted_now = false
            fi
        };
        d_step {
            condition_queue?_; carries[to] = true;
            if :: from != 255 -> carries[from] = false :: else -> given++ fi;
            if
            :: granted_now -> state[to] = HAS_LOCK
            :: else -> lock_queue!to; state[to] = QUEUED
            fi
        }
    fi
}

inline tell_all(queue)
{
    do
    :: (len(queue) > 0) -> d_step { queue?next; state[next] = TOLD }
    :: (len(queue) == 0) -> break
    od
}

/* ---- acquire, release ---- */

/* Sleeps until it is to look. The bell is read first, then the state, then it sleeps unless rung. */
inline sleep(i, limited)
{
    timed_out = false; interrupted = false;
    do
    :: rung[i] = false;
        if
        :: ended(i) || state[i] == NUDGED -> break
        :: else ->
            if
            :: rung[i]
            :: limited -> timed_out = true; break
            :: i < SIGNALS && !signalled[i] -> interrupted = true; break
            fi
        fi
    od
}

/* Latched. 'got': 1 it has the lock, 2 the owner died, 0 neither. */
inline look(i)
{
    if
    :: state[i] == HAS_LOCK ->
        d_step { kind = OWNED; who = i; waited = (len(lock_queue) > 0); got = 1 }
    :: state[i] == TOLD -> got = 2
    :: queues(i) ->
        atomic {
            if
            :: kind == FREE -> kind = OWNED; who = i; waited = true; got = 1
            :: else
            fi
        };
        if
        :: got == 1 -> take_off(i, IDLE); thaw()
        :: else ->
            if
            :: state[i] == NUDGED ->
                if :: firm[i] = true :: skip fi; /* it was nudged in vain for long enough, or not */
                state[i] = QUEUED
            :: else
            fi
        fi
    :: else
    fi
}

/*
 * Latched, and not while the handler runs, which raises or not. Also after a wake in vain, when a signal
 * may have come that interrupted nothing.
 */
inline run_handlers(i)
{
    signalled[i] = true;
    if
    :: state[i] == ON_CONDITION -> state[i] = AWAY
    :: queues(i) -> state[i] = ASIDE
    fi;
    drop_latch(i);
    if :: raised = true :: skip fi;
    take_latch(i);
    assert(state[i] != HAS_LOCK); /* the handler may have wanted it */
    if
    :: raised && carries[i] && (len(condition_queue) > 0) ->
        move_first(next, i);
        if
        :: granted_now || state[next] == TOLD -> rung[next] = true
        :: else
        fi;
        next = 0
    :: else
    fi;
    if
    :: state[i] == ASIDE -> state[i] = QUEUED
    :: state[i] == AWAY && raised -> queue_for_lock(i, true)
    :: state[i] == AWAY && !raised -> state[i] = ON_CONDITION
    :: else
    fi;
#ifndef WITHOUT_LOOKING
    look(i)
#endif
}

inline acquire(i)
{
    atomic {
        got = 0;
        if
        :: kind == FREE -> kind = OWNED; who = i; got = 1
        :: else
        fi
    };
    if
    :: got == 1
    :: else ->
        take_latch(i);
        atomic {
            if
            :: kind == FREE -> kind = OWNED; who = i; got = 1
            :: kind == ORPHANED -> got = 2
            :: else -> waited = true
            fi
        };
        if
        :: got == 0 ->
            d_step { lock_queue!i; state[i] = QUEUED };
            do
            :: got == 0 -> drop_latch(i); sleep(i, false); take_latch(i); look(i)
            :: else -> break
            od;
            skip;
            d_step { state[i] = IDLE; firm[i] = false }
        :: else
        fi;
        drop_latch(i)
    fi;
    if
    :: got == 1 -> enter(i)
    :: else
    fi
}

inline release(i)
{
    atomic {
        assert(inside == i);
        inside = 255;
        got = 0;
        if
        :: kind == OWNED && !waited -> kind = FREE; got = 1
        :: else
        fi
    };
    if
    :: got == 1
    :: else ->
        take_latch(i);
        pass_on(next);
        drop_latch(i);
        atomic { if :: next != 255 -> rung[next] = true :: else fi; next = 0 }
    fi
}

/* ---- the processes ---- */

proctype waiter(byte i) provided (!dead[i])
{
    byte got, next, turned, seen;
    bool timed_out, gave_up, granted_now, interrupted, raised;
    acquire(i);
    if
    :: got == 1 ->
        take_latch(i);
        d_step { condition_queue!i; state[i] = ON_CONDITION; got = 0 };
        inside = 255;
        pass_on(next);
        drop_latch(i);
        atomic { if :: next != 255 -> rung[next] = true :: else fi; next = 0 };
        do
        ::  sleep(i, (i < LIMITED && !queues(i) && !gave_up && !raised));
            take_latch(i);
            if
            :: timed_out && state[i] == ON_CONDITION -> gave_up = true; queue_for_lock(i, true)
            :: else
            fi;
            look(i);
            if
            :: got == 0 && i < SIGNALS && !signalled[i] && (interrupted || queues(i)) -> run_handlers(i)
            :: else
            fi;
            if
            :: got != 0 -> break
            :: else -> drop_latch(i)
            fi
        od;
        skip;
        d_step {
            state[i] = IDLE; firm[i] = false;
            if
            :: carries[i] -> used++; carries[i] = false /* it returns notified, or told */
            :: else
            fi
        };
        drop_latch(i);
        if
        :: got == 1 -> enter(i); release(i)
        :: else
        fi
    :: else
    fi
}

proctype notifier(byte i) provided (!dead[i])
{
    byte got, next, turned, seen;
    bool timed_out, granted_now, interrupted;
    acquire(i);
    if
    :: got == 1 ->
        if
        :: (len(condition_queue) > 0) ->
            take_latch(i);
            if :: (len(condition_queue) > 0) -> move_first(next, 255) :: (len(condition_queue) == 0) fi;
            drop_latch(i)
        :: (len(condition_queue) == 0)
        fi;
        release(i)
    :: else
    fi
}

proctype reaper()
{
    byte d, next, other, turned, seen;
    bool granted_now;
    if
    :: dead[0] -> d = 0
    :: dead[1] -> d = 1
    :: dead[2] -> d = 2
    fi;
    /* The latch is taken over from the dead; what takes several changes is brought to its end. */
    atomic { latch == 0 || latch == d + 1 -> latch = REAPER + 1 };
    if
    :: kind == GRANTED ->
        if
        :: queues(who) -> take_off(who, HAS_LOCK)
        :: waits(who) -> d_step { condition_queue??eval(who); state[who] = HAS_LOCK }
        :: else
        fi
    :: kind == ORPHANED -> tell_all(lock_queue)
    :: kind == OWNED -> thaw()
    :: kind == FREE -> nudge(next); thaw()
    fi;
    /* Its waiter. */
    if
    :: waits(d) -> d_step { condition_queue??eval(d); state[d] = IDLE }
    :: !waits(d) && state[d] != IDLE ->
        if
#ifndef WITHOUT_PASSING_ON
        :: carries[d] && (len(condition_queue) > 0) -> move_first(other, d)
#endif
        :: carries[d] && (len(condition_queue) == 0) -> used++ /* it was for nobody else */
        :: else
        fi;
        if
        :: kind == GRANTED && who == d ->
            if :: queues(d) -> take_off(d, HAS_LOCK) :: else fi;
            pass_on(next)
        :: else ->
            if
            :: queues(d) ->
                take_off(d, IDLE);
                if
                :: kind == FREE -> nudge(next); thaw()
                :: kind == OWNED -> thaw()
                :: else
                fi
            :: else
            fi
        fi;
        state[d] = IDLE
    :: state[d] == IDLE
    fi;
    latch = 0;
    /* What it owned: the condition's waiters first, then the lock. */
    take_latch(REAPER);
    if
    :: kind == OWNED && who == d -> tell_all(condition_queue)
    :: else
    fi;
    latch = 0;
    take_latch(REAPER);
    if
    :: kind == OWNED && who == d -> kind = ORPHANED; tell_all(lock_queue)
    :: else
    fi;
    latch = 0;
    d_step { rung[0] = true; rung[1] = true; rung[2] = true; buried = true }
}

/* Kills one, at some time, or none; a process that has ended has nothing to be killed over. */
proctype killer()
{
    if
#ifdef DEATH
    :: dead[0] = true
    :: dead[1] = true
    :: dead[2] = true
#endif
    :: skip
    fi
}

#define is_left(i) (!dead[i] && state[i] == ON_CONDITION)

/* When nothing can happen any more. */
proctype referee()
{
    timeout;
    d_step {
        assert(latch == 0);
        assert(kind == FREE || kind == ORPHANED);
        /* Whoever is left waits on the condition, and for no notification that was given. */
        assert(state[0] == IDLE || is_left(0) || dead[0]);
        assert(state[1] == IDLE || is_left(1) || dead[1]);
        assert(state[2] == IDLE || dead[2]);
        assert(!((is_left(0) || is_left(1)) && given > used && kind != ORPHANED));
        assert(!((is_left(0) || is_left(1)) && kind == ORPHANED));
    }
}

init
{
    atomic { run waiter(0); run waiter(1); run notifier(NOTIFIER); run reaper(); run killer(); run referee() }
}

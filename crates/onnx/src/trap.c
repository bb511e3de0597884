/*
 * The way out of an arithmetic fault in ONNX Runtime.
 *
 * A graph may divide the smallest integer by -1, which an x86 processor answers with SIGFPE. A handler cannot return
 * from that, and the host's own would jump over the frames of everybody up to the host's last safe place, with locks
 * held. So the jump ends here, in the same call, and the caller gives up what was underway.
 *
 * This is C because sigsetjmp returns twice, which Rust does not know of.
 */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum way { NONE, JUMP, DIE };

static _Thread_local sigjmp_buf *target;
static _Thread_local enum way way = NONE;
static struct sigaction host;

static void on_fault(int number, siginfo_t *info, void *context)
{
    if (way == JUMP)
        siglongjmp(*target, 1);
    /* A thread of ONNX Runtime's, or one that others work for: nobody can go on, and the host must not try to. */
    if (way == DIE || syscall(SYS_gettid) != getpid()) {
        signal(number, SIG_DFL);
        return;
    }
    /* Not ours. */
    if (host.sa_flags & SA_SIGINFO)
        host.sa_sigaction(number, info, context);
    else if (host.sa_handler == SIG_DFL || host.sa_handler == SIG_IGN)
        signal(number, SIG_DFL);
    else
        host.sa_handler(number);
}

/* The host, or another library in it, may have set its own handler meanwhile. */
static void install(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct sigaction now, ours;

    pthread_mutex_lock(&lock);
    if (sigaction(SIGFPE, NULL, &now) == 0 && !((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)) {
        host = now;
        ours.sa_sigaction = on_fault;
        ours.sa_flags = SA_SIGINFO;
        sigemptyset(&ours.sa_mask);
        sigaction(SIGFPE, &ours, NULL);
    }
    pthread_mutex_unlock(&lock);
}

/*
 * Calls `call` with `argument`. Returns 1 if an arithmetic fault cut it short, of which nothing is undone: what it held
 * is lost, and what it shared is in whatever state it was. If `alone` is 0, other threads work for the call, and a fault
 * ends the process.
 */
int vs_trap(void (*call)(void *), void *argument, int alone)
{
    sigjmp_buf here;
    sigjmp_buf *outer_target = target;
    enum way outer_way = way;

    install();
    if (sigsetjmp(here, 1)) {
        target = outer_target;
        way = outer_way;
        return 1;
    }
    target = &here;
    way = alone ? JUMP : DIE;
    call(argument);
    target = outer_target;
    way = outer_way;
    return 0;
}

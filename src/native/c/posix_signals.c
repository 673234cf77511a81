/* POSIX: counts the signals that the program listens to.
 *
 * JavaScript's runtime has one handler for all of them. It only queues; the listeners run in the order of the queue.
 * `on_signal` goes in front of it. To learn when listeners run, it queues MARK before each signal: nobody sends that
 * one, and the program's only listener to it is ours, which calls zb_signals_handled. */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#define MARK SIGURG
#define LAST_SIGNAL 31

static void (*runtime_handler)(int); /* NULL: not known yet */
static bool queues_marks;
static bool learns; /* the runtime's handler, at the next zb_signals_watch */
static struct sigaction mark_before;

/* Only functions that are safe in a signal handler are used. */
static void on_signal(int number, siginfo_t *info, void *context) {
  (void)info;
  (void)context;
  const int error = errno;
  struct sigaction now;
  sigaction(number, NULL, &now);
  if (now.sa_sigaction == on_signal && !(now.sa_flags & SA_SIGINFO)) {
    /* The last listener is gone. The runtime found a handler that it does not know, and put it back with signal(2), which
     * loses the flag. The program wants the default now. */
    signal(number, SIG_DFL);
    raise(number);
  } else if (atomic_load_explicit(&zb_signals.listener, memory_order_relaxed) != zb_this_thread()) {
    /* Ends the wait of that thread, and keeps the order of the queue. */
    pthread_kill((pthread_t)atomic_load_explicit(&zb_signals.listener, memory_order_relaxed), number);
  } else {
    atomic_fetch_add_explicit(&zb_signals.arrived, 1, memory_order_relaxed);
    if (queues_marks) runtime_handler(MARK);
    runtime_handler(number);
  }
  errno = error;
}

void zb_signals_open(void) {
  atomic_store_explicit(&zb_signals.listener, zb_this_thread(), memory_order_relaxed);
  sigaction(MARK, NULL, &mark_before);
  learns = true;
}

/* From the handler of MARK, which gets back what it had. If the runtime has not installed its handler there, because another
 * copy of this library was first, nothing is counted, and any signal ends the wait that it interrupts. */
static void learn_runtime_handler(void) {
  struct sigaction now;
  learns = false;
  sigaction(MARK, NULL, &now);
  if (now.sa_handler == mark_before.sa_handler || (now.sa_flags & SA_SIGINFO)) return;
  sigaction(MARK, &mark_before, NULL);
  runtime_handler = now.sa_handler;
  queues_marks = true;
  atomic_store_explicit(&zb_signals.counted, true, memory_order_relaxed);
}

/* The system sends these to the thread whose instruction failed, which must not go on as if it had not. */
static bool is_fault(int number) {
  return number == SIGILL || number == SIGTRAP || number == SIGBUS || number == SIGFPE || number == SIGSEGV;
}

void zb_signals_watch(void) {
  if (learns) learn_runtime_handler();
  if (runtime_handler == NULL) return;
  for (int number = 1; number <= LAST_SIGNAL; number++) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) != 0 || now.sa_handler != runtime_handler || is_fault(number)) continue;
    if (number == MARK) queues_marks = false; /* the program listens to it itself */
    now.sa_sigaction = on_signal;
    now.sa_flags |= SA_SIGINFO;
    sigaction(number, &now, NULL);
  }
}

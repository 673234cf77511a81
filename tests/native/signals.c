/* Signals that end waits. The cases stand in for the runtime: one handler for all signals, which only queues. */
#include "posix.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define MARK SIGURG /* as in posix_signals.c */
#define LONG_US 30000000

static volatile sig_atomic_t queue[64];
static volatile sig_atomic_t queued;

static void runtime_handler(int number) { queue[queued++] = number; }

static void listen_to(int number) {
  struct sigaction action = {.sa_handler = runtime_handler};
  EQUAL(sigaction(number, &action, NULL), 0);
  zb_signals_watch();
}

/* Runs the listeners of all signals that are queued. */
static void run_listeners(void) {
  for (int i = 0; i < queued; i++)
    if (queue[i] == MARK) zb_signals_handled();
  queued = 0;
}

/* A thread whose program listens to SIGUSR1. */
static void open_signals(void) {
  zb_signals_open();
  listen_to(MARK);
  listen_to(SIGUSR1);
}

static void *send_to_process(void *argument) {
  struct ring *ring = argument;
  UNTIL(waits(ring->written, 1));
  EQUAL(kill(getpid(), SIGUSR1), 0);
  return NULL;
}

TEST(a_signal_that_comes_before_a_wait_ends_it_in_each_mode) {
  struct ring ring;
  open_signals();
  for (int32_t mode = ZB_WAIT_ADAPTIVE; mode <= ZB_WAIT_BLOCK; mode++) {
    open_ring(&ring, 64);
    zb_reader_close(ring.reader);
    OK(zb_reader_open(ring.memory, ring.written, ring.released, 1, mode, &ring.reader));
    raise(SIGUSR1);
    EQUAL(zb_reader_next(ring.reader, LONG_US, 0), ZB_INTERRUPTED);
    raise(SIGUSR1);
    EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
    close_ring(&ring);
  }
  EQUAL(zb_signals_ended_waits(), 6);
}

TEST(signals_end_one_wait_each_at_the_most_and_none_once_their_listeners_run) {
  open_signals();
  raise(SIGUSR1);
  raise(SIGUSR1);
  EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
  OK(zb_sleep(1000));
  run_listeners();
  OK(zb_sleep(1000));
  raise(SIGUSR1);
  run_listeners();
  OK(zb_sleep(1000));
  /* Two are queued, and the listeners of one run. */
  raise(SIGUSR1);
  raise(SIGUSR1);
  zb_signals_handled();
  EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
  zb_signals_handled();
  OK(zb_sleep(1000));
  /* One that nobody sent. */
  zb_signals_handled();
  raise(SIGUSR1);
  EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
}

TEST(a_wait_shorter_than_spinning_leaves_the_signal_to_the_next_one) {
  struct ring ring;
  open_signals();
  open_ring(&ring, 64);
  raise(SIGUSR1);
  EQUAL(zb_reader_next(ring.reader, 15, 0), ZB_AGAIN);
  EQUAL(zb_reader_next(ring.reader, LONG_US, 0), ZB_INTERRUPTED);
  close_ring(&ring);
}

TEST(a_signal_ends_a_read_though_tokens_come_that_stand_for_no_frame) {
  struct ring ring;
  open_signals();
  open_ring(&ring, 64);
  raise(SIGUSR1);
  zb_semaphore_post(ring.written, 3);
  EQUAL(zb_reader_next(ring.reader, LONG_US, 0), ZB_INTERRUPTED);
  close_ring(&ring);
}

TEST(frames_that_are_there_come_before_a_signal) {
  struct ring ring;
  open_signals();
  open_ring(&ring, 4096);
  raise(SIGUSR1);
  OK(write_frame(&ring, 48, 1));
  read_frame(&ring, 48, 1);
  EQUAL(zb_reader_next(ring.reader, LONG_US, 0), ZB_INTERRUPTED);
  close_ring(&ring);
}

TEST(the_listeners_are_marked_in_the_queue) {
  open_signals();
  listen_to(SIGUSR2);
  raise(SIGUSR1);
  raise(SIGUSR2);
  const int expected[] = {MARK, SIGUSR1, MARK, SIGUSR2};
  EQUAL(queued, 4);
  for (int i = 0; i < 4; i++) EQUAL(queue[i], expected[i]);
}

static void *take_signals(void *argument) {
  atomic_bool *done = argument;
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
  while (!atomic_load(done)) usleep(1000);
  return NULL;
}

static void *send_to_thread(void *argument) {
  struct {
    struct ring *ring;
    pthread_t target;
  } *order = argument;
  UNTIL(waits(order->ring->written, 1));
  EQUAL(pthread_kill(order->target, SIGUSR1), 0);
  return NULL;
}

TEST(a_signal_that_another_thread_gets_ends_the_wait_as_well) {
  struct ring ring;
  pthread_t other, sender;
  atomic_bool done = false;
  open_signals();
  open_ring(&ring, 64);
  start_thread(&other, take_signals, &done);
  struct {
    struct ring *ring;
    pthread_t target;
  } order = {&ring, other};
  start_thread(&sender, send_to_thread, &order);
  EQUAL(zb_reader_next(ring.reader, LONG_US, 0), ZB_INTERRUPTED);
  atomic_store(&done, true);
  join_thread(sender);
  join_thread(other);
  close_ring(&ring);
}

static void *wait_for_a_moment(void *argument) {
  struct ring *ring = argument;
  EQUAL(zb_reader_next(ring->reader, 300000, 0), ZB_AGAIN);
  OK(zb_sleep(1000));
  EQUAL(zb_signals_ended_waits(), 0);
  return NULL;
}

TEST(a_signal_ends_no_wait_of_a_thread_that_runs_no_listeners) {
  struct ring ring;
  pthread_t thread, sender;
  open_signals();
  open_ring(&ring, 64);
  start_thread(&thread, wait_for_a_moment, &ring);
  start_thread(&sender, send_to_process, &ring);
  join_thread(thread);
  join_thread(sender);
#ifndef __SANITIZE_THREAD__
  /* The thread sanitizer holds signals back, and loses one in twenty here. */
  EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
#endif
  close_ring(&ring);
}

static void *interrupt_with_others(void *argument) {
  struct {
    pthread_t target;
    atomic_bool done;
  } *order = argument;
  while (!atomic_load(&order->done)) {
    EQUAL(pthread_kill(order->target, SIGUSR2), 0);
    usleep(1000);
  }
  return NULL;
}

static void ignore(int number) { (void)number; }

TEST(a_signal_that_the_program_does_not_listen_to_ends_no_wait) {
  struct ring ring;
  pthread_t thread;
  struct {
    pthread_t target;
    atomic_bool done;
  } order = {.target = pthread_self()};
  struct sigaction action = {.sa_handler = ignore};
  open_signals();
  EQUAL(sigaction(SIGUSR2, &action, NULL), 0);
  zb_signals_watch();
  open_ring(&ring, 64);
  start_thread(&thread, interrupt_with_others, &order);
  int64_t start = zb_now_ns();
  EQUAL(zb_reader_next(ring.reader, 300000, 0), ZB_AGAIN);
  OK(zb_sleep(300000));
  CHECK(elapsed_ms(start) >= 600);
  atomic_store(&order.done, true);
  join_thread(thread);
  close_ring(&ring);
}

/* What the runtime does once the last listener is gone. */
static void stop_listening(int number) {
  void (*handler)(int) = signal(number, SIG_DFL);
  if (handler != runtime_handler) signal(number, handler);
}

static void die_by_signal(void *argument) {
  (void)argument;
  open_signals();
  stop_listening(SIGUSR1);
  raise(SIGUSR1);
}

static void listen_again(void *argument) {
  (void)argument;
  open_signals();
  stop_listening(SIGUSR1);
  listen_to(SIGUSR1);
  raise(SIGUSR1);
  _exit(zb_sleep(LONG_US) == ZB_INTERRUPTED && queued == 2 ? 7 : 1);
}

TEST(a_signal_does_what_it_does_by_default_once_nobody_listens) {
  int status = run_child(die_by_signal, NULL);
  CHECK(WIFSIGNALED(status));
  EQUAL(WTERMSIG(status), SIGUSR1);
  status = run_child(listen_again, NULL);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 7);
}

TEST(a_program_that_listens_to_the_mark_gets_only_what_is_sent) {
  open_signals();
  listen_to(MARK);
  raise(MARK);
  raise(SIGUSR1);
  EQUAL(queued, 2);
  EQUAL(queue[0], MARK);
  EQUAL(queue[1], SIGUSR1);
  EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
}

static atomic_int faults;

static void on_fault(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  (void)context;
  atomic_fetch_add(&faults, 1);
}

TEST(handlers_that_somebody_else_has_installed_stay) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, now;
  EQUAL(sigaction(MARK, &action, NULL), 0);
  EQUAL(sigaction(SIGUSR2, &action, NULL), 0);
  open_signals();
  zb_signals_watch();
  EQUAL(sigaction(MARK, NULL, &now), 0);
  CHECK(now.sa_sigaction == on_fault);
  raise(MARK);
  raise(SIGUSR2);
  EQUAL(atomic_load(&faults), 2);
  OK(zb_sleep(1000));
}

TEST(every_signal_ends_the_wait_that_it_interrupts_if_the_handler_of_the_runtime_is_not_known) {
  struct ring ring;
  pthread_t thread;
  struct {
    pthread_t target;
    atomic_bool done;
  } order = {.target = pthread_self()};
  struct sigaction action = {.sa_handler = ignore};
  EQUAL(sigaction(SIGUSR2, &action, NULL), 0);
  zb_signals_open();
  zb_signals_watch();
  open_ring(&ring, 64);
  start_thread(&thread, interrupt_with_others, &order);
  EQUAL(zb_reader_next(ring.reader, LONG_US, 0), ZB_INTERRUPTED);
  EQUAL(zb_sleep(LONG_US), ZB_INTERRUPTED);
  EQUAL(zb_signals_ended_waits(), 2);
  atomic_store(&order.done, true);
  join_thread(thread);
  close_ring(&ring);
}

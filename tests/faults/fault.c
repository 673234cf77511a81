/* What the fault points of the test build do: ZB_FAULT=step:action[:nth], or several of these with commas
 * between them. At the nth time (default: the first; 0: every time) that the process reaches the step, the action is
 *   kill          it kills itself, as by kill -9
 *   stop          it stops itself, as by SIGSTOP
 *   errno=NUMBER  the call of this step fails with that errno
 *   delay=MS      it sleeps
 * ZB_FAULT_TRACE=path appends a line with the step's name whenever a step is reached. */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum action { NOTHING, KILL, STOP, FAIL, DELAY };

static struct order {
  char step[64];
  enum action action;
  int value; /* an errno, or milliseconds */
  int nth;   /* 0: every time */
  atomic_int reached;
} orders[4];

static int trace = -1;

/* Whoever gives an order that cannot be obeyed must not take silence for a result. */
static void refuse(const char *order) {
  fprintf(stderr, "ZB_FAULT=%s is not step:action[:nth]\n", order);
  _exit(64);
}

static bool parse(const char *text, struct order *order) {
  char action[32] = "";
  order->nth = 1;
  if (sscanf(text, "%63[a-z_]:%31[a-z=0-9]:%d", order->step, action, &order->nth) < 2) return false;
  if (strcmp(action, "kill") == 0) {
    order->action = KILL;
  } else if (strcmp(action, "stop") == 0) {
    order->action = STOP;
  } else if (sscanf(action, "errno=%d", &order->value) == 1) {
    order->action = FAIL;
  } else if (sscanf(action, "delay=%d", &order->value) == 1) {
    order->action = DELAY;
  }
  return order->action != NOTHING;
}

static void read_orders(void) {
  const char *path = getenv("ZB_FAULT_TRACE");
  if (path != NULL) trace = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const char *text = getenv("ZB_FAULT");
  const char *whole = text;
  for (size_t i = 0; text != NULL; i++) {
    if (i == sizeof orders / sizeof *orders || !parse(text, &orders[i])) refuse(whole);
    text = strchr(text, ',');
    if (text != NULL) text++;
  }
}

static bool obey(struct order *order) {
  int count = atomic_fetch_add(&order->reached, 1) + 1;
  if (order->nth != 0 && order->nth != count) return false;
  switch (order->action) {
  case KILL:
    kill(getpid(), SIGKILL);
    break;
  case STOP:
    raise(SIGSTOP);
    break;
  case DELAY:
    nanosleep(&(struct timespec){order->value / 1000, order->value % 1000 * 1000000L}, NULL);
    break;
  case FAIL:
    errno = order->value;
    return true;
  case NOTHING:
    break;
  }
  return false;
}

bool zb_fault(const char *step) {
  static pthread_once_t ordered = PTHREAD_ONCE_INIT;
  pthread_once(&ordered, read_orders);
  /* One write for a line: the lines of several threads do not mix. */
  char line[80];
  int length = snprintf(line, sizeof line, "%s\n", step);
  if (trace >= 0 && write(trace, line, (size_t)length) != length) _exit(65);
  bool fails = false;
  for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
    if (strcmp(step, orders[i].step) == 0 && obey(&orders[i])) fails = true;
  return fails;
}

/* What the C tests need of every POSIX system. */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static pid_t owner; /* a forked child cleans up nothing */
static char directory[64];

static void clean_up(void) {
  char command[128];
  if (getpid() != owner) return;
  remove_names();
  if (directory[0] == '\0') return;
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  if (system(command) != 0) fprintf(stderr, "left behind: %s\n", directory);
}

void prepare_system(void) {
  owner = getpid();
  atexit(clean_up);
}

const char *temporary_path(const char *file) {
  static char path[128];
  if (directory[0] == '\0') {
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/%sXXXXXX", parent == NULL ? "/tmp" : parent, name_prefix);
    CHECK(mkdtemp(directory) != NULL);
  }
  snprintf(path, sizeof path, "%s/%s", directory, file);
  return path;
}

bool rings(int32_t bell, int wait_ms) {
  struct pollfd poll_one = {.fd = bell, .events = POLLIN};
  char byte;
  if (poll(&poll_one, 1, wait_ms) != 1) return false;
  EQUAL(read(bell, &byte, 1), 1);
  return true;
}

void close_bell(int32_t bell) {
  char bytes[64];
  ssize_t size;
  do size = read(bell, bytes, sizeof bytes);
  while (size > 0);
  EQUAL(size, 0);
  OK(close(bell));
}

pid_t start_child(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    die_with_parent();
    if (getppid() != owner) _exit(1);
  }
  return pid;
}

int run_child(void (*work)(void *), void *argument) {
  int status;
  pid_t pid = start_child();
  if (pid == 0) {
    work(argument);
    _exit(0);
  }
  while (waitpid(pid, &status, 0) != pid) EQUAL(errno, EINTR);
  return status;
}

static void ignore_signal(int number) { (void)number; }

void catch_signal(void) {
  struct sigaction action = {.sa_handler = ignore_signal};
  zb_signals_open();
  /* The first one is that by which it is told which handler is the runtime's. */
  EQUAL(sigaction(SIGURG, &action, NULL), 0);
  EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
  zb_signals_watch();
}

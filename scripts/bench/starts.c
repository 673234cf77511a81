/* How long programs take from their start to their end.
 *
 * `starts COUNT -- NAME CODE PROGRAM [ARGUMENT…] [-- NAME CODE PROGRAM [ARGUMENT…]]…` runs the programs to their ends in
 * turn, COUNT times each, takes what they print from a pipe, and prints the median of each, in milliseconds, as JSON. A
 * run that ends with another code than CODE is a failure. The first turn brings the programs into memory and is not
 * counted. In turn, because a program that follows itself finds the processor's caches full of its own. */
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void require(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "starts: %s failed\n", what);
  exit(1);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* One run, in milliseconds. */
static double run(char **command, int code) {
  extern char **environ;
  posix_spawn_file_actions_t actions;
  char printed[65536];
  int output[2], status;
  pid_t pid;
  require(pipe2(output, O_CLOEXEC) == 0, "pipe2");
  require(posix_spawn_file_actions_init(&actions) == 0 &&
              posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0 &&
              posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO) == 0 &&
              posix_spawn_file_actions_adddup2(&actions, output[1], STDERR_FILENO) == 0,
          "posix_spawn_file_actions");
  double start = now_ms();
  require(posix_spawn(&pid, command[0], &actions, NULL, command, environ) == 0, command[0]);
  close(output[1]);
  while (read(output[0], printed, sizeof printed) > 0) continue;
  require(waitpid(pid, &status, 0) == pid, "waitpid");
  double elapsed = now_ms() - start;
  require(WIFEXITED(status) && WEXITSTATUS(status) == code, command[0]);
  close(output[0]);
  posix_spawn_file_actions_destroy(&actions);
  return elapsed;
}

static int order(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

struct contender {
  const char *name;
  int code;
  char **command;
  double *elapsed_ms;
};

/* Splits the arguments, and returns how many contenders there are. */
static int parse(char **arguments, int count, struct contender *contenders) {
  int found = 0;
  for (char **argument = arguments; *argument != NULL; argument++) {
    if (strcmp(*argument, "--") != 0) continue;
    require(argument[1] != NULL && argument[2] != NULL && argument[3] != NULL, "a contender");
    double *elapsed_ms = malloc((size_t)count * sizeof *elapsed_ms);
    require(elapsed_ms != NULL, "malloc");
    contenders[found++] = (struct contender){argument[1], atoi(argument[2]), argument + 3, elapsed_ms};
    *argument = NULL; /* the end of the command before */
  }
  return found;
}

int main(int argument_count, char **arguments) {
  int count = argument_count > 1 ? atoi(arguments[1]) : 0;
  struct contender *contenders = calloc((size_t)argument_count, sizeof *contenders);
  require(contenders != NULL, "calloc");
  int contender_count = count > 0 ? parse(arguments, count, contenders) : 0;
  if (contender_count == 0) {
    fprintf(stderr, "usage: starts COUNT -- NAME CODE PROGRAM [ARGUMENT…] [-- …]\n");
    return 2;
  }
  for (int turn = -1; turn < count; turn++) {
    for (int i = 0; i < contender_count; i++) {
      double elapsed_ms = run(contenders[i].command, contenders[i].code);
      if (turn >= 0) contenders[i].elapsed_ms[turn] = elapsed_ms;
    }
  }
  for (int i = 0; i < contender_count; i++) {
    qsort(contenders[i].elapsed_ms, (size_t)count, sizeof(double), order);
    printf("%s\"%s\":%.3f", i == 0 ? "{" : ",", contenders[i].name, contenders[i].elapsed_ms[count / 2]);
  }
  printf("}\n");
  return 0;
}

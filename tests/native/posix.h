/* What C tests use on POSIX systems only. */
#ifndef TEST_POSIX_H
#define TEST_POSIX_H

#include "test.h"

#include <sys/types.h>

/* fork(2), for a child that must not outlive this program. Only while there is one thread. */
pid_t start_child(void);
/* Runs `work` in a child process and returns how it ended, as waitpid tells it. */
int run_child(void (*work)(void *), void *argument);
/* Makes SIGUSR1 end the waits of this thread, and nothing else. */
void catch_signal(void);

/* The system's: linux.c, darwin.c. */

/* Removes what the program has left in shared memory. */
void remove_names(void);
/* Has the system end this process when its parent ends, where it can. */
void die_with_parent(void);

#endif

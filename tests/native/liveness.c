/* Which processes live, and which have a buffer open, as Linux tells. */
#include "linux.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

TEST(a_process_has_the_start_time_that_the_system_tells) {
  char text[1024] = "";
  FILE *file = fopen("/proc/self/stat", "r");
  CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
  fclose(file);
  double start;
  EQUAL(sscanf(strrchr(text, ')'),
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lf", &start),
        1);
  EQUAL(zb_process_start((uint32_t)getpid()), start);
  CHECK(start > 0);
  EQUAL(prctl(PR_SET_NAME, ") Z 1 (2) 3"), 0); /* a name that looks like the fields behind it */
  EQUAL(zb_process_start((uint32_t)getpid()), start);
}

TEST(a_process_that_has_ended_does_not_live_even_as_a_zombie) {
  siginfo_t info;
  pid_t pid = start_child();
  if (pid == 0) _exit(0);
  EQUAL(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
  EQUAL(kill(pid, 0), 0);
  EQUAL(zb_process_start((uint32_t)pid), -1);
  EQUAL(waitpid(pid, NULL, 0), pid);
  EQUAL(zb_process_start((uint32_t)pid), -1);
}

TEST(a_process_that_is_stopped_lives) {
  siginfo_t info;
  pid_t pid = start_child();
  if (pid == 0) {
    for (;;) pause();
  }
  EQUAL(kill(pid, SIGSTOP), 0);
  EQUAL(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
  CHECK(zb_process_start((uint32_t)pid) > 0);
  EQUAL(kill(pid, SIGKILL), 0);
  EQUAL(waitpid(pid, NULL, 0), pid);
}

static void look_at_process_1(void *argument) {
  (void)argument;
  if (geteuid() == 0) EQUAL(setuid(65534), 0);
  CHECK(zb_process_start(1) >= 0);
}

TEST(a_process_that_may_not_be_signalled_lives) { EQUAL(run_child(look_at_process_1, NULL), 0); }

TEST(a_number_beyond_the_largest_pid_does_not_live) { EQUAL(zb_process_start(1u << 22 | 1), -1); }

static void *tell_id(void *argument) {
  atomic_int *id = argument;
  atomic_store(id, (int)syscall(SYS_gettid));
  UNTIL(atomic_load(id) == 0);
  return NULL;
}

TEST(the_id_of_a_thread_is_no_process) {
  pthread_t thread;
  atomic_int id = 0;
  start_thread(&thread, tell_id, &id);
  UNTIL(atomic_load(&id) != 0);
  EQUAL(kill(atomic_load(&id), 0), 0); /* the system takes it for one */
  EQUAL(zb_process_start((uint32_t)atomic_load(&id)), -1);
  CHECK(zb_process_start((uint32_t)getpid()) > 0);
  atomic_store(&id, 0);
  join_thread(thread);
}

static void unmap_and_wait(void *argument) {
  struct ring *ring = argument;
  zb_memory_close(ring->memory);
  zb_semaphore_post(ring->written, 1);
  while (zb_semaphore_take(ring->released, 1) == 0) usleep(100);
}

TEST(a_process_maps_a_buffer_as_long_as_it_has_it_open) {
  struct ring ring, stranger;
  open_buffer(&ring, 64, 256);
  open_buffer(&stranger, 64, 256);
  zb_memory *more[2];
  EQUAL(zb_process_maps((uint32_t)getpid(), ring.memory), 1);
  for (int i = 0; i < 2; i++) {
    OK(open_memory(ring.name, &more[i]));
    EQUAL(zb_process_maps((uint32_t)getpid(), ring.memory), 2);
  }
  for (int i = 0; i < 2; i++) zb_memory_close(more[i]);
  EQUAL(zb_process_maps((uint32_t)getpid(), ring.memory), 1);
  pid_t pid = start_child();
  if (pid == 0) {
    unmap_and_wait(&ring);
    _exit(0);
  }
  UNTIL(zb_semaphore_value(ring.written) == 1);
  EQUAL(zb_process_maps((uint32_t)pid, ring.memory), 0);
  EQUAL(zb_process_maps((uint32_t)pid, stranger.memory), 1);
  zb_semaphore_post(ring.released, 1);
  EQUAL(waitpid(pid, NULL, 0), pid);
  EQUAL(zb_process_maps((uint32_t)pid, ring.memory), ZB_PERMISSION);
  close_ring(&ring);
  close_ring(&stranger);
}

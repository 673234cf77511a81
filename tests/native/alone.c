/* Whether anybody else has the memory open, and what asking that leaves behind (docs/protocol.md, section 4.4). */
#include "linux.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int open_raw(const char *name, int access) {
  int descriptor = open(shm_path("", name), access | O_CLOEXEC);
  CHECK(descriptor >= 0);
  return descriptor;
}

/* Maps the file as somebody who has then closed it. */
static void *map_and_close(const char *name) {
  int descriptor = open_raw(name, O_RDWR);
  void *address = mmap(NULL, sizeof(struct zb_oieb), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  CHECK(address != MAP_FAILED);
  close(descriptor);
  return address;
}

/* ---- the answer ---------------------------------------------------------------------------------------------- */

TEST(nobody_else_has_memory_open_until_it_is_opened_once_more_in_whatever_way) {
  struct ring ring;
  zb_memory *second;
  open_buffer(&ring, 64, 256);
  EQUAL(zb_memory_alone(ring.memory), 1);
  EQUAL(zb_memory_alone(ring.memory), 1); /* the first time has left nothing */
  for (int writable = 0; writable <= 1; writable++) {
    OK(zb_memory_look(ring.name, writable, &second));
    EQUAL(zb_memory_alone(ring.memory), 0);
    EQUAL(zb_memory_alone(second), 0);
    OK(zb_memory_map(second));
    EQUAL(zb_memory_alone(ring.memory), 0);
    zb_memory_close(second);
    EQUAL(zb_memory_alone(ring.memory), 1);
  }
  const int accesses[] = {O_RDONLY, O_WRONLY, O_RDWR};
  for (int i = 0; i < 3; i++) {
    int descriptor = open_raw(ring.name, accesses[i]);
    EQUAL(zb_memory_alone(ring.memory), 0);
    close(descriptor);
    EQUAL(zb_memory_alone(ring.memory), 1);
  }
  void *address = map_and_close(ring.name);
  EQUAL(zb_memory_alone(ring.memory), 0);
  EQUAL(munmap(address, sizeof(struct zb_oieb)), 0);
  EQUAL(zb_memory_alone(ring.memory), 1);
  close_ring(&ring);
}

TEST(who_only_looks_can_ask_as_well) {
  struct ring ring;
  zb_memory *view;
  open_buffer(&ring, 64, 256);
  OK(zb_memory_look(ring.name, false, &view));
  EQUAL(zb_memory_alone(view), 0);
  zb_memory_close(ring.memory);
  EQUAL(zb_memory_alone(view), 1);
  OK(zb_memory_map(view));
  EQUAL(zb_memory_alone(view), 1);
  zb_memory_close(view);
  OK(open_memory(ring.name, &ring.memory));
  close_ring(&ring);
}

TEST(memory_that_has_lost_its_name_can_be_asked_about) {
  struct ring ring;
  zb_memory *second;
  open_buffer(&ring, 64, 256);
  OK(open_memory(ring.name, &second));
  OK(zb_memory_unlink(ring.memory));
  EQUAL(zb_memory_alone(ring.memory), 0);
  zb_memory_close(second);
  EQUAL(zb_memory_alone(ring.memory), 1);
  zb_memory_close(ring.memory);
  OK(make_memory(ring.name, 448, 0600, &ring.memory)); /* for close_ring to remove */
  close_ring(&ring);
}

/* Each opens the memory in its way, and waits. */
static void open_and_wait(const struct ring *ring, int way) {
  zb_memory *memory;
  zb_memory_close(ring->memory); /* what the fork has inherited */
  if (way == 0) OK(open_memory(ring->name, &memory));
  if (way == 1) OK(zb_memory_look(ring->name, false, &memory));
  if (way == 2) map_and_close(ring->name);
  zb_semaphore_post(ring->written, 1);
  for (;;) pause();
}

TEST(another_process_has_memory_open_until_it_is_killed_and_also_while_it_is_stopped) {
  struct ring ring;
  int status;
  open_buffer(&ring, 64, 256);
  for (int way = 0; way < 3; way++) {
    pid_t pid = start_child();
    if (pid == 0) open_and_wait(&ring, way);
    UNTIL(zb_semaphore_take(ring.written, 1) == 1);
    EQUAL(zb_memory_alone(ring.memory), 0);
    EQUAL(kill(pid, SIGSTOP), 0);
    EQUAL(waitpid(pid, &status, WUNTRACED), pid);
    EQUAL(zb_memory_alone(ring.memory), 0);
    EQUAL(kill(pid, SIGKILL), 0);
    EQUAL(waitpid(pid, &status, 0), pid);
    EQUAL(zb_memory_alone(ring.memory), 1);
  }
  close_ring(&ring);
}

static void wait_for_a_token(void *argument) {
  struct ring *ring = argument;
  zb_semaphore_post(ring->written, 1);
  while (zb_semaphore_take(ring->released, 1) == 0) usleep(100);
}

TEST(a_fork_has_open_what_it_has_inherited_and_is_not_somebody_else) {
  struct ring ring;
  int status;
  open_buffer(&ring, 64, 256);
  pid_t pid = start_child();
  if (pid == 0) {
    wait_for_a_token(&ring);
    _exit(0);
  }
  UNTIL(zb_semaphore_take(ring.written, 1) == 1);
  EQUAL(zb_memory_alone(ring.memory), 1);
  zb_semaphore_post(ring.released, 1);
  EQUAL(waitpid(pid, &status, 0), pid);
  EQUAL(status, 0);
  close_ring(&ring);
}

/* ---- where it cannot be asked -------------------------------------------------------------------------------- */

TEST(it_is_not_asked_while_a_reader_of_the_frames_through_another_buffer_has_its_lock) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  int descriptor = open_raw(ring.name, O_RDWR);
  const short types[] = {F_RDLCK, F_WRLCK};
  for (int i = 0; i < 2; i++) {
    for (off_t first = 96; first < 128; first++) {
      struct flock lock = {.l_type = types[i], .l_whence = SEEK_SET, .l_start = first, .l_len = 1};
      EQUAL(fcntl(descriptor, F_OFD_SETLK, &lock), 0);
      EQUAL(zb_memory_alone(ring.memory), first >= 112 && first < 120 ? ZB_UNSUPPORTED : 0);
      lock.l_type = F_UNLCK;
      EQUAL(fcntl(descriptor, F_OFD_SETLK, &lock), 0);
    }
  }
  close(descriptor);
  EQUAL(zb_memory_alone(ring.memory), 1);
  close_ring(&ring);
}

static void ask_about_files_of_two_users(void *argument) {
  const struct ring *root = argument;
  struct ring own;
  zb_memory *memory, *second;
  EQUAL(setuid(65534), 0);
  OK(open_memory(root->name, &memory));
  EQUAL(zb_memory_alone(memory), ZB_UNSUPPORTED);
  zb_memory_close(memory);
  open_buffer(&own, 64, 256);
  EQUAL(zb_memory_alone(own.memory), 1);
  OK(open_memory(own.name, &second));
  EQUAL(zb_memory_alone(own.memory), 0);
  zb_memory_close(second);
  close_ring(&own);
}

TEST(a_user_without_capabilities_can_ask_about_files_of_its_own_and_no_others) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  if (geteuid() != 0) {
    printf("only root can become another user\n");
    close_ring(&ring);
    return;
  }
  EQUAL(chmod(shm_path("", ring.name), 0666), 0);
  zb_memory_close(ring.memory);
  EQUAL(run_child(ask_about_files_of_two_users, &ring), 0);
  OK(open_memory(ring.name, &ring.memory));
  close_ring(&ring);
}

/* What a system says to all who ask for a lease. */
static void ask_a_system(void *answer) {
  struct ring ring;
  zb_memory *second;
  if (!answer_fcntl(F_SETLEASE, *(const int *)answer)) _exit(2);
  open_buffer(&ring, 64, 256);
  for (int i = 0; i < 2; i++) {
    EQUAL(zb_memory_alone(ring.memory), ZB_UNSUPPORTED);
    OK(open_memory(ring.name, &second));
    EQUAL(zb_memory_alone(ring.memory), ZB_UNSUPPORTED);
    zb_memory_close(second);
  }
  close_ring(&ring);
}

TEST(a_system_that_refuses_leases_or_always_says_the_same_cannot_be_asked) {
  int answers[] = {0, EAGAIN, EACCES, EINVAL, ENOSYS};
  for (int i = 0; i < 5; i++) {
    int status = run_child(ask_a_system, &answers[i]);
    if (WEXITSTATUS(status) == 2) {
      printf("the kernel cannot be told what to answer\n");
      return;
    }
    EQUAL(status, 0);
  }
}

TEST(a_first_question_without_a_descriptor_to_spare_says_nothing_about_the_next_one) {
  struct ring ring;
  struct rlimit before, none;
  open_buffer(&ring, 64, 256);
  EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
  int lowest = dup(0);
  close(lowest);
  /* None is free, or one: it takes two. */
  for (int spare = 0; spare <= 1; spare++) {
    none = (struct rlimit){.rlim_cur = (rlim_t)lowest + (rlim_t)spare, .rlim_max = before.rlim_max};
    EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    EQUAL(zb_memory_alone(ring.memory), ZB_UNSUPPORTED);
  }
  EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
  EQUAL(zb_memory_alone(ring.memory), 1);
  close_ring(&ring);
}

/* ---- the signals of the caller ------------------------------------------------------------------------------- */

static atomic_int handled;

static void count(int number) {
  (void)number;
  atomic_fetch_add(&handled, 1);
}

/* Asks, once alone and once not. */
static void ask(struct ring *ring) {
  zb_memory *second;
  EQUAL(zb_memory_alone(ring->memory), 1);
  OK(zb_memory_look(ring->name, false, &second));
  EQUAL(zb_memory_alone(ring->memory), 0);
  zb_memory_close(second);
}

TEST(asking_leaves_the_signal_mask_and_the_handlers_as_they_were) {
  struct ring ring;
  struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART}, now;
  sigset_t blocked, after;
  open_buffer(&ring, 64, 256);
  EQUAL(sigaction(SIGURG, &action, NULL), 0);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  EQUAL(pthread_sigmask(SIG_SETMASK, &blocked, NULL), 0);
  ask(&ring);
  EQUAL(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
  for (int number = 1; number <= SIGRTMAX; number++)
    EQUAL(sigismember(&after, number), number == SIGUSR2 ? 1 : sigismember(&blocked, number));
  EQUAL(sigaction(SIGURG, NULL, &now), 0);
  CHECK(now.sa_handler == count && (now.sa_flags & SA_RESTART) != 0);
  EQUAL(sigaction(SIGIO, NULL, &now), 0);
  CHECK(now.sa_handler == SIG_DFL);
  EQUAL(atomic_load(&handled), 0);
  close_ring(&ring);
}

TEST(a_signal_that_somebody_has_sent_and_that_waits_is_still_there_after_asking) {
  struct ring ring;
  struct sigaction action = {.sa_handler = count};
  sigset_t urgent, pending;
  open_buffer(&ring, 64, 256);
  EQUAL(sigaction(SIGURG, &action, NULL), 0);
  sigemptyset(&urgent);
  sigaddset(&urgent, SIGURG);
  for (int way = 0; way < 3; way++) {
    atomic_store(&handled, 0);
    EQUAL(pthread_sigmask(SIG_BLOCK, &urgent, NULL), 0);
    if (way == 0) EQUAL(kill(getpid(), SIGURG), 0);
    if (way == 1) EQUAL(pthread_kill(pthread_self(), SIGURG), 0);
    if (way == 2) EQUAL(sigqueue(getpid(), SIGURG, (union sigval){0}), 0);
    ask(&ring);
    EQUAL(atomic_load(&handled), 0);
    EQUAL(sigpending(&pending), 0);
    EQUAL(sigismember(&pending, SIGURG), 1);
    EQUAL(pthread_sigmask(SIG_UNBLOCK, &urgent, NULL), 0);
    EQUAL(atomic_load(&handled), 1);
  }
  close_ring(&ring);
}

static void open_for_ever(const struct ring *ring) {
  zb_memory_close(ring->memory); /* what the fork has inherited */
  for (;;) {
    close(open_raw(ring->name, O_RDONLY));
    zb_semaphore_post(ring->written, 1);
  }
}

TEST(no_handler_hears_that_somebody_opens_the_memory_while_it_is_asked_about) {
  struct ring ring;
  struct sigaction action = {.sa_handler = count};
  open_buffer(&ring, 64, 256);
  EQUAL(sigaction(SIGURG, &action, NULL), 0);
  EQUAL(sigaction(SIGIO, &action, NULL), 0);
  pid_t pid = start_child();
  if (pid == 0) open_for_ever(&ring);
  const uint32_t least = long_run(20000);
  uint32_t asked = 0, alone = 0, opened = 0;
  while (asked < least || opened < least || alone < least / 100) {
    int32_t answer = zb_memory_alone(ring.memory);
    CHECK(answer == 0 || answer == 1);
    asked++;
    alone += (uint32_t)answer;
    opened += zb_semaphore_take(ring.written, UINT32_MAX);
    EQUAL(atomic_load(&handled), 0);
  }
  EQUAL(kill(pid, SIGKILL), 0);
  EQUAL(waitpid(pid, NULL, 0), pid);
  printf("%u questions, %u of them alone, beside %u opens\n", asked, alone, opened);
  close_ring(&ring);
}

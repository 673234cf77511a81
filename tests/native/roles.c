/* The locks of roles, and the mark beside the writer's pid (docs/protocol.md, section 4.4). */
#include "linux.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PID 4242

/* What tests and their children tell each other. */
struct shared {
  atomic_bool has_lock;
  atomic_int grandchild;
};

static struct shared *share(void) {
  struct shared *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  return shared;
}

static void end_child(pid_t pid) {
  EQUAL(kill(pid, SIGKILL), 0);
  EQUAL(waitpid(pid, NULL, 0), pid);
}

/* ---- who has a lock ------------------------------------------------------------------------------------------ */

static void find_both_locked(void *name) {
  zb_memory *memory;
  OK(open_memory(name, &memory));
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) {
    EQUAL(zb_role_locked(memory, role), 1);
    EQUAL(zb_role_lock(memory, role), ZB_LOCKED);
  }
}

TEST(a_role_is_locked_once_in_this_process_and_in_every_other) {
  struct ring ring;
  zb_memory *second;
  open_buffer(&ring, 64, 256);
  OK(open_memory(ring.name, &second));
  OK(zb_role_lock(ring.memory, ZB_WRITER));
  OK(zb_role_lock(ring.memory, ZB_WRITER)); /* once is enough */
  EQUAL(zb_role_lock(second, ZB_WRITER), ZB_LOCKED);
  OK(zb_role_lock(second, ZB_READER));
  EQUAL(zb_role_lock(ring.memory, ZB_READER), ZB_LOCKED);
  EQUAL(run_child(find_both_locked, ring.name), 0);
  zb_role_unlock(second, ZB_WRITER); /* it does not have that one */
  EQUAL(zb_role_locked(second, ZB_WRITER), 1);
  zb_role_unlock(ring.memory, ZB_WRITER);
  zb_role_unlock(ring.memory, ZB_WRITER);
  OK(zb_role_lock(second, ZB_WRITER));
  EQUAL(run_child(find_both_locked, ring.name), 0);
  zb_memory_close(second);
  close_ring(&ring);
}

TEST(a_lock_is_not_seen_by_who_has_it) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) {
    EQUAL(zb_role_locked(ring.memory, role), 0);
    OK(zb_role_lock(ring.memory, role));
    EQUAL(zb_role_locked(ring.memory, role), 0);
  }
  close_ring(&ring);
}

/* The locks of writer and reader that somebody finds who has no permission to write: as one number, or ZB_UNSUPPORTED. */
static void look_for_locks(void *argument) {
  const struct ring *ring = argument;
  zb_memory *memory;
  if (geteuid() == 0) EQUAL(setuid(65534), 0);
  EQUAL(zb_memory_look(ring->name, true, &memory), ZB_PERMISSION);
  OK(zb_memory_look(ring->name, false, &memory));
  CHECK(zb_memory_address(memory) == NULL);
  _exit(zb_role_locked(memory, ZB_WRITER) * 2 + zb_role_locked(memory, ZB_READER));
}

TEST(a_lock_is_seen_by_whoever_may_read_the_file) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  EQUAL(chmod(shm_path("", ring.name), 0444), 0);
  for (int locks = 0; locks < 4; locks++) {
    if (locks & 2) OK(zb_role_lock(ring.memory, ZB_WRITER));
    if (locks & 1) OK(zb_role_lock(ring.memory, ZB_READER));
    EQUAL(WEXITSTATUS(run_child(look_for_locks, &ring)), locks);
    zb_role_unlock(ring.memory, ZB_WRITER);
    zb_role_unlock(ring.memory, ZB_READER);
  }
  close_ring(&ring);
}

TEST(the_locks_of_two_buffers_have_nothing_to_do_with_each_other) {
  struct ring ring, stranger;
  open_buffer(&ring, 64, 256);
  open_buffer(&stranger, 64, 256);
  OK(zb_role_lock(ring.memory, ZB_WRITER));
  OK(zb_role_lock(stranger.memory, ZB_WRITER));
  zb_role_unlock(ring.memory, ZB_WRITER);
  zb_memory *second;
  OK(open_memory(stranger.name, &second));
  EQUAL(zb_role_locked(second, ZB_WRITER), 1);
  zb_memory_close(second);
  close_ring(&ring);
  close_ring(&stranger);
}

struct refusal {
  int command, error;
  int32_t lock, locked; /* what is told then */
};

static void lock_on_a_system(void *argument) {
  const struct refusal *refusal = argument;
  struct ring ring;
  if (!answer_fcntl(refusal->command, refusal->error)) _exit(2);
  open_buffer(&ring, 64, 256);
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) {
    EQUAL(zb_role_lock(ring.memory, role), refusal->lock);
    EQUAL(zb_role_locked(ring.memory, role), refusal->locked);
    zb_role_unlock(ring.memory, role);
  }
  close_ring(&ring);
}

TEST(a_system_without_locks_of_descriptions_says_so) {
  struct refusal refusals[] = {
      {F_OFD_SETLK, EINVAL, ZB_UNSUPPORTED, 0}, {F_OFD_SETLK, ENOLCK, ZB_UNSUPPORTED, 0},
      {F_OFD_SETLK, ENOMEM, ZB_NO_MEMORY, 0},   {F_OFD_GETLK, EINVAL, ZB_OK, ZB_UNSUPPORTED},
      {F_OFD_GETLK, ENOMEM, ZB_OK, 1}, /* it might be */
  };
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    int status = run_child(lock_on_a_system, &refusals[i]);
    if (WEXITSTATUS(status) == 2) {
      printf("the kernel cannot be told what to answer\n");
      return;
    }
    EQUAL(status, 0);
  }
}

/* ---- the end of a lock --------------------------------------------------------------------------------------- */

TEST(a_lock_ends_when_its_object_is_closed_also_while_a_window_keeps_that_mapped) {
  struct ring ring;
  zb_memory *second;
  open_buffer(&ring, 64, 256);
  for (int lends = 0; lends <= 1; lends++) {
    OK(open_memory(ring.name, &second));
    void *address = zb_memory_address(second);
    for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) OK(zb_role_lock(second, role));
    if (lends) zb_memory_lend(second);
    zb_memory_close(second);
    for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) EQUAL(zb_role_locked(ring.memory, role), 0);
    if (!lends) continue;
    EQUAL(((struct zb_oieb *)address)->payload_size, 256);
    zb_memory_return(address, second);
  }
  /* The next object, in the place of that one, has no locks. */
  OK(open_memory(ring.name, &second));
  OK(zb_role_lock(second, ZB_WRITER));
  EQUAL(zb_role_locked(ring.memory, ZB_WRITER), 1);
  zb_memory_close(second);
  close_ring(&ring);
}

static void *lock_in_thread(void *name) {
  zb_memory *memory;
  OK(open_memory(name, &memory));
  OK(zb_role_lock(memory, ZB_WRITER));
  OK(zb_oieb_claim(memory, ZB_WRITER, 0, PID));
  zb_memory_lend(memory);
  return memory;
}

TEST(a_lock_ends_with_its_thread_whose_mark_is_then_the_pid_of_nobody) {
  struct ring ring;
  pthread_t thread;
  void *memory;
  open_buffer(&ring, 64, 256);
  start_thread(&thread, lock_in_thread, ring.name);
  EQUAL(pthread_join(thread, &memory), 0);
  EQUAL(zb_role_locked(ring.memory, ZB_WRITER), 0);
  EQUAL(word(&ring.oieb->writer_pid), ZB_PID_OF_NOBODY);
  EQUAL(word(&ring.oieb->mark), ZB_PID_OF_NOBODY);
  zb_memory_return(zb_memory_address(memory), memory);
  close_ring(&ring);
}

static void lock_and_wait(const char *name, struct shared *shared) {
  zb_memory *memory;
  OK(open_memory(name, &memory));
  OK(zb_role_lock(memory, ZB_READER));
  atomic_store(&shared->has_lock, true);
  for (;;) pause();
}

TEST(a_lock_outlives_the_stop_of_its_process_and_ends_with_a_kill) {
  struct ring ring;
  int status;
  open_buffer(&ring, 64, 256);
  struct shared *shared = share();
  pid_t pid = start_child();
  if (pid == 0) lock_and_wait(ring.name, shared);
  UNTIL(atomic_load(&shared->has_lock));
  EQUAL(kill(pid, SIGSTOP), 0);
  EQUAL(waitpid(pid, &status, WUNTRACED), pid);
  EQUAL(zb_role_locked(ring.memory, ZB_READER), 1);
  end_child(pid);
  EQUAL(zb_role_locked(ring.memory, ZB_READER), 0);
  OK(zb_role_lock(ring.memory, ZB_READER));
  close_ring(&ring);
}

/* Locks, and starts a child that goes on with what it has inherited: as it is, or as another program. */
static void lock_and_fork(const char *name, struct shared *shared, bool execs, int input) {
  zb_memory *memory;
  OK(open_memory(name, &memory));
  OK(zb_role_lock(memory, ZB_READER));
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    char byte;
    if (execs) {
      EQUAL(dup2(input, STDIN_FILENO), STDIN_FILENO);
      execlp("cat", "cat", (char *)NULL);
    }
    _exit(read(input, &byte, 1) == 0 ? 0 : 1);
  }
  atomic_store(&shared->grandchild, pid);
  for (;;) pause();
}

TEST(a_lock_is_inherited_by_a_fork_and_not_by_a_program_that_the_fork_becomes) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  for (int execs = 0; execs <= 1; execs++) {
    struct shared *shared = share();
    int ends[2];
    /* The grandchild ends when nobody can write to its input any more: with this program at the latest. */
    EQUAL(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = start_child();
    if (pid == 0) {
      close(ends[1]);
      lock_and_fork(ring.name, shared, execs, ends[0]);
    }
    close(ends[0]);
    UNTIL(atomic_load(&shared->grandchild) != 0);
    pid_t grandchild = atomic_load(&shared->grandchild);
    if (execs) UNTIL(zb_process_maps((uint32_t)grandchild, ring.memory) == 0);
    EQUAL(zb_role_locked(ring.memory, ZB_READER), 1);
    end_child(pid);
    EQUAL(kill(grandchild, 0), 0);
    /* A program that is started has its own memory a moment before the descriptors of the one before it are closed. */
    if (execs)
      UNTIL(zb_role_locked(ring.memory, ZB_READER) == 0);
    else
      EQUAL(zb_role_locked(ring.memory, ZB_READER), 1);
    close(ends[1]);
    UNTIL(zb_process_start((uint32_t)grandchild) == -1 && zb_role_locked(ring.memory, ZB_READER) == 0);
  }
  close_ring(&ring);
}

/* ---- the mark ------------------------------------------------------------------------------------------------ */

TEST(the_mark_follows_the_pid_of_a_writer_that_has_the_lock) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, 0, PID));
  EQUAL(word(&ring.oieb->mark), 0);
  OK(zb_role_lock(ring.memory, ZB_WRITER));
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, PID, PID));
  EQUAL(word(&ring.oieb->mark), PID);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, PID, 0));
  EQUAL(word(&ring.oieb->mark), 0);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, 0, PID));
  EQUAL(word(&ring.oieb->mark), PID);
  OK(zb_role_lock(ring.memory, ZB_READER));
  OK(zb_oieb_claim(ring.memory, ZB_READER, (uint64_t)getpid(), PID + 1));
  EQUAL(word(&ring.oieb->mark), PID); /* a reader has none */
  close_ring(&ring);
}

TEST(the_mark_of_a_writer_that_is_gone_does_not_stay_beside_the_pid_of_another) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  set_word(&ring.oieb->mark, PID);
  set_word(&ring.oieb->writer_pid, PID + 1); /* a v1 writer has come */
  OK(zb_role_lock(ring.memory, ZB_WRITER));
  EQUAL(zb_oieb_claim(ring.memory, ZB_WRITER, PID, 7), ZB_EXISTS);
  EQUAL(word(&ring.oieb->writer_pid), PID + 1);
  EQUAL(word(&ring.oieb->mark), 0);
  close_ring(&ring);
}

TEST(a_writer_that_makes_a_buffer_with_the_lock_leaves_its_mark) {
  for (int locks = 0; locks <= 1; locks++) {
    zb_memory *memory;
    uint64_t words[16];
    OK(zb_memory_create(unique_name(), 1024, 0600, &memory));
    if (locks) OK(zb_role_lock(memory, ZB_WRITER));
    zb_oieb_fill(memory, 64, 256, ZB_WRITER, PID, 0);
    zb_oieb_load(memory, words);
    EQUAL(words[10], PID);
    EQUAL(words[14], locks ? PID : 0);
    zb_memory_close(memory);
  }
}

struct watch {
  struct zb_oieb *oieb;
  atomic_bool done;
};

/* As whoever judges a writer without having its lock: mark, pid, and the mark again. */
static void *watch_marks(void *argument) {
  struct watch *watch = argument;
  while (!atomic_load(&watch->done)) {
    uint64_t mark = word(&watch->oieb->mark), pid = word(&watch->oieb->writer_pid);
    if (mark != 0 && word(&watch->oieb->mark) == mark) EQUAL(pid, mark);
  }
  return NULL;
}

TEST(a_mark_is_never_seen_without_its_pid) {
  struct ring ring;
  pthread_t thread;
  open_buffer(&ring, 64, 256);
  struct watch watch = {.oieb = ring.oieb};
  OK(zb_role_lock(ring.memory, ZB_WRITER));
  start_thread(&thread, watch_marks, &watch);
  const uint64_t rounds = long_run(300000);
  /* No pid comes twice. */
  for (uint64_t pid = 1; pid <= rounds; pid++) {
    OK(zb_oieb_claim(ring.memory, ZB_WRITER, 0, pid));
    OK(zb_oieb_claim(ring.memory, ZB_WRITER, pid, 0));
  }
  atomic_store(&watch.done, true);
  join_thread(thread);
  close_ring(&ring);
}

/* Asking whether anybody else has a file open, while somebody opens it all the time (docs/protocol.md, section 4.4). */
#include "linux.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* What the process that asks tells the one that opens, in the memory that they have in common. */
struct questions {
  const char *name;
  atomic_uint asked, alone;
  atomic_bool has_begun, may_end;
};

/* Every signal does what it does by default: one that the kernel sends for an answer would end the process. */
static void ask_until_told(struct questions *questions) {
  zb_memory *memory;
  for (int number = 1; number <= SIGRTMAX; number++) signal(number, SIG_DFL);
  OK(make_memory(questions->name, 4096, -1, &memory));
  if (zb_memory_alone(memory) == ZB_UNSUPPORTED) _exit(2);
  atomic_store(&questions->has_begun, true);
  while (!atomic_load(&questions->may_end)) {
    int32_t answer = zb_memory_alone(memory);
    CHECK(answer == 0 || answer == 1);
    atomic_fetch_add(&questions->asked, 1);
    if (answer == 1) atomic_fetch_add(&questions->alone, 1);
  }
  EQUAL(zb_memory_alone(memory), 1);
  OK(zb_memory_unlink(memory));
  zb_memory_close(memory);
  _exit(0);
}

static void open_as_version_1(const char *name) {
  char path[80];
  /* As shm_open of glibc. That of musl adds O_NONBLOCK, with which an open fails in the middle of a question. */
  snprintf(path, sizeof path, "/dev/shm/%s", name);
  int descriptor = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  CHECK(descriptor >= 0);
  close(descriptor);
}

static void open_as_ours(const char *name) {
  zb_memory *memory;
  OK(zb_memory_look(name, 1, &memory));
  zb_memory_close(memory);
}

/* At least 1,000 opens and as many questions, of which both answers came. */
static void open_beside_questions(void (*open_once)(const char *)) {
  struct questions *questions =
      mmap(NULL, sizeof *questions, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  questions->name = name;
  const uint32_t least = long_run(1000);
  pid_t pid = start_child();
  if (pid == 0) ask_until_told(questions);
  int status = 0;
  UNTIL(atomic_load(&questions->has_begun) || waitpid(pid, &status, WNOHANG) == pid);
  if (!atomic_load(&questions->has_begun)) {
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    printf("this system does not tell who has a file open\n");
    return;
  }
  uint32_t opens = 0;
  int64_t longest_ns = 0;
  while (opens < least || atomic_load(&questions->asked) < least || atomic_load(&questions->alone) == 0 ||
         atomic_load(&questions->alone) == atomic_load(&questions->asked)) {
    int64_t start_ns = zb_now_ns();
    open_once(name);
    int64_t taken_ns = zb_now_ns() - start_ns;
    if (taken_ns > longest_ns) longest_ns = taken_ns;
    opens++;
  }
  atomic_store(&questions->may_end, true);
  EQUAL(waitpid(pid, &status, 0), pid);
  EQUAL(status, 0);
  printf("%u opens, the longest of %.1f ms, beside %u questions, %u of them answered \"nobody\"\n", opens,
         (double)longest_ns / 1e6, atomic_load(&questions->asked), atomic_load(&questions->alone));
}

TEST(the_question_who_has_a_file_open_ends_no_process_and_refuses_no_open_of_a_v1_peer) {
  open_beside_questions(open_as_version_1);
}

TEST(the_question_who_has_a_file_open_ends_no_process_and_refuses_no_open_of_ours) {
  open_beside_questions(open_as_ours);
}

/* The roles of one buffer, as presence.ts, connect.ts, create.ts and stale.ts take, judge and remove them
 * (docs/protocol.md, sections 4 to 6). Who holds a role, how others judge him, what is removed or replaced. The ring is
 * in ring.pml. Each system call and each access to shared memory is a step.
 *
 * run.ts defines a configuration:
 *   WHO         the processes that take part, as a set
 *   TWICE       those that start a second time, as another process with the same pid
 *   KILLS       how many of them are killed, at any step
 *   PIDS        ONE_NAMESPACE; EQUAL: each is process 1 of a container; DIFFERENT: a container each, no pid twice;
 *               REPEATED: two containers that count alike
 *   LEASE       the answer to the question whether anybody else has the memory open. TRUTH; ALWAYS_YES, as some kernels
 *               say; REFUSED
 *   SHARED_TMP  1: all see the same lock files. 0: each process sees only its own
 *   TRIES       how often a writer waits and tries again
 *   LOOKS       how often a reader or a writer looks at its peer
 *   SLICES      1: a reader looks at any moment; 0: only when a writer that leaves has posted
 *   ZEROING     1: a writer of version 1 that is refused stores 0 in writer_pid, as C# does
 *   ASKING      0: a writer of version 1 does not ask whether the reader is alive, as Python
 * and WITHOUT_… takes a rule away. */

#define READER_A 0
#define READER_B 1
#define WRITER_A 2
#define WRITER_B 3
#define V1_WRITER 4
#define V1_READER 5
#define CLEANER 6
#define VIEWER 7
#define PROCESSES 8
#define OUR_READERS 3 /* as sets */
#define OUR_WRITERS 12

#define MEMORIES 4 /* the most that are made under the name */
#define NONE 255

#define HAS(set, process) (((set) >> (process)) & 1)
#define INSERT(set, process) set = set | (1 << (process))
#define REMOVE(set, process) set = set & ~(1 << (process))
#define OTHERS(set) ((set) & ~(1 << me))
#define TAKES_PART(process) HAS(WHO, process)
#define MOST_STARTS(process) (HAS(TWICE, process) + 1)

#define ONE_NAMESPACE 1
#define EQUAL 2
#define DIFFERENT 3
#define REPEATED 4
#if PIDS == ONE_NAMESPACE
#define PID(process) ((process) + 1)
#define NAMESPACE(process) 0
#elif PIDS == EQUAL
#define PID(process) 1
#define NAMESPACE(process) (process)
#elif PIDS == DIFFERENT
#define PID(process) ((process) + 1)
#define NAMESPACE(process) (process)
#elif PIDS == REPEATED
/* In one: reader A, writer B, v1 writer, cleaner. In the other: reader B, writer A, v1 reader, viewer. */
#define PID(process) ((process) / 2 + 1)
#define NAMESPACE(process) HAS(166, process)
#endif
/* Whether a pid of one process can be that of another one. */
#define PIDS_ARE_UNIQUE (PIDS == ONE_NAMESPACE || PIDS == DIFFERENT)

#define TRUTH 1
#define ALWAYS_YES 2
#define REFUSED 3
/* A process finds out with a file of its own whether the question can be asked here. */
#if LEASE == TRUTH
#define CAN_ASK 1
#elif LEASE == ALWAYS_YES && defined(WITHOUT_TESTING_THE_QUESTION)
#define CAN_ASK 1
#else
#define CAN_ASK 0
#endif

#if SHARED_TMP
#define LOCK_FILE lock_file[0]
#else
#define LOCK_FILE lock_file[me]
#endif

mtype = { ALIVE, DEAD, UNKNOWN, FREE } /* FREE: the pid is 0 */
mtype = { READER, WRITER }

/* ---- what the processes share ----------------------------------------------------------------------------------- */

typedef Memory {
  byte opened, mapped;           /* the processes that have it open; of these, those that have it mapped as well */
  byte writer_lock, reader_lock; /* who has locked the bytes of writer_pid; of reader_pid */
  byte writer_pid, reader_pid, mark;
  bool is_locking;               /* flag bit 4: its reader locks the bytes of its pid */
  bool is_valid;                 /* oieb_size */

  /* the truth to compare with, which no process sees */
  byte writers, readers;         /* the living processes that believe to have the role */
  byte wrote_writer, wrote_reader; /* whose pid it is that is there */
  byte left;                     /* the processes that have given the writer's role up */
}

typedef LockFile {
  byte holder;
  bool exists;
  byte made_with; /* the memory that was made right after it: the two have the same age */
}

Memory memory[MEMORIES];
byte made;              /* how many there have been */
byte named = NONE;      /* the memory that the name means */
byte semaphores = NONE; /* who has made those that the name means */
LockFile lock_file[PROCESSES];
bool was_there[PROCESSES]; /* the lock file was there when this process locked it */
bool posted[MEMORIES]; /* a token without a frame: a writer has left */
bool alive[PROCESSES];

byte starts[PROCESSES];
byte kills = KILLS;
byte asleep;    /* truth: the processes that wait without a role */
bool intrusion; /* truth: a v1 peer took a role from a living process, which nothing can prevent */

/* ---- the kernel ------------------------------------------------------------------------------------------------- */

inline open_memory(m) {
  INSERT(memory[m].opened, me)
}

inline map_memory(m) {
  INSERT(memory[m].mapped, me)
}

inline close_memory(m) {
  REMOVE(memory[m].opened, me);
  REMOVE(memory[m].mapped, me)
}

inline unlock_writer(m) {
  memory[m].writer_lock = (memory[m].writer_lock == me -> NONE : memory[m].writer_lock)
}

inline unlock_reader(m) {
  memory[m].reader_lock = (memory[m].reader_lock == me -> NONE : memory[m].reader_lock)
}

/* A process ends: whatever it had open is closed, and whatever it had locked is free. */
inline end_process(process) {
  d_step {
    alive[process] = false;
    REMOVE(asleep, process);
    j = 0;
    do
    :: j < MEMORIES ->
      REMOVE(memory[j].opened, process);
      REMOVE(memory[j].mapped, process);
      REMOVE(memory[j].writers, process);
      REMOVE(memory[j].readers, process);
      memory[j].writer_lock = (memory[j].writer_lock == process -> NONE : memory[j].writer_lock);
      memory[j].reader_lock = (memory[j].reader_lock == process -> NONE : memory[j].reader_lock);
      j++
    :: else -> break
    od;
    j = 0;
    do
    :: j < PROCESSES ->
      lock_file[j].holder = (lock_file[j].holder == process -> NONE : lock_file[j].holder);
      j++
    :: else -> break
    od;
    j = 0
  }
}

/* ---- judging a peer --------------------------------------------------------------------------------------------- */

/* Whether a process of this pid is visible here, and has the memory mapped if that is asked for, too. */
inline look_for(m, whose, mapping) {
  is_visible = false;
  j = 0;
  do
  :: j < PROCESSES ->
    is_visible = is_visible || (TAKES_PART(j) && alive[j] && NAMESPACE(j) == NAMESPACE(me) && PID(j) == whose &&
                                (!(mapping) || (j != me && HAS(memory[m].mapped, j))));
    j++
  :: else -> break
  od;
  j = 0
}

#ifdef WITHOUT_A_ROLE_BEHIND_THE_OWN_PID
#define HOLDS(m, role) HAS(memory[m].mapped, me)
#else
#define HOLDS(m, role) (role == WRITER -> HAS(memory[m].writers, me) : HAS(memory[m].readers, me))
#endif

#ifdef WITHOUT_A_ROLE_TO_ASK_FROM
#define MAY_CONCLUDE(is_holder) true
#else
#define MAY_CONCLUDE(is_holder) (is_holder)
#endif

#ifdef WITHOUT_THE_AGE_OF_THE_LOCK_FILE
#define TELLS(m, is_holder) true
#else
#define TELLS(m, is_holder) ((is_holder) && LOCK_FILE.made_with == m)
#endif

/* Judges a pid that no lock tells about. `is_holder`: whoever judges has the other role. */
inline judge_pid(m, whose, role, is_holder) {
  look_for(m, whose, true);
  if
  :: whose == PID(me) && HOLDS(m, role) -> verdict = ALIVE
  :: else ->
    if
    :: whose != PID(me) && is_visible && memory[m].writer_pid != memory[m].reader_pid -> /* one mapping, one role */
      verdict = ALIVE
    :: else ->
#if CAN_ASK
      if
      :: LEASE == TRUTH && OTHERS(memory[m].opened) == 0 -> verdict = DEAD
      :: else ->
        verdict = (MAY_CONCLUDE(is_holder) -> ALIVE : UNKNOWN);
        /* If only processes that wait without a role have it open, the peer is dead, and nobody would ever notice. */
        assert(!(is_holder) || LEASE != TRUTH || (OTHERS(memory[m].opened) & ~asleep) != 0)
      fi
#else
      if
      :: role == READER && !memory[m].is_locking && TELLS(m, is_holder) &&
        ((LOCK_FILE.exists && LOCK_FILE.holder == NONE) || (LOCK_FILE.holder == me && was_there[me])) ->
        verdict = DEAD
      :: else -> verdict = UNKNOWN
      fi
#endif
    fi
  fi;
  is_visible = false
}

#ifdef WITHOUT_THE_MARK
#define IS_OURS(whose, its_mark) (seen_locked == whose) /* instead: it is ours if it was seen to be locked once */
#else
#define IS_OURS(whose, its_mark) (its_mark == whose)
#endif

/* `is_locked`: whether somebody else has the lock, as the kernel has said. */
inline judge_writer(m, whose, its_mark, is_locked, is_holder) {
  if
  :: whose == 0 -> verdict = FREE
  :: whose != 0 && is_locked -> verdict = ALIVE
  :: whose != 0 && !(is_locked) && IS_OURS(whose, its_mark) -> verdict = DEAD
  :: else -> judge_pid(m, whose, WRITER, is_holder)
  fi
}

#define IS_LOCKED_BY_OTHERS(lock) (lock != NONE && lock != me)

inline judge_reader(m, is_holder) {
  if
  :: memory[m].reader_pid == 0 -> verdict = FREE
  :: memory[m].reader_pid != 0 && IS_LOCKED_BY_OTHERS(memory[m].reader_lock) -> verdict = ALIVE
  :: memory[m].reader_pid != 0 && !IS_LOCKED_BY_OTHERS(memory[m].reader_lock) && memory[m].is_locking ->
    verdict = DEAD
  :: else -> judge_pid(m, memory[m].reader_pid, READER, is_holder)
  fi
}

#define HAS_READER(m) (memory[m].readers != 0)
#define HAS_WRITER(m) (memory[m].writers != 0)
#define HAS_OTHER_WRITER(m) (OTHERS(memory[m].writers) != 0)

#ifdef WITHOUT_WAITING_FOR_A_LEAVING_READER
#define HAS_LEFT(m) true
#else
/* A v1 reader stores 0 first and removes the name later. It has a second for that: as long as it needs. */
#define HAS_LEFT(m) (memory[m].is_locking || !HAS(memory[m].opened, V1_READER))
#endif

/* Whether the reader of memory that has the name is dead, so that the name may be taken away. */
inline judge_last_reader(m) {
  judge_reader(m, false);
  if
  :: verdict == FREE -> verdict = (HAS_LEFT(m) -> DEAD : UNKNOWN)
  :: else
  fi
}

/* ---- taking and giving up the writer's role --------------------------------------------------------------------- */

/* zb_oieb_claim, with the lock of the role: compare and swap of the pid, and its mark. */
inline claim_writer(m, before, after) {
#ifndef WITHOUT_THE_MARK
  memory[m].mark = (memory[m].writer_lock == me -> 0 : memory[m].mark);
#endif
  atomic {
    is_mine = (memory[m].writer_pid == before);
    if
    :: is_mine && after != 0 ->
      assert(ZEROING || intrusion || !HAS_OTHER_WRITER(m)); /* nobody takes a living writer's role */
      memory[m].writer_pid = after;
      memory[m].wrote_writer = me;
      REMOVE(memory[m].left, me)
    :: is_mine && after == 0 ->
      memory[m].writer_pid = 0;
      memory[m].left = (memory[m].wrote_writer == me -> memory[m].left | (1 << me) : memory[m].left);
      memory[m].wrote_writer = NONE
    :: else
    fi
  }
#ifndef WITHOUT_THE_MARK
  memory[m].mark = (is_mine && after != 0 && memory[m].writer_lock == me -> after : memory[m].mark)
#endif
}

/* ---- our writer ------------------------------------------------------------------------------------------------- */

proctype Writer(byte me) {
  byte m = NONE, whose, its_mark, tries, looks, j;
#ifdef WITHOUT_THE_MARK
  byte seen_locked;
#endif
  mtype verdict = FREE;
  bool is_visible, is_mine, was_named;

end_start:
  atomic {
    starts[me] < MOST_STARTS(me) -> starts[me]++;
    alive[me] = true;
    m = NONE; whose = 0; its_mark = 0; tries = TRIES; looks = LOOKS; verdict = FREE; is_mine = false; was_named = false
#ifdef WITHOUT_THE_MARK
    ; seen_locked = 0
#endif
  }
  {
    skip;
  open:
    atomic {
      if
      :: named != NONE && memory[named].is_valid -> m = named; open_memory(m)
      :: else -> goto gone
      fi
    }
  lock:
    atomic { /* without waiting */
      if
      :: memory[m].writer_lock == NONE ->
#ifndef WITHOUT_LOCKING_BEFORE_JUDGING
        memory[m].writer_lock = me;
#endif
        map_memory(m)
      :: else ->
#ifdef WITHOUT_THE_MARK
        seen_locked = memory[m].writer_pid;
#endif
        goto sleep
      fi
    }
    d_step {
      whose = memory[m].writer_pid;
      its_mark = memory[m].mark;
      judge_writer(m, whose, its_mark, false, false);
      assert(verdict != DEAD || !HAS_OTHER_WRITER(m)); /* no living writer is judged dead, */
      assert(verdict != ALIVE || memory[m].wrote_writer == NONE || alive[memory[m].wrote_writer]); /* no dead one alive */
      assert(whose == 0 || memory[m].wrote_writer != NONE); /* each pid is that of who stored it */
      its_mark = 0
    }
    atomic {
      if
      :: verdict == ALIVE || verdict == UNKNOWN -> verdict = FREE; whose = 0; unlock_writer(m); goto sleep
      :: else -> verdict = FREE
      fi
    }
    d_step { judge_reader(m, false); assert(verdict != DEAD || !HAS_READER(m)) };
    atomic {
      if
      :: verdict == DEAD || verdict == FREE -> unlock_writer(m); close_memory(m); goto gone
      :: else -> verdict = FREE
      fi
    }
#ifdef WITHOUT_LOCKING_BEFORE_JUDGING
    atomic {
      if
      :: memory[m].writer_lock == NONE -> memory[m].writer_lock = me
      :: else -> goto sleep
      fi
    }
#endif
    if
    :: whose != 0 -> claim_writer(m, whose, 0)
    :: else
    fi;
    whose = 0;
    claim_writer(m, 0, PID(me));
    atomic {
      if
      :: is_mine -> is_mine = false
      :: else -> unlock_writer(m); goto sleep
      fi
    }
    /* Whoever joins may have found the reader unknown. As the writer it asks once more, before the first frame. */
    atomic {
      if
#ifndef WITHOUT_STOPPING_AT_ANOTHER_PID
      :: memory[m].writer_pid != PID(me) && memory[m].writer_pid != 0 -> goto undo
#endif
      :: else ->
        INSERT(memory[m].writers, me);
        assert(ZEROING || intrusion || !HAS_OTHER_WRITER(m))
      fi
    }
    d_step { judge_reader(m, true); assert(verdict != DEAD || !HAS_READER(m)) };
    atomic {
      if
      :: verdict == DEAD || verdict == FREE || named != m -> verdict = FREE; goto undo
      :: else -> verdict = FREE
      fi
    }
    do
    :: atomic {
        looks > 0 -> looks--;
        /* restore: a refused writer of version 1 may have zeroed it */
        if
        :: memory[m].writer_pid == 0 -> memory[m].writer_pid = PID(me); memory[m].wrote_writer = me
        :: memory[m].writer_pid != 0 && memory[m].writer_pid != PID(me) ->
#ifdef WITHOUT_STOPPING_AT_ANOTHER_PID
          assert(!HAS_OTHER_WRITER(m))
#else
          break /* a writer of version 1 has taken the role */
#endif
        :: else -> assert(ZEROING || !PIDS_ARE_UNIQUE || !HAS_OTHER_WRITER(m))
        fi
      }
      was_named = (named == m);
      d_step {
        judge_reader(m, true);
        assert(verdict != DEAD || !HAS_READER(m));
        /* A dead reader is noticed: one of version 1 unless the kernel says that it is there, one of ours always. */
        assert(!(verdict == ALIVE && LEASE == ALWAYS_YES && memory[m].wrote_reader == V1_READER && !alive[V1_READER] &&
                 memory[m].reader_lock == NONE));
        assert(!(verdict == ALIVE && memory[m].wrote_reader <= READER_B && !HAS_READER(m) &&
                 (memory[m].reader_lock == NONE || !alive[memory[m].reader_lock])))
      }
      atomic {
        if
        :: verdict == DEAD || verdict == FREE || !was_named -> verdict = FREE; was_named = false; break
        :: else -> verdict = FREE; was_named = false
        fi
      }
    :: break
    od;

    REMOVE(memory[m].writers, me);
#ifdef WITHOUT_GIVING_THE_PID_UP_BEFORE_THE_LOCK
    unlock_writer(m);
#endif
    claim_writer(m, PID(me), 0);
#ifdef WITHOUT_UNLOCKING_BEFORE_POSTING
    posted[m] = HAS_READER(m);
#endif
    unlock_writer(m);
#ifndef WITHOUT_UNLOCKING_BEFORE_POSTING
    posted[m] = HAS_READER(m); /* otherwise nobody will take the token */
#endif
    atomic { is_mine = false; close_memory(m); goto gone };

  undo:
    REMOVE(memory[m].writers, me);
    claim_writer(m, PID(me), 0);
    atomic { is_mine = false; close_memory(m); unlock_writer(m); goto gone };

  sleep:
    atomic {
      if
      :: tries > 0 ->
        tries--;
        INSERT(asleep, me)
#ifndef WITHOUT_CLOSING_BEFORE_SLEEPING
        ; close_memory(m)
#endif
      :: else -> close_memory(m); goto gone
      fi
    }
    atomic {
      REMOVE(asleep, me);
#ifdef WITHOUT_CLOSING_BEFORE_SLEEPING
      goto lock
#else
      m = NONE;
      goto open
#endif
    }

  gone:
    end_process(me)
  } unless { !alive[me] };
  goto end_start
}

/* ---- our reader ------------------------------------------------------------------------------------------------- */

/* Locks the lock file of whoever makes or removes the buffer, or gives up. */
inline take_lock_file(makes_it) {
  atomic {
    if
    :: LOCK_FILE.holder == NONE ->
      LOCK_FILE.holder = me;
      was_there[me] = LOCK_FILE.exists;
      if
      :: makes_it && !LOCK_FILE.exists -> LOCK_FILE.made_with = made; LOCK_FILE.exists = true
      :: else
      fi
    :: else -> goto gone
    fi
  }
}

/* Gives new memory its name, exclusively, or gives up. */
inline link_memory() {
  if
  :: named == NONE && made < MEMORIES ->
    m = made;
    made++;
    named = m;
    open_memory(m);
    map_memory(m);
    memory[m].reader_pid = PID(me);
    memory[m].wrote_reader = me
  :: else -> goto gone
  fi
}

/* What WriterWatch.judge does: the control block first, and then the kernel. */
inline look_at_writer() {
  d_step {
    assert(named != m || semaphores == me || intrusion);
    whose = memory[m].writer_pid;
    its_mark = memory[m].mark;
    had_writer = had_writer || whose != 0;
    judged = memory[m].wrote_writer
  }
  d_step {
    is_locked = (memory[m].writer_lock != NONE);
    if
    :: whose != 0 ->
      judge_writer(m, whose, its_mark, is_locked, true);
#ifdef WITHOUT_THE_MARK
      seen_locked = (is_locked -> whose : seen_locked);
#define MARK_IS_SEEN true
#else
#define MARK_IS_SEEN (memory[m].mark == whose && its_mark == whose)
#endif
      /* A dead writer is noticed now: one of ours in any case, */
      assert(!(verdict != DEAD && !is_locked && memory[m].writer_pid == whose && memory[m].wrote_writer != NONE &&
               HAS(OUR_WRITERS, memory[m].wrote_writer) && !alive[memory[m].wrote_writer] && MARK_IS_SEEN));
      /* one of version 1 if the kernel tells, and nobody else is there. */
      assert(!(verdict != DEAD && !is_locked && memory[m].writer_pid == whose && LEASE == TRUTH &&
               memory[m].wrote_writer == V1_WRITER && !alive[V1_WRITER] && OTHERS(memory[m].opened) == 0));
      assert(verdict != DEAD || memory[m].writer_pid != whose || memory[m].wrote_writer != NONE)
    :: whose == 0 && had_writer && !is_locked -> verdict = FREE
#ifdef WITHOUT_LEAVING_THE_PID_TO_ITS_WRITER
    :: whose == 0 && had_writer && is_locked && memory[m].writer_lock != me ->
      verdict = ALIVE;
      memory[m].writer_pid = PID(memory[m].writer_lock) /* a refused v1 writer has zeroed it, the reader thinks */
#else
    :: whose == 0 && had_writer && is_locked -> verdict = ALIVE
#endif
    :: else -> verdict = ALIVE
    fi;
    is_locked = false;
    its_mark = 0
  }
}

proctype Reader(byte me) {
  byte m = NONE, whose, its_mark, looks, j;
#ifdef WITHOUT_THE_MARK
  byte seen_locked;
#endif
  mtype verdict = FREE;
  byte judged = NONE; /* truth: whose pid it was */
  bool is_visible, is_locked, is_mine, is_dead, had_writer;

end_start:
  atomic {
    starts[me] < MOST_STARTS(me) -> starts[me]++;
    alive[me] = true;
    m = NONE; whose = 0; its_mark = 0; looks = LOOKS; verdict = FREE; is_locked = false; is_mine = false;
    is_dead = false; judged = NONE; had_writer = false
#ifdef WITHOUT_THE_MARK
    ; seen_locked = 0
#endif
  }
  {
    take_lock_file(true);
    atomic {
      if
      :: named == NONE -> goto create
      :: else -> m = named; open_memory(m)
      fi
    }

    /* the name is taken */
#ifndef WITHOUT_LOCKING_WHAT_HAS_THE_NAME
    atomic {
      if
      :: memory[m].reader_lock == NONE && named == m -> memory[m].reader_lock = me
      :: else -> goto gone
      fi
    }
#endif
    d_step {
      judge_last_reader(m);
#ifdef WITHOUT_KEEPING_AN_UNKNOWN_READER
      verdict = (verdict == UNKNOWN -> DEAD : verdict);
#endif
      assert(verdict != DEAD || OTHERS(memory[m].readers) == 0) /* nobody replaces a living reader */
    }
    atomic {
      if
      :: verdict == DEAD && named == m -> verdict = FREE
      :: else -> goto gone
      fi
    }
    atomic { /* it goes by name. A v1 reader may have left and another one come: their race */
      assert(named == NONE || (OTHERS(memory[named].readers) & OUR_READERS) == 0);
      named = NONE
    }
    atomic { unlock_reader(m); close_memory(m); m = NONE };

  create:
#ifdef WITHOUT_MEMORY_BEFORE_SEMAPHORES
    atomic {
      if
      :: named == NONE -> semaphores = NONE
      :: else -> goto gone
      fi
    }
    atomic {
      if
      :: semaphores == NONE -> semaphores = me
      :: else -> goto gone
      fi
    }
#endif
    atomic { /* it is filled and locked before it has its name */
      link_memory();
      memory[m].is_locking = true
#ifndef WITHOUT_LOCKING_NEW_MEMORY
      ; memory[m].reader_lock = me
#endif
    }
#ifdef WITHOUT_LOCKING_NEW_MEMORY
    atomic {
      if
      :: memory[m].reader_lock == NONE -> memory[m].reader_lock = me
      :: else -> goto gone
      fi
    }
#endif
#ifndef WITHOUT_MEMORY_BEFORE_SEMAPHORES
    semaphores = NONE; /* leftovers */
    semaphores = me;
#endif
    d_step {
      INSERT(memory[m].readers, me);
      memory[m].is_valid = true;
      assert(intrusion || named == m);             /* nobody has taken its name away while it began, */
      assert(named != m || semaphores == me);      /* nor its semaphores, without which nobody can connect */
      j = 0;
      do
      :: j < MEMORIES ->
        assert(intrusion || j == m || (memory[j].readers & OUR_READERS) == 0); /* no two readers of the name */
        j++
      :: else -> break
      od;
      j = 0
    }

    do
    :: atomic {
        looks > 0 && (SLICES || posted[m]) -> looks--;
        had_writer = had_writer || posted[m];
        posted[m] = false
      }
      look_at_writer();
      if
      :: verdict == DEAD -> look_at_writer() /* it may have left, and ended, between the two steps */
      :: else
      fi;
      if
      :: verdict == DEAD || verdict == FREE ->
        /* In its place, the reader settles what it has left half done. */
        is_dead = (verdict == DEAD);
#ifndef WITHOUT_LOCKING_TO_SETTLE
        atomic {
          if
          :: memory[m].writer_lock == NONE -> memory[m].writer_lock = me
          :: else -> goto next /* there is a writer after all, or another one */
          fi
        }
#endif
        d_step {
#ifdef WITHOUT_JUDGING_UNDER_THE_LOCK
          is_mine = true;
#else
          is_mine = (memory[m].writer_pid == whose);
          judged = memory[m].wrote_writer;
          if
          :: is_mine && whose != 0 ->
            judge_writer(m, whose, memory[m].mark, false, true);
            is_mine = (verdict == DEAD)
          :: else
          fi;
#endif
          /* No living writer is reported as dead, nor one that has left. */
          assert(!is_mine || !is_dead || judged == NONE ||
                 (!HAS(memory[m].writers, judged) && !HAS(memory[m].left, judged)));
          is_dead = false;
          judged = NONE
        }
        atomic {
          if
          :: is_mine
          :: else -> unlock_writer(m); goto next
          fi
        }
        claim_writer(m, whose, PID(me));
        if
        :: is_mine
        :: else -> goto report /* a writer of version 1, which knows no locks, has taken the place */
        fi;
#ifdef WITHOUT_SWAPPING_THE_PID_BACK
        atomic {
          assert(!HAS_WRITER(m));
          memory[m].writer_pid = 0;
          memory[m].wrote_writer = NONE;
          memory[m].mark = 0
        }
#else
        claim_writer(m, PID(me), 0);
#endif
  report:
        atomic { unlock_writer(m); had_writer = false }
      :: else
      fi;
  next:
      atomic {
        verdict = FREE; whose = 0; is_mine = false; is_dead = false; judged = NONE;
        if
        :: named != m -> goto gone /* it was removed */
        :: else
        fi
      }
    :: SLICES || !had_writer -> break
    od;

    REMOVE(memory[m].readers, me);
    atomic { memory[m].reader_pid = 0; memory[m].wrote_reader = NONE };
#ifdef WITHOUT_LOCKING_WHAT_HAS_THE_NAME
    unlock_reader(m);
#endif
#ifndef WITHOUT_MEMORY_BEFORE_SEMAPHORES
    atomic {
      if
      :: named == m && semaphores == me -> semaphores = NONE
      :: else
      fi
    }
#endif
    atomic {
      if
      :: named == m
      :: else -> goto gone
      fi
    }
    atomic { /* it goes by name */
      assert(named == NONE || (memory[named].readers & OUR_READERS) == 0 || intrusion);
      named = NONE
    }
#ifdef WITHOUT_MEMORY_BEFORE_SEMAPHORES
    semaphores = (semaphores == me -> NONE : semaphores);
#endif
    atomic { LOCK_FILE.exists = false; LOCK_FILE.holder = NONE };
    unlock_reader(m);
  gone:
    end_process(me)
  } unless { !alive[me] };
  goto end_start
}

/* ---- peers of version 1 ----------------------------------------------------------------------------------------- */

proctype V1Writer(byte me) {
  byte m = NONE, j;
  bool is_visible;

end_start:
  atomic { starts[me] < MOST_STARTS(me) -> starts[me]++; alive[me] = true; m = NONE };
  {
    atomic {
      if
      :: named != NONE && memory[named].is_valid -> m = named; open_memory(m); map_memory(m)
      :: else -> goto gone
      fi
    }
    atomic {
      d_step { look_for(m, memory[m].reader_pid, false) };
      if
      :: memory[m].reader_pid != 0 && (is_visible || !ASKING) -> is_visible = false
      :: else -> goto gone
      fi
    }
    atomic { /* check and store: nobody can repair what happens in between */
      d_step { look_for(m, memory[m].writer_pid, false) };
      if
      :: memory[m].writer_pid != 0 && is_visible -> goto refused
      :: else -> is_visible = false
      fi;
      intrusion = intrusion || (memory[m].writers & OUR_WRITERS) != 0 ||
                  (memory[m].wrote_writer != NONE && HAS(OUR_WRITERS, memory[m].wrote_writer) &&
                   alive[memory[m].wrote_writer]);
      memory[m].writer_pid = PID(me);
      memory[m].wrote_writer = me;
      REMOVE(memory[m].left, me);
      INSERT(memory[m].writers, me)
    }
    REMOVE(memory[m].writers, me);
    atomic { memory[m].writer_pid = 0; memory[m].wrote_writer = NONE; INSERT(memory[m].left, me); goto gone };

  refused:
#if ZEROING
    atomic { memory[m].writer_pid = 0; memory[m].wrote_writer = NONE };
#endif
  gone:
    atomic { is_visible = false; end_process(me) }
  } unless { !alive[me] };
  goto end_start
}

proctype V1Reader(byte me) {
  byte m = NONE, j;

end_start:
  atomic { starts[me] < MOST_STARTS(me) -> starts[me]++; alive[me] = true; m = NONE };
  {
    take_lock_file(true);
    atomic {
      if
      :: semaphores == NONE -> link_memory()
      :: else -> goto gone
      fi;
      semaphores = me;
      memory[m].is_valid = true;
      INSERT(memory[m].readers, me)
    }
    if
    :: true
    :: goto gone /* it ends without a word */
    fi;
    REMOVE(memory[m].readers, me);
    atomic { memory[m].reader_pid = 0; memory[m].wrote_reader = NONE };
    atomic {
      named = (named == m -> NONE : named);
      semaphores = (semaphores == me -> NONE : semaphores);
      LOCK_FILE.exists = false
    }
  gone:
    end_process(me)
  } unless { !alive[me] };
  goto end_start
}

/* ---- others ----------------------------------------------------------------------------------------------------- */

proctype Cleaner(byte me) {
  byte m = NONE, j;
#ifdef WITHOUT_THE_MARK
  byte seen_locked;
#endif
  mtype verdict = FREE;
  bool is_visible;

end_start:
  atomic {
    starts[me] < MOST_STARTS(me) -> starts[me]++;
    alive[me] = true;
    m = NONE; verdict = FREE
  }
  {
    take_lock_file(false);
    atomic {
      if
      :: named == NONE -> goto gone
      :: else -> m = named; open_memory(m)
      fi
    }
#ifndef WITHOUT_LOCKING_WHAT_HAS_THE_NAME
    atomic {
      if
      :: memory[m].reader_lock == NONE -> memory[m].reader_lock = me
      :: else -> goto gone
      fi
    }
    atomic {
      if
      :: memory[m].writer_lock == NONE -> memory[m].writer_lock = me
      :: else -> goto gone
      fi
    }
    atomic {
      if
      :: named == m
      :: else -> goto gone
      fi
    }
#endif
    d_step {
#if LEASE == TRUTH
      verdict = (OTHERS(memory[m].opened) == 0 -> DEAD : UNKNOWN);
#elif CAN_ASK
      verdict = UNKNOWN;
#else
      judge_last_reader(m);
      if
      :: verdict == DEAD ->
        judge_writer(m, memory[m].writer_pid, memory[m].mark, IS_LOCKED_BY_OTHERS(memory[m].writer_lock), false);
        verdict = (verdict == FREE -> DEAD : verdict)
      :: else
      fi;
#endif
#ifdef WITHOUT_KEEPING_WHAT_IS_OPEN
      verdict = DEAD;
#endif
      assert(verdict != DEAD || !(HAS_READER(m) || HAS_WRITER(m))) /* nobody who lives is removed */
    }
    atomic {
      if
      :: verdict == DEAD && named == m -> verdict = FREE
      :: else -> goto gone
      fi
    }
#ifndef WITHOUT_MEMORY_BEFORE_SEMAPHORES
    semaphores = NONE;
#endif
    atomic { /* it goes by name */
      assert(named == NONE || ((memory[named].readers & OUR_READERS) == 0 && (memory[named].writers & OUR_WRITERS) == 0));
      named = NONE
    }
#ifdef WITHOUT_MEMORY_BEFORE_SEMAPHORES
    atomic {
      if
      :: named == NONE
      :: else -> goto gone
      fi
    }
    semaphores = NONE;
#endif
  gone:
    end_process(me)
  } unless { !alive[me] };
  goto end_start
}

proctype Viewer(byte me) {
  byte m, j;
end:
  do
  :: atomic {
      named != NONE && starts[me] < MOST_STARTS(me) ->
      starts[me]++;
      alive[me] = true;
      m = named;
      open_memory(m)
    }
    end_process(me)
  :: starts[me] == MOST_STARTS(me) -> break
  od
}

/* Once all are dead: a new reader of ours in another container has to get the name. It is the viewer, which has no role. */
proctype Survivor(byte me) {
  byte m, j;
#ifdef WITHOUT_THE_MARK
  byte seen_locked;
#endif
  mtype verdict = FREE;
  bool is_visible;

  timeout;
  d_step {
    j = 0;
    do
    :: j < PROCESSES -> assert(!alive[j]); j++
    :: else -> break
    od;
    if
    :: named != NONE ->
      m = named;
      open_memory(m);
      judge_last_reader(m);
      /* Only a v1 reader can keep it from that, if the kernel may not be asked. */
      assert(verdict == DEAD || (verdict == UNKNOWN && LEASE != TRUTH && !memory[m].is_locking))
    :: else
    fi
  }
}

#if KILLS > 0
#define KILL(process) \
  atomic { kills > 0 && TAKES_PART(process) && alive[process] -> kills--; end_process(process) }

proctype Killer() {
  byte j;
end:
  do
  :: KILL(READER_A)
  :: KILL(READER_B)
  :: KILL(WRITER_A)
  :: KILL(WRITER_B)
  :: KILL(V1_WRITER)
  :: KILL(V1_READER)
  :: KILL(CLEANER)
  od
}
#endif

#define START(process, type) \
  if \
  :: TAKES_PART(process) -> run type(process) \
  :: else \
  fi

init {
  byte i;
  atomic {
    do
    :: i < PROCESSES -> lock_file[i].holder = NONE; lock_file[i].made_with = NONE; i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < MEMORIES ->
      memory[i].writer_lock = NONE;
      memory[i].reader_lock = NONE;
      memory[i].wrote_writer = NONE;
      memory[i].wrote_reader = NONE;
      i++
    :: else -> break
    od;
    i = 0;
    START(READER_A, Reader);
    START(READER_B, Reader);
    START(WRITER_A, Writer);
    START(WRITER_B, Writer);
    START(V1_WRITER, V1Writer);
    START(V1_READER, V1Reader);
    START(CLEANER, Cleaner);
    START(VIEWER, Viewer);
#if KILLS > 0
    run Killer();
#endif
    run Survivor(VIEWER)
  }
}

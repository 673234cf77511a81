/* Shared payloads, as sharing.c, descriptors.c and their callers in TypeScript handle them (docs/protocol.md, section 10). The
 * forwarder reads a source S and writes to one or two targets T. A frame of S goes to T as a copy, or as a descriptor: then
 * T's reader reads its bytes in S's memory. S counts in cells of one frame each. T counts in units: a descriptor and an
 * attachment take one, a copy takes COPY. Positions and wraps are in ring.pml; locks and pids are in roles.pml. Each access to
 * shared memory is a step.
 *
 * run.ts defines a configuration:
 *   TARGETS        1 or 2
 *   PS, PT, COPY   cells of S; units of T; units of a copy
 *   HOLD_F, HOLD_T frames that the forwarder's program and the reader of a target hold at the most
 *   LIMIT          frames that a target may hold before the forwarder waits; 0: any number
 *   LOOK           tokens that the reader of a target takes at once, at the most
 *   SLICES         waits end without a token: 0 never, 1 when nothing else can happen, 2 at any moment
 *   KILL_S, KILL_F, KILL_T  how often the writer of S, the forwarder, the reader of a target is killed, at any step
 *   LEAVE_S        how often the writer of S leaves, and another one comes
 *   LEAVE_T        how often the forwarder closes its SharedWriter of target 0, and another one may come
 *   CLOSE_F, CLOSE_T  whether the forwarder, and the reader of a target, closes at some moment
 *   TAKE_BACK      how often the forwarder takes its attachment of target 0 back; it may attach again
 *   SECOND         how often the forwarder closes its reader of S and reads another source; its writer of target 0 stays
 *   OTHER          frames that another forwarder writes to target 0 after ours has left it
 *   LOST, SURPLUS  how many tokens vanish, or come from nowhere
 *   ANY_ORDER      frames are passed on in any order, as answers of a duplex server are
 *   ACCEPTS        the reader of a target refuses only a source that it cannot map
 *   ATTACHED       the attachments have been accepted before it begins
 *   COARSE         some steps are taken together; they are apart in other configurations
 *   NUMBERS        frames are numbered 1 to NUMBERS, over and over: bytes and order are compared as well
 * and WITHOUT_… takes a rule away. */

#define MAY(budget) (budget > 0)
#define SPEND(budget) budget--
#define MIN(a, b) ((a) < (b) -> (a) : (b))

/* Who has a reference to a cell, or may read it, as a set. */
#define PROGRAM 1 /* the forwarder's program. It has each frame that is not read yet as well */
#define TARGET(t) (2 << (t))
#define READER_BEHIND 8 /* a reader to which that of target 0 has passed the frame on (WITHOUT_COPYING_WHAT_CAME_SHARED) */

/* Who is the writer of a target. */
#define FORWARDER 1
#define OTHER_FORWARDER 2

#define REFUSED 8 /* in an answer: beside the id */

/* A descriptor in the ring of a target: the id of its attachment, and the cell. */
#define PLACE(id, cell) ((id) * PS + (cell))
#define ID_OF(place) ((place) / PS)
#define CELL_OF(place) ((place) % PS)

#if SECOND > 0
/* What lies in the memory of an earlier source stays as it is. */
#define IS_IN_S(place) (ID_OF(place) > SECOND - second)
#else
#define IS_IN_S(place) true
#endif

#ifdef ATTACHED
#define FIRST_ID 1
#else
#define FIRST_ID 0
#endif

#ifdef COARSE
#define STEPS atomic
#else
#define STEPS
#endif

#if SLICES == 0
#define SLICE false
#elif SLICES == 1
#define SLICE timeout
#else
#define SLICE true
#endif

#define MOST_W (2 * PT + 4)
/* A count beyond what was sent, to whichever source. */
#define MOST_RELEASED (PS + PT + 1)

mtype = { ATTACHMENT, DESCRIPTOR, COPIED, OTHERS_DESCRIPTOR }

/* ---- what the processes share ----------------------------------------------------------------------------------- */

byte S_free = PS, S_W, S_R;
byte S_position;                        /* the cell that is written next */
byte S_content[PS] = 1;                 /* the number of the frame whose bytes are there */
bool S_writer, S_reader = true;         /* their pids */
bool S_is_named = true;

byte T_free[TARGETS] = PT, T_W[TARGETS], T_R[TARGETS];
byte T_writer[TARGETS] = FORWARDER;
bool T_reader[TARGETS] = true;
byte T_answer[TARGETS] = FIRST_ID;
byte T_released[TARGETS]; /* released_descriptors, less what the forwarder has noted of it, for fewer states */
chan T_ring[TARGETS] = [PT] of { mtype, byte, byte }; /* kind, place or id, number */

/* ---- the truth to compare with, which no process sees ----------------------------------------------------------- */

byte readers_of[PS]; /* who may still read the bytes of a cell */
bool source_lives, forwarder_lives = true, target_lives[TARGETS] = true, target_reads[TARGETS] = true;
bool other_comes = (OTHER > 0);
bool over; /* no writer of S comes any more */
bool kill_source, kill_forwarder, kill_target[TARGETS];
byte kill_s = KILL_S, kill_f = KILL_F, kill_t = KILL_T, lost = LOST, surplus = SURPLUS;
byte leave_s = LEAVE_S, leave_t = LEAVE_T, close_f = CLOSE_F, close_t = CLOSE_T, take_back = TAKE_BACK;
#if SECOND > 0
byte second = SECOND;
bool is_replaced; /* another source is being made */
#else
#define is_replaced false
#endif

inline post_S_W() { S_W = MIN(S_W + 1, PS + 3) }
/* A writer takes all tokens or waits for one, so that one is as good as several. */
inline post_S_R() { S_R = 1 }
inline post_T_W(t) { d_step { assert(T_W[t] < MOST_W); T_W[t]++ } }
inline post_T_R(t) { T_R[t] = 1 }

/* ---- the writer of S -------------------------------------------------------------------------------------------- */

#define NO_FORWARDER (!S_reader || !forwarder_lives)

/* It may be of version 1: it knows nothing of sharing. */
active proctype Source() {
  byte number = 1;

next_writer:
  {
    (S_free == PS || NO_FORWARDER); /* a second writer waits for an empty ring */
    atomic { S_writer = true; source_lives = true };
  next_frame:
    atomic {
      if
      :: !S_reader -> goto ended
      :: !forwarder_lives && SLICES > 0 -> goto ended
      :: S_free > 0 ->
        assert(readers_of[S_position] == 0); /* nobody reads what is overwritten */
        S_content[S_position] = number;
        goto publish
      :: S_free == 0 && !NO_FORWARDER -> goto wait
      :: MAY(leave_s) -> goto leave
      fi
    }
  wait:
    if
    :: atomic { S_R > 0 -> S_R = 0 }
    :: SLICE
    fi;
    goto next_frame;
  publish:
  progress:
    STEPS {
      d_step {
        assert(readers_of[S_position] == 0 && S_free > 0);
        readers_of[S_position] = PROGRAM;
        S_free--;
        S_position = (S_position + 1) % PS;
#ifdef NUMBERS
        number = number % NUMBERS + 1
#endif
      };
      post_S_W()
    };
    goto next_frame;
  leave:
    SPEND(leave_s);
    S_writer = false;
    post_S_W()
  } unless { kill_source };
ended:
  atomic { source_lives = false; kill_source = false };
  (!is_replaced || !forwarder_lives);
  if
  :: !NO_FORWARDER && (KILL_S > 0 || LEAVE_S > 0 || SECOND > 0) -> goto next_writer
  :: else -> atomic { over = true; S_position = 0; number = 0 }
  fi
}

/* ---- writing to T ----------------------------------------------------------------------------------------------- */

#define UNITS(kind) (kind == COPIED -> COPY : 1)

inline publish(t, kind, what, number) {
  d_step {
    assert(T_free[t] >= UNITS(kind));
    T_ring[t]!kind, what, number;
    T_free[t] = T_free[t] - UNITS(kind)
  }
}

/* ---- the forwarder: reader of S, writer of each T ---------------------------------------------------------------- */

mtype = { OPEN, CLOSED, GONE } /* its writer of a target. GONE: the target has no reader any more */

/* Of an attachment: each has a new one. */
#if SECOND > 0
#define ID(t) (1 + SECOND - second)
#else
#define ID(t) ((t) == 0 -> 1 + LEAVE_T - leave_t + TAKE_BACK - take_back : 1)
#endif
/* Whether a frame may go to a target as a descriptor. */
#define MAY_SHARE(t) (has_asked[t] && T_answer[t] == ID(t))
#define HAS_ROOM(t, units) (T_free[t] >= (units) && (LIMIT == 0 || references[t] < LIMIT))

#define UNREAD (PS - S_free - held)

inline send(t, kind, what, number) {
#ifdef WITHOUT_A_COUNTER
  d_step {
    if
    :: references[t] == 0 -> sent_units[t] = PT - T_free[t]; credited_units[t] = 0
    :: else
    fi;
    sent_units[t] = (sent_units[t] + UNITS(kind)) % 16
  };
#endif
  publish(t, kind, what, number)
}

/* Gives back the frames without references, as far as no older one has any: one addition, then the posts. */
inline credit() {
  d_step {
    c = 0;
    do
    :: held > 0 && refs[oldest] == 0 -> oldest = (oldest + 1) % PS; held--; c++
    :: else -> break
    od
  }
  if
  :: c > 0 ->
    STEPS {
      d_step { assert(S_free + c <= PS); S_free = S_free + c; c = 0 };
      post_S_R()
    }
  :: else
  fi
}

/* Drops the `c` oldest references of a target. */
inline drop(u) {
  do
  :: c > 0 ->
    c--;
    refs[sent[(u) * PS]] = refs[sent[(u) * PS]] & ~TARGET(u);
    i = 1;
    do
    :: i < PS ->
      sent[(u) * PS + i - 1] = sent[(u) * PS + i];
#ifdef WITHOUT_A_COUNTER
      ends[(u) * PS + i - 1] = ends[(u) * PS + i];
#endif
      i++
    :: else -> break
    od;
    sent[(u) * PS + PS - 1] = 0;
    references[u]--;
    i = 0
  :: else -> break
  od
}

/* Passes nothing on to a target any more. */
inline stop_passing_on(u) {
  i = 0;
  do
  :: i < PS -> todo[i] = todo[i] & ~TARGET(u); i++
  :: else -> break
  od;
  i = 0
}

/* The reader of a target has left or died: all references are dropped. */
inline give_up(u) {
  c = references[u];
  drop(u);
  earlier[u] = 0;
  assert(T_released[u] == 0); /* a look at the count after this would find too many */
  state[u] = GONE;
  stop_passing_on(u)
}

/* Forgets all frames: the reader of S is closed, or dies. */
inline forget_frames() {
  i = 0;
  do
  :: i < PS -> readers_of[i] = readers_of[i] & ~PROGRAM; refs[i] = 0; todo[i] = 0; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < TARGETS * PS -> sent[i] = 0; i++
  :: else -> break
  od;
  i = 0;
  oldest = 0; held = 0; mine = 0
}

#ifdef WITHOUT_SPARING_LATER_COUNTS
#define IS_LATER_COUNT(u) false
#else
#define IS_LATER_COUNT(u) (state[u] == CLOSED)
#endif

/* How many references of a target are released, as `c`. */
inline count_released(u) {
#ifdef WITHOUT_A_COUNTER
  /* Which units of T are credited tells which frames are released. */
  T_released[u] = 0;
  c = 0;
  i = (sent_units[u] + 16 - PT + T_free[u]) % 16;
  assert(references[u] == 0 || (i + 16 - credited_units[u]) % 16 < 8); /* CORRUPT_BUFFER */
  credited_units[u] = (references[u] > 0 -> i : 0);
  do
  :: c < references[u] && (i + 16 - ends[(u) * PS + c]) % 16 < 8 -> c++
  :: else -> break
  od;
  i = 0
#else
  c = T_released[u];
  T_released[u] = 0;
  assert(c <= earlier[u] + references[u] || IS_LATER_COUNT(u)); /* CORRUPT_BUFFER */
  i = MIN(c, earlier[u]);
  earlier[u] = earlier[u] - i;
  c = MIN(c - i, references[u]);
  i = 0
#endif
}

/* Notes what a target has released, and whether its reader has left. That is loaded first: then the count is the last one. */
inline collect(u) {
  if
  :: state[u] == OPEN || references[u] > 0 ->
    STEPS {
#ifndef WITHOUT_LOOKING_BEFORE_COUNTING
      has_left = !T_reader[u];
#endif
      d_step { count_released(u); drop(u) };
#ifdef WITHOUT_LOOKING_BEFORE_COUNTING
      has_left = !T_reader[u];
#endif
      d_step {
        if
        :: has_left && references[u] > 0 -> give_up(u)
        :: else
        fi;
        has_left = false
      }
    };
    credit()
  :: else
  fi
}

/* At the end of a slice. */
inline look_at_reader(u) {
  if
#ifndef WITHOUT_DROPPING_AT_DEATH
  :: references[u] > 0 && !target_lives[u] ->
    d_step {
#ifndef WITHOUT_NOTING_THE_LAST_COUNT
      T_released[u] = 0;
#endif
      give_up(u)
    };
    credit()
#endif
  :: else
  fi
}

#if TARGETS > 1
#define EACH_TARGET(what) what(0); what(1)
#define ANY_TARGET(condition) (condition(0) || condition(1))
#define REFERENCES (references[0] + references[1])
#else
#define EACH_TARGET(what) what(0)
#define ANY_TARGET(condition) condition(0)
#define REFERENCES references[0]
#endif

#ifdef WITHOUT_LEAVING_R_ALONE
#define WAITS_FOR_R(u) (references[u] > 0)
#define FINDS_BY_LOOKING(u) false
#else
/* Once it has left T, the tokens of R are the next writer's: then it looks from time to time. A look that finds nothing
 * changes nothing. */
#define WAITS_FOR_R(u) (references[u] > 0 && state[u] == OPEN)
#define FINDS_BY_LOOKING(u) (references[u] > 0 && state[u] != OPEN && (T_released[u] > 0 || !T_reader[u]))
#endif

inline take_R(u) { d_step { assert(T_writer[u] != OTHER_FORWARDER); T_R[u] = 0 } }

/* Before each sleep: tokens first, so that a release after the look leaves a token to wake by. */
inline prepare(u) {
  if
  :: references[u] > 0 ->
    STEPS {
#ifdef WITHOUT_TOKENS_BEFORE_COLLECTING
      collect(u);
#endif
      if
      :: WAITS_FOR_R(u) -> take_R(u)
      :: else
      fi;
#ifndef WITHOUT_TOKENS_BEFORE_COLLECTING
      collect(u)
#endif
    }
  :: else
  fi
}

#ifdef WITHOUT_COLLECTING_WITHOUT_A_WRITER
#define COLLECTS S_writer
#else
#define COLLECTS true
#endif
#ifdef WITHOUT_WAITING_FOR_R
#define IS_WOKEN_BY(u) false
#else
#define IS_WOKEN_BY(u) (COLLECTS && WAITS_FOR_R(u) && T_R[u] > 0)
#endif

active proctype Forwarder() {
  byte refs[PS];           /* of each cell: who has a reference to it */
  byte todo[PS];           /* the targets to which it is still to be passed on */
  byte oldest, held, mine; /* cells read and not given back, from the oldest one on; frames that the program has */
  byte sent[TARGETS * PS], references[TARGETS]; /* cells of the descriptors that a target has not released, in order */
  byte earlier[TARGETS];   /* descriptors of earlier sources that it has not released */
  mtype state[TARGETS] = OPEN;
  bool has_asked[TARGETS] = (FIRST_ID != 0), has_left, shares, has_emptied_R; /* R was emptied before this look for room */
  byte t, c, i, cell;
#ifdef WITHOUT_A_COUNTER
  byte sent_units[TARGETS], credited_units[TARGETS], ends[TARGETS * PS]; /* modulo 16 */
#endif

  {
    skip;
  next:
    atomic {
      t = 0; i = 0; cell = 0;
      if
      :: mine > 0 ->
        cell = oldest;
#ifdef ANY_ORDER
        if
        :: mine > 1 -> i = 1
        :: true
        fi;
#endif
        do
        :: (refs[cell] & PROGRAM) && i == 0 -> break
        :: (refs[cell] & PROGRAM) && i > 0 -> i--; cell = (cell + 1) % PS
        :: !(refs[cell] & PROGRAM) -> cell = (cell + 1) % PS
        od;
        if
        :: todo[cell] & TARGET(0) -> goto pass_on
#if TARGETS > 1
        :: todo[cell] & TARGET(1) -> t = 1; goto pass_on
#endif
        :: todo[cell] == 0 -> goto give_back
        fi
      :: mine < HOLD_F && held < PS && S_W > 0 -> S_W--; goto look
      :: mine == 0 -> goto wait_for_frame
      :: state[0] == OPEN && !has_asked[0] -> goto attach
#if TARGETS > 1
      :: state[1] == OPEN && !has_asked[1] -> t = 1; goto attach
#endif
      :: MAY(take_back) && state[0] == OPEN && has_asked[0] -> goto take_attachment_back
      :: MAY(leave_t) && state[0] == OPEN -> goto leave_target
      :: state[0] == CLOSED && T_writer[0] == 0 && T_free[0] == PT && T_reader[0] -> goto connect_again
#if SECOND > 0
      :: MAY(second) && state[0] == OPEN -> goto another_source
#endif
      :: MAY(close_f) -> goto close
      fi
    }

  give_back: /* the program's own reference */
    atomic {
      refs[cell] = refs[cell] & ~PROGRAM;
      readers_of[cell] = readers_of[cell] & ~PROGRAM;
#ifdef WITHOUT_REFERENCES
      refs[cell] = 0;
#endif
      mine--;
      cell = 0
    }
    credit();
    goto next;

  /* ---- a frame from S */

  wait_for_frame:
    if
    :: atomic { S_W > 0 -> S_W--; goto look }
    :: else
    fi;
    if
    :: COLLECTS -> EACH_TARGET(prepare)
    :: else
    fi;
  sleep:
    if
    :: S_W > 0 -> goto next
    :: ANY_TARGET(IS_WOKEN_BY) -> goto wait_for_frame
    :: ANY_TARGET(FINDS_BY_LOOKING) -> goto wait_for_frame
    :: SLICE -> EACH_TARGET(look_at_reader)
    :: over && S_W == 0 && UNREAD == 0 && REFERENCES == 0 -> goto close
    fi;
  look:
    atomic {
      if
      :: UNREAD > 0 ->
        cell = (oldest + held) % PS;
        held++;
        mine++;
        assert(readers_of[cell] == PROGRAM);
        refs[cell] = PROGRAM;
        todo[cell] = (state[0] == OPEN -> TARGET(0) : 0);
#if TARGETS > 1
        todo[cell] = todo[cell] | (state[1] == OPEN -> TARGET(1) : 0)
#endif
      :: else /* a surplus token */
      fi;
      goto next
    }

  /* ---- a frame to T */

  attach: /* if there is room now */
    collect(t);
    atomic {
      if
      :: !HAS_ROOM(t, 1) || !T_reader[t] || state[t] != OPEN -> goto next
      :: else -> has_asked[t] = true; send(t, ATTACHMENT, ID(t), 0); goto post
      fi
    }
  take_attachment_back:
    collect(t);
    atomic {
      if
      :: !HAS_ROOM(t, 1) || !T_reader[t] || state[t] != OPEN -> goto next
      :: else -> SPEND(take_back); has_asked[t] = false; send(t, ATTACHMENT, 0, 0)
      fi
    }
  post:
    atomic { post_T_W(t); goto next };

  pass_on:
    STEPS { shares = MAY_SHARE(t); collect(t) };
  find_room:
    atomic {
      if
      :: state[t] == GONE -> shares = false; has_emptied_R = false; goto next
      :: state[t] != GONE && !T_reader[t] ->
        state[t] = GONE;
        shares = false;
        has_emptied_R = false;
        d_step { stop_passing_on(t) };
        goto next
      :: state[t] != GONE && T_reader[t] && HAS_ROOM(t, (shares -> 1 : COPY)) -> has_emptied_R = false; goto write
      :: else
      fi;
      if
      :: has_emptied_R -> has_emptied_R = false; goto wait_for_room
      :: else -> has_emptied_R = true
      fi
    }
    STEPS { take_R(t); EACH_TARGET(prepare) };
    goto find_room;
  write:
    STEPS {
      atomic {
        if
        :: shares && !MAY_SHARE(t) -> goto pass_on
        :: shares && MAY_SHARE(t) ->
          send(t, DESCRIPTOR, PLACE(ID(t), cell), S_content[cell]);
          refs[cell] = refs[cell] | TARGET(t);
          readers_of[cell] = readers_of[cell] | (target_reads[t] -> TARGET(t) : 0);
          sent[t * PS + references[t]] = cell;
#ifdef WITHOUT_A_COUNTER
          ends[t * PS + references[t]] = sent_units[t];
#endif
          references[t]++;
          shares = false
        :: !shares -> send(t, COPIED, 0, S_content[cell])
        fi;
        todo[cell] = todo[cell] & ~TARGET(t)
      };
      post_T_W(t)
    };
#ifndef COARSE
    if
    :: T_R[t] > 0 -> take_R(t) /* once in so many frames */
    :: true
    fi;
#endif
    goto next;

  wait_for_room:
    if
    :: T_R[t] > 0 -> goto find_room
    :: ANY_TARGET(IS_WOKEN_BY) -> goto find_room
    :: ANY_TARGET(FINDS_BY_LOOKING) -> goto find_room
    :: SLICE -> EACH_TARGET(look_at_reader)
    fi;
    atomic {
      if
      :: target_lives[t] -> goto pass_on
      :: else -> state[t] = GONE; shares = false; d_step { stop_passing_on(t) }; goto next
      fi
    }

  /* ---- endings */

  leave_target: /* SharedWriter.close() */
    atomic {
      SPEND(leave_t);
      state[t] = CLOSED;
      has_asked[t] = false;
      d_step { stop_passing_on(t) };
      T_writer[t] = 0
    }
#ifdef WITHOUT_KEEPING_REFERENCES_ON_CLOSE
    atomic { c = references[t]; drop(t) };
    credit();
#endif
    goto post;

  connect_again: /* another SharedWriter. It waits for an empty ring, as every second writer does */
    collect(t);
    assert(references[t] == 0); /* what is credited has been counted */
    atomic {
      if
      :: T_writer[t] == 0 && T_free[t] == PT && T_reader[t] ->
        T_writer[t] = FORWARDER;
        T_W[t] = 0;
        state[t] = OPEN;
#ifndef WITHOUT_NOTING_THE_COUNT_AT_FIRST
        T_released[t] = 0
#endif
      :: else
      fi;
      goto next
    }

#if SECOND > 0
  another_source: /* Writer with requestPayloadSharing, whose source is closed: it takes its attachment back, and stays */
    atomic {
      is_replaced = true;
      if
      :: has_asked[0] && HAS_ROOM(0, 1) && T_reader[0] -> send(0, ATTACHMENT, 0, 0); post_T_W(0)
      :: else
      fi
    };
    d_step {
      SPEND(second);
      has_asked[0] = false;
#ifndef WITHOUT_COUNTING_FOR_EARLIER_SOURCES
      earlier[0] = earlier[0] + references[0];
#endif
      references[0] = 0;
      forget_frames()
    };
    S_reader = false;
    post_S_R();
    atomic { /* the memory of the next source. Nobody writes to that of the last one any more */
      !source_lives;
      S_free = PS; S_W = 0; S_R = 0; S_position = 0;
      d_step {
        do
        :: i < PS -> readers_of[i] = 0; S_content[i] = 1; i++
        :: else -> break
        od;
        i = 0
      };
#ifdef WITHOUT_COUNTING_FOR_EARLIER_SOURCES
      T_released[0] = 0;
#endif
      S_reader = true;
      is_replaced = false;
      goto next
    };
#endif

  close: /* its SharedWriters, then S */
    atomic {
      close_f = 0;
      t = 0;
      if
      :: state[0] == OPEN -> T_writer[0] = 0; post_T_W(0)
      :: else
      fi
    }
#if TARGETS > 1
    atomic {
      if
      :: state[1] == OPEN -> T_writer[1] = 0; post_T_W(1)
      :: else
      fi
    }
#endif
    S_reader = false;
    post_S_R();
#ifdef WITHOUT_KEEPING_SPACE_ON_CLOSE
    S_free = S_free + held;
#endif
    S_is_named = false
  } unless { kill_forwarder };
  d_step { /* it reads no bytes any more. What it knew is forgotten, for fewer states */
    forget_frames();
    do
    :: i < TARGETS -> references[i] = 0; earlier[i] = 0; state[i] = GONE; has_asked[i] = false; i++
    :: else -> break
    od;
    t = 0; c = 0; i = 0; cell = 0; has_left = false; shares = false; has_emptied_R = false;
    forwarder_lives = false;
    kill_forwarder = false
  }
}

/* ---- the reader of a target -------------------------------------------------------------------------------------- */

/* It reads no bytes of S any more. */
inline stop_reading() {
  target_reads[me] = false;
  i = 0;
  do
  :: i < PS -> readers_of[i] = readers_of[i] & ~TARGET(me); i++
  :: else -> break
  od;
  i = 0
}

#define HAS_NO_WRITER (T_writer[me] == 0 || (T_writer[me] == FORWARDER && !forwarder_lives))
#define NO_WRITER_COMES (!forwarder_lives && !other_comes)
#define IS_ATTACHED (T_answer[me] != 0 && T_answer[me] < REFUSED)

/* A source is unmapped when it is not attached any more, and none of its frames is held. */
inline unmap_if_unused() {
  i = 0;
#ifdef WITHOUT_UNMAPPING_AFTER_THE_LAST_FRAME
  i = lent;
#endif
  do
  :: i < lent && (kinds[i] != DESCRIPTOR || released[i]) -> i++
  :: else -> break
  od;
  mapped = mapped && (i < lent || IS_ATTACHED);
  i = 0
}

/* How many descriptors are released, the `c` last ones included. */
inline count() {
  if
  :: c > 0 -> T_released[me] = MIN(T_released[me] + c, MOST_RELEASED)
  :: else
  fi
}

proctype Target(byte me) {
  byte lent, unreleased; /* frames read and not credited, from the oldest one on; those of them that are not released */
  mtype kinds[PT];
  byte places[PT], numbers[PT];
  bool released[PT];
  bool mapped = (FIRST_ID != 0);
  byte tokens, first, i, c, units, next = 1;
  bool looks, has_no_writer; /* in a look without a token; what it has found out about the writer */
#ifdef WITHOUT_COUNTING_IN_ORDER
  byte early; /* of those that are not credited, how many are counted */
#endif

  {
    skip;
  next_call:
    atomic {
      if
#ifdef WITHOUT_JUDGING_AGAIN
      :: looks -> goto find_without_token
#else
      :: looks -> goto look_without_token /* an attachment was read: it may be the next writer's */
#endif
      :: !looks && tokens > 0 -> goto read /* it has stopped at a frame of another kind */
      :: !looks && tokens == 0 && unreleased + LOOK <= HOLD_T && T_W[me] > 0 ->
        tokens = MIN(T_W[me], LOOK);
        T_W[me] = T_W[me] - tokens;
        goto read
      :: !looks && unreleased > 0 -> goto release /* at the latest before it waits */
      :: !looks && tokens == 0 && unreleased == 0 && T_W[me] == 0 -> goto wait
      :: !looks && MAY(close_t) -> goto close
      fi
    }

  wait:
    if
    :: T_W[me] > 0 -> goto next_call
    :: SLICE -> goto look_without_token
    :: NO_WRITER_COMES && T_W[me] == 0 && empty(T_ring[me]) && lent == 0 -> goto finished
    fi;

  look_without_token: /* the writer is judged first */
    atomic { looks = true; has_no_writer = HAS_NO_WRITER };
  find_without_token:
    atomic {
      if
#ifdef WITHOUT_TAKING_ATTACHMENTS_WITHOUT_A_TOKEN
      :: T_ring[me]?[ATTACHMENT, _, _] && tokens == 0 && T_W[me] == 0 ->
        looks = false;
        has_no_writer = false;
        if
        :: NO_WRITER_COMES -> goto finished
        :: else -> goto next_call
        fi
      :: nempty(T_ring[me]) && (!T_ring[me]?[ATTACHMENT, _, _] || tokens > 0 || T_W[me] > 0) ->
#else
      :: nempty(T_ring[me]) ->
#endif
        if
        :: tokens == 0 && T_W[me] > 0 -> tokens = MIN(T_W[me], LOOK); T_W[me] = T_W[me] - tokens
        :: tokens == 0 && T_W[me] == 0 -> tokens = 1
        :: tokens > 0
        fi;
        goto read
      :: empty(T_ring[me]) && has_no_writer && IS_ATTACHED -> tokens = 0
      :: empty(T_ring[me]) && !(has_no_writer && IS_ATTACHED) ->
        tokens = 0;
        looks = false;
        has_no_writer = false;
        goto next_call
      fi
    }
    atomic { /* the departure is reported */
      T_answer[me] = 0;
      d_step { unmap_if_unused() };
      looks = false;
      has_no_writer = false;
      goto next_call
    }

  read: /* with one look at the ring, frames of one kind */
    atomic {
      if
      :: empty(T_ring[me]) && looks -> goto find_without_token
      :: empty(T_ring[me]) && !looks -> tokens = 0; goto look_without_token /* all tokens are surplus */
      :: nempty(T_ring[me])
      fi;
      first = lent;
      do
      :: tokens > 0 && nempty(T_ring[me]) ->
        if
        :: lent > first && !T_ring[me]?[eval(kinds[first]), _, _] -> goto stop
        :: lent == first || T_ring[me]?[eval(kinds[first]), _, _]
        fi;
        T_ring[me]?kinds[lent], places[lent], numbers[lent];
        tokens--;
        released[lent] = false;
        lent++;
        if
        :: kinds[lent - 1] == ATTACHMENT -> goto attach
        :: kinds[lent - 1] == DESCRIPTOR ->
          assert(mapped && T_answer[me] == ID_OF(places[lent - 1])); /* otherwise CORRUPT_BUFFER */
          if
          :: IS_IN_S(places[lent - 1]) ->
            assert(readers_of[CELL_OF(places[lent - 1])] & TARGET(me));
            assert(S_content[CELL_OF(places[lent - 1])] == numbers[lent - 1])
          :: else
          fi
        :: else
        fi;
#ifdef NUMBERS
        assert(numbers[lent - 1] == next);
        next = next % NUMBERS + 1;
#endif
        unreleased++;
        looks = false;
        has_no_writer = false
#ifdef WITHOUT_COUNTING_ON_RELEASE
        ;
        if
        :: kinds[lent - 1] == DESCRIPTOR -> T_released[me] = T_released[me] + 1; post_T_R(me)
        :: else
        fi
#endif
      :: tokens == 0 || empty(T_ring[me]) -> break
      od;
      tokens = 0;
  stop:
#ifdef WITHOUT_KEEPING_THE_OTHER_TOKENS
      tokens = 0;
#endif
      first = 0;
      goto next_call
    }

  attach: /* it is the last of the frames that are lent */
#ifdef WITHOUT_MAPPING_BEFORE_THE_ANSWER
    T_answer[me] = places[lent - 1];
    mapped = S_is_named;
#else
    STEPS {
      atomic {
        if
        :: places[lent - 1] == 0 /* the last one is taken back */
        :: places[lent - 1] != 0 && S_is_named -> mapped = true
#ifdef ACCEPTS
        :: places[lent - 1] != 0 && !S_is_named -> places[lent - 1] = places[lent - 1] + REFUSED
#else
        :: places[lent - 1] != 0 -> places[lent - 1] = places[lent - 1] + REFUSED /* it has gone, or is not for this user */
#endif
        fi
      };
      T_answer[me] = places[lent - 1]
    };
#endif
    atomic {
#ifdef WITHOUT_KEEPING_THE_OTHER_TOKENS
      tokens = 0;
#endif
      first = 0;
      d_step { unmap_if_unused() };
      places[lent - 1] = 0;
      released[lent - 1] = true;
      goto give_back
    }

  release: /* any frame */
#ifdef WITHOUT_COPYING_WHAT_CAME_SHARED
    if
    :: kinds[0] == DESCRIPTOR && !released[0] -> /* it passes the frame on as it came, and waits for the reader behind it */
      readers_of[CELL_OF(places[0])] = readers_of[CELL_OF(places[0])] | READER_BEHIND;
      !(readers_of[CELL_OF(places[0])] & READER_BEHIND)
    :: true
    fi;
#endif
    atomic {
      i = 0;
      do
      :: released[i] -> i++
      :: else -> break
      od;
      if
      :: unreleased > 1 && i + 1 < lent && !released[i + 1] -> i++
      :: true
      fi;
      d_step {
        assert(i < lent && !released[i]);
        if
        :: kinds[i] == DESCRIPTOR && IS_IN_S(places[i]) ->
          assert(mapped && S_content[CELL_OF(places[i])] == numbers[i]); /* a lent frame stays as it was */
          readers_of[CELL_OF(places[i])] = readers_of[CELL_OF(places[i])] & ~TARGET(me)
        :: else
        fi;
        places[i] = 0;
        numbers[i] = 0;
        released[i] = true;
        unreleased--;
#ifdef WITHOUT_COUNTING_IN_ORDER
        if
        :: i > 0 && kinds[i] == DESCRIPTOR -> early++; T_released[me] = T_released[me] + 1
        :: else
        fi;
#endif
        unmap_if_unused()
      }
    }
  give_back: /* as far as no older frame is held */
    atomic {
      c = 0; units = 0;
      d_step {
        do
        :: lent > 0 && released[0] ->
          units = units + UNITS(kinds[0]);
#ifdef WITHOUT_COUNTING_DESCRIPTORS_ALONE
          c = c + (kinds[0] == ATTACHMENT -> 0 : 1);
#else
          c = c + (kinds[0] == DESCRIPTOR || kinds[0] == OTHERS_DESCRIPTOR -> 1 : 0);
#endif
          i = 1;
          do
          :: i < lent ->
            kinds[i - 1] = kinds[i]; places[i - 1] = places[i]; numbers[i - 1] = numbers[i]; released[i - 1] = released[i];
            i++
          :: else -> break
          od;
          lent--;
          kinds[lent] = 0; places[lent] = 0; numbers[lent] = 0; released[lent] = false
        :: else -> break
        od;
        i = 0
      };
#ifdef WITHOUT_COUNTING_ON_RELEASE
      c = 0;
#endif
#ifdef WITHOUT_COUNTING_IN_ORDER
      if
      :: units > 0 -> c = c - early; early = 0
      :: else
      fi;
#endif
      if
      :: units == 0 -> goto next_call
      :: units > 0 && c == 0 -> goto give_space
      :: units > 0 && c > 0
      fi
    }
#if !defined(WITHOUT_COUNTING_BEFORE_CREDIT) && !defined(WITHOUT_COUNTING_BEFORE_POSTING)
    count();
#endif
  give_space:
    STEPS {
#ifdef WITHOUT_CREDIT_BEFORE_POSTING
      post_T_R(me);
#endif
      d_step { assert(T_free[me] + units <= PT); T_free[me] = T_free[me] + units };
#ifdef WITHOUT_COUNTING_BEFORE_CREDIT
      count();
#endif
#ifndef WITHOUT_CREDIT_BEFORE_POSTING
      post_T_R(me)
#endif
#ifdef WITHOUT_COUNTING_BEFORE_POSTING
      ; count()
#endif
    };
    atomic { c = 0; units = 0; goto next_call };

  close: /* it stops reading before it gives its role up */
    SPEND(close_t);
#ifndef WITHOUT_DETACHING_FIRST
    d_step { stop_reading() };
#endif
    T_reader[me] = false;
    post_T_R(me);
#ifdef WITHOUT_DETACHING_FIRST
    d_step { stop_reading() };
#endif
    goto gone;

  finished:
    assert(T_free[me] == PT) /* at rest. The next writer waits for that */
  } unless { kill_target[me] };
  d_step { stop_reading(); target_lives[me] = false; kill_target[me] = false };
gone:
  atomic { /* for fewer states */
    i = 0;
    do
    :: i < PT -> kinds[i] = 0; places[i] = 0; numbers[i] = 0; released[i] = false; i++
    :: else -> break
    od;
    lent = 0; unreleased = 0; mapped = false; tokens = 0; first = 0; i = 0; c = 0; units = 0; next = 0;
    looks = false; has_no_writer = false
  }
}

#ifdef WITHOUT_COPYING_WHAT_CAME_SHARED
active proctype ReaderBehind() {
  byte i;
end:
  do
  :: i < PS && (readers_of[i] & READER_BEHIND) -> readers_of[i] = readers_of[i] & ~READER_BEHIND
  :: i < PS - 1 -> i++
  :: i == PS - 1 -> i = 0
  od
}
#endif

/* ---- another forwarder, with a source of its own ----------------------------------------------------------------- */

#if OTHER > 0
active proctype Other() {
  byte left = OTHER;

connect:
  (T_writer[0] == 0 && T_free[0] == PT);
  atomic {
    if
    :: T_writer[0] == 0 && T_free[0] == PT -> T_writer[0] = OTHER_FORWARDER; T_W[0] = 0
    :: else -> goto connect
    fi
  };
  do
  :: left > 0 && T_reader[0] ->
    T_R[0] = 0;
    if
    :: atomic { T_free[0] > 0 -> publish(0, OTHERS_DESCRIPTOR, 0, 0); left-- }; post_T_W(0)
    :: else -> (T_R[0] > 0 || SLICE)
    fi
  :: left == 0 || !T_reader[0] -> break
  od;
  T_writer[0] = 0;
  post_T_W(0);
  other_comes = false
}
#endif

/* ---- what may happen at any moment ------------------------------------------------------------------------------ */

#define KILL(t) MAY(kill_t) && T_reader[t] && target_lives[t] && !kill_target[t] -> kill_target[t] = true; SPEND(kill_t)

init {
  atomic {
    run Target(0);
#if TARGETS > 1
    run Target(1)
#endif
  }
#if KILL_S + KILL_F + KILL_T + LOST + SURPLUS > 0
end:
  do
#if KILL_S > 0
  :: d_step { MAY(kill_s) && source_lives && !kill_source -> kill_source = true; SPEND(kill_s) }
#endif
#if KILL_F > 0
  :: d_step { MAY(kill_f) && forwarder_lives && !kill_forwarder -> kill_forwarder = true; SPEND(kill_f) }
#endif
#if KILL_T > 0
  :: d_step { KILL(0) }
#if TARGETS > 1
  :: d_step { KILL(1) }
#endif
#endif
#if LOST > 0
  :: d_step { MAY(lost) && S_W > 0 -> S_W--; SPEND(lost) }
  :: d_step { MAY(lost) && S_R > 0 -> S_R--; SPEND(lost) }
  :: d_step { MAY(lost) && T_W[0] > 0 -> T_W[0]--; SPEND(lost) }
  :: d_step { MAY(lost) && T_R[0] > 0 -> T_R[0]--; SPEND(lost) }
#endif
#if SURPLUS > 0
  :: d_step { MAY(surplus) -> post_S_W(); SPEND(surplus) }
  :: d_step { MAY(surplus) -> post_S_R(); SPEND(surplus) }
  :: d_step { MAY(surplus) -> T_W[0]++; SPEND(surplus) }
  :: d_step { MAY(surplus) -> post_T_R(0); SPEND(surplus) }
#endif
  od
#endif
}

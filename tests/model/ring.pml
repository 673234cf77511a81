/* The ring of one buffer, as reader.c, writer.c and their callers in TypeScript work it (docs/protocol.md, sections 2 to 5), and
 * its peers of version 1. It counts in units instead of bytes. Each access to shared memory is a step; between two
 * steps the other side does what it likes.
 *
 * run.ts defines a configuration:
 *   P, H, LARGEST  units of the payload, of a header, and of data in the largest frame; with H 2 there are tails that
 *                  are too short for a header
 *   LOOK, HOLD     frames of one look ahead; the most that a reader has lent at a time
 *   BATCH          frames that our writer publishes at once, at the most; with 2 our reader may release two at once
 *   V1_WRITER, V1_READER  that side is of version 1
 *   V1_PYTHON      the writer of version 1 is the one in Python
 *   FRAMES_IN_ALL  with V1_READER: the frames of all writers together, whose numbers then go on
 *   SLICES         waits end without a token: 0 never, 1 when nothing else can happen, 2 at any moment
 *   LEAVES, CRASHES  how often a writer leaves, or is killed at any step, and another one comes; ANY: no limit
 *   LOST, SURPLUS  how many tokens vanish, or come from nowhere
 *   READER_ENDS    1: the reader closes at some moment; 2: it is killed at some step
 *   ONCE           also that each departure is reported once
 * and WITHOUT_… takes a rule away. */

#define ANY 255
#define MAY(budget) (budget > 0)
#define SPEND(budget) budget = (budget == ANY -> ANY : budget - 1)

#define MARKER 14 /* in `head`: a header of zeros */
#define STALE 15  /* in `head`: nothing that was published; in memory it may be anything */

#define FRAMES (P / (H + 1)) /* the most that the ring can hold */
#ifdef V1_READER
#define NUMBERS FRAMES_IN_ALL
#define AFTER(number) (number + 1)
#else
/* Sequence numbers are 1, 2 … NUMBERS, 2 … NUMBERS …: 1 belongs to a writer's first frame alone. */
#define NUMBERS (FRAMES + 2)
#define AFTER(number) (number == NUMBERS -> 2 : number + 1)
#endif
#define MOST_W (2 * FRAMES + 4)
#ifdef COUNT_R
#define MOST_R (NUMBERS + 2 * FRAMES + 4)
#else
#define MOST_R 1 /* our writer takes all or none: more than one token is as good as one */
#endif

#define READER 3 /* its pid; writers have 1 and 2 in turn */

#define CELLS(position, length) (((1 << (length)) - 1) << (position))
#define MIN(a, b) ((a) < (b) -> (a) : (b))

#if SLICES == 0
#define SLICE false
#elif SLICES == 1
#define SLICE timeout
#else
#define SLICE true
#endif

/* ---- what the processes share -------------------------------------------------------------------------------- */

byte free = P, write_pos, read_pos, writer_pid, reader_pid = READER;
byte head[P] = STALE, number[P]; /* size and sequence number of the header at a position */
#ifdef V1_READER
byte old_head[P] = STALE, old_number[P]; /* the same, and they stay there when they have been read */
#endif
byte W, R;
bool traces, fresh_traces; /* payload_written_count shows that a writer was there; that one was since it was looked at */
bool reader_lives = true;
bool settle_due;     /* our reader could not settle, because it held frames, and does so after the last release */
byte living;         /* pid of the writer's process, whether or not it has connected; 0: none */

/* ---- the truth to compare with, which no process sees --------------------------------------------------------- */

byte published;      /* frames published and not yet read */
#ifdef V1_READER
bool wrapped;        /* one of the frames since the last rewind is behind a wrap */
#endif
byte owed;           /* bytes taken from `free` for frames and wraps, and not given back */
short kept;          /* cells of frames that are published and that the application has not released */
byte generation;     /* of the writer, modulo 4 */
bool opening;        /* a writer of ours has taken the pid and has not emptied W yet */
bool awaited = true; /* the reader has reported the last writer's departure */
bool over;           /* no writer will come any more */
bool kill_writer, kill_reader;
byte leaves = LEAVES, crashes = CRASHES, lost = LOST, surplus = SURPLUS;

/* Takes the space of some frames, which are in these cells, and of the wraps before them: the publication. */
inline subtract(bytes, frames, cells) {
  d_step {
    assert(free >= (bytes));
    free = free - (bytes);
    owed = owed + (bytes);
    kept = kept | (cells);
    published = published + frames
  }
}

inline add(bytes) {
  d_step {
    assert((bytes) <= owed && free + (bytes) <= P);
    owed = owed - (bytes);
    free = free + (bytes)
  }
}

/* Header and data are written in one step: no cell of it may be anybody's, whatever step the reader is at. */
inline write_header(position, length, size, sequence) {
  d_step {
    assert(position + (length) <= P);
    assert((kept & CELLS(position, length)) == 0);
    i = position;
    do
    :: i < position + (length) ->
      head[i] = STALE;
      number[i] = 0;
#ifdef V1_READER
      old_head[i] = STALE;
      old_number[i] = 0;
#endif
      i++
    :: else -> break
    od;
    head[position] = size;
    number[position] = sequence;
#ifdef V1_READER
    old_head[position] = size;
    old_number[position] = sequence;
#endif
    i = 0
  }
}

inline post_W() {
  d_step { assert(W < MOST_W); W++ }
}

inline post_R() {
#if defined(V1_WRITER)
  d_step { R = MIN(R + 1, 2) } /* it takes one token a wait: what it leaves piles up */
#elif defined(COUNT_R)
  d_step { assert(R < MOST_R); R++ }
#else
  R = 1
#endif
}

/* ---- our reader ------------------------------------------------------------------------------------------------ */

#ifndef V1_READER

#ifdef WITHOUT_SURPLUS_TEST
#define HAS_UNREAD (!guess || unread > 0)
#else
#define HAS_UNREAD (unread > 0)
#endif

mtype = { AWAITED, CONNECTED, LEFT, DIED }

#define OWED_NONE 1

/* How it stands with the writer: WriterWatch.judge. `awaited` and `fresh_traces` are what it has seen, to go by later. */
inline judge() {
  do
  :: true ->
    /* zb_oieb_load comes to the count before it comes to the pid: a writer that came in between is not seen to be gone */
    d_step { seen_traces = traces; fresh_traces = false };
    atomic { whose = writer_pid; seen_generation = generation };
    if
    :: whose != 0 && living == whose ->
      atomic {
        state = CONNECTED;
#ifndef WITHOUT_NOTICING_A_NEW_WRITER
        new_writer = new_writer || seen_generation != last_generation || surplus_old + surplus_new > OWED_NONE;
        last_generation = seen_generation;
#endif
        surplus_old = OWED_NONE; surplus_new = 0
      }
      break
    :: whose != 0 && living != whose ->
      if
      :: writer_pid == whose && generation == seen_generation -> state = DIED; break /* pids are not used again so soon */
      :: else
      fi
    :: whose == 0 ->
      if
      :: state == AWAITED && !seen_traces && surplus_old <= OWED_NONE -> break
      :: else -> state = (state == DIED -> DIED : LEFT); break
      fi
    fi
  od
}

/* zb_reader_settle: what the writer has left half done is completed, or taken back. It needs the writer's place. */
inline settle() {
  if
  :: held == 0 ->
    loaded = free;
    at = (read_pos == P -> 0 : read_pos);
    d_step {
      wasted = 0;
      if
      :: P - at < H -> wasted = P - at
      :: P - at >= H && head[at] == MARKER -> wasted = P - at
      :: else
      fi
    }
    if
#ifdef WITHOUT_SETTLING_THE_POSITION
    :: loaded < P && P - loaded <= wasted ->
#else
    :: P - loaded <= wasted ->
#endif
      d_step { /* compare and swap */
        if
        :: free == loaded ->
          free = P;
          owed = owed - (P - loaded);
          if
          :: P - at >= H -> head[at] = STALE
          :: else
          fi;
          i = 1
        :: else
        fi
      }
      if
      :: i == 1 -> write_pos = at; i = 0
      :: else
      fi
    :: else
    fi
  :: else ->
#ifndef WITHOUT_SETTLING_LATER
    settle_due = true
#else
    skip
#endif
  fi;
  atomic { loaded = 0; at = 0; wasted = 0 }
}

active proctype Reader() {
  byte position, next = 1, held;
  byte lent, credit[HOLD], ends[HOLD];
  short cells[HOLD];
  bool released[HOLD];
  mtype state = AWAITED;
  /* Tokens that stood for nothing: since the last look behind; and before it, since the last report. Where the token of
   * the close is still owed then, the latter begins one lower. */
  byte surplus_new, surplus_old = OWED_NONE;
  byte last_generation;          /* of the writer last seen alive, */
  bool new_writer;               /* and whether that was after the last frame */
#ifdef ONCE
  byte reported; /* generation of the writer whose departure was reported last */
  bool unsure;   /* others left before it, or a frame was taken without a token */
#endif
  bool seen_traces, behind, guess;            /* looking behind the tokens; as if a token had come */
  byte tokens, count, loaded, at, wasted, size, i, whose, seen_generation;
  short unread;

  {
    skip;
  next_call:
    if
    :: lent == 0 -> goto wait
    :: lent > 0 && lent + LOOK <= HOLD -> goto look
    :: lent > 0 -> goto release
#if READER_ENDS == 1
    :: goto close
#endif
    fi;

  release: /* any frame; its space goes back when no older one is lent */
    atomic {
      if
      :: lent > 0 && !released[0] -> i = 0
#if HOLD > 1
      :: lent > 1 && !released[1] -> i = 1
#endif
#if HOLD > 2
      :: lent > 2 && !released[2] -> i = 2
#endif
#if HOLD > 3
      :: lent > 3 && !released[3] -> i = 3
#endif
#if BATCH > 1 && HOLD > 1
      :: lent > 1 && !released[0] && !released[1] -> /* both at once */
        d_step { released[1] = true; kept = kept & ~cells[1]; cells[1] = 0; i = 0 }
#endif
      fi;
      d_step {
        released[i] = true;
        kept = kept & ~cells[i];
        cells[i] = 0;
        count = 0;
        at = 0;
#ifdef WITHOUT_ORDER_OF_RELEASE
        at = credit[i];
        credit[i] = 0;
        count = 1;
#endif
        do
        :: lent > 0 && released[0] ->
          at = at + credit[0];
          size = ends[0];
#ifndef WITHOUT_ORDER_OF_RELEASE
          count++;
#endif
          i = 1;
          do
          :: i < lent ->
            credit[i - 1] = credit[i];
            ends[i - 1] = ends[i];
            cells[i - 1] = cells[i];
            released[i - 1] = released[i];
            i++
          :: else -> break
          od;
          lent--;
          credit[lent] = 0;
          ends[lent] = 0;
          cells[lent] = 0;
          released[lent] = false
        :: else -> break
        od;
        held = held - at;
        i = 0
      }
    }
    if
    :: at > 0 ->
#ifndef WITHOUT_POSITION_BEFORE_SPACE
      atomic { read_pos = size; size = 0 };
#endif
      add(at);
#ifdef WITHOUT_POSITION_BEFORE_SPACE
      atomic { read_pos = size; size = 0 };
#endif
      atomic { /* one addition for all */
        at = 0;
        do
        :: count > 0 -> post_R(); count--
        :: else -> break
        od
      }
    :: else
    fi;
    if
    :: settle_due && held == 0 ->
      atomic { /* compare and swap */
        if
        :: writer_pid == 0 -> writer_pid = READER
        :: else -> settle_due = false; goto next_call /* another writer is there */
        fi
      }
      settle();
      atomic { writer_pid = 0; settle_due = false }
    :: else
    fi;
    goto next_call;

  wait: /* await_token */
    /* What a writer has left keeps no room from the next one. */
    assert(!awaited || state != AWAITED || free == P);
    if
    :: W > 0 -> goto look
    :: SLICE -> goto look_behind
    :: over && published == 0 && state == AWAITED && W == 0 -> goto finished
    fi;

  look:
    atomic {
      tokens = MIN(W, LOOK);
      W = W - tokens;
      if
      :: tokens > 0 -> goto read
      :: else -> goto nothing
      fi
    }

  read: /* read_frames */
    loaded = free;
    d_step {
      assert(loaded <= P);
#ifndef WITHOUT_FRESH_POSITION
      if
      :: held == 0 -> position = (read_pos == P -> 0 : read_pos)
      :: else
      fi;
#endif
      assert(position < P);
      unread = P - loaded - held;
      count = 0;
      do
      :: count < tokens && HAS_UNREAD ->
        wasted = 0;
        at = position;
        if
        :: P - position < H -> wasted = P - position
        :: else ->
          assert(head[position] != STALE);
          if
          :: head[position] == MARKER -> wasted = P - position
          :: else
          fi
        fi;
        if
#ifndef WITHOUT_SURPLUS_TEST
        :: unread <= wasted -> break
#endif
        :: else
        fi;
        if
        :: wasted > 0 -> at = 0
        :: else
        fi;
        size = head[at];
        assert(size != STALE && size != MARKER);
        if
        :: guess && (wasted + H + size > unread) -> break
        :: guess && number[at] != next && !(number[at] == 1 && (state == LEFT || state == DIED || new_writer)) -> break
        :: else
        fi;
        assert(number[at] == next || number[at] == 1);
        assert(published > 0); /* nobody reads what is not published */
        published--;
        if
        :: wasted >= H -> head[position] = STALE
        :: else
        fi;
        head[at] = STALE;
#ifdef WITHOUT_WASTE_HELD
        free = free + wasted;
        owed = owed - wasted;
        unread = unread - wasted;
        wasted = 0;
#endif
        credit[lent] = wasted + H + size;
        cells[lent] = CELLS(at, H + size);
        lent++;
        held = held + wasted + H + size;
        unread = unread - wasted - H - size;
        next = AFTER(number[at]);
        number[at] = 0;
        position = at + H + size;
#ifdef WITHOUT_STORING_THE_END
        ends[lent - 1] = (position == P -> 0 : position);
#else
        ends[lent - 1] = position; /* P after an exact fit, and not 0 */
#endif
        if
        :: position == P -> position = 0
        :: else
        fi;
        count++
      :: else ->
        break
      od;
      surplus_new = (guess -> surplus_new : MIN(surplus_new + tokens - count, 2));
      unread = 0; wasted = 0; at = 0; size = 0; loaded = 0; tokens = 0
    }
    if
    :: count > 0 ->
  progress:
      atomic {
#ifdef ONCE
        unsure = unsure || guess;
#endif
        count = 0; new_writer = false; guess = false; behind = false; whose = 0; seen_generation = 0; seen_traces = false
      };
      goto next_call
    :: else
    fi;

  nothing: /* the look was in vain */
    if
    :: behind && !guess -> goto look_as_if
    :: behind && guess -> goto report
    :: !behind && lent == 0 -> goto look_behind
    :: !behind && lent > 0 -> goto release /* whoever holds frames gives one back before he waits */
    :: !behind && lent > 0 && (SLICES == 2 || surplus_new > 0) -> goto look_behind
    fi;

  look_behind:
    atomic { behind = true; surplus_old = MIN(surplus_old + surplus_new, OWED_NONE + 1); surplus_new = 0 };
#ifndef WITHOUT_JUDGING_FIRST
    judge();
#endif
#ifdef WITHOUT_RECOVERY
    goto report;
#endif
    atomic {
      tokens = MIN(W, LOOK);
      W = W - tokens;
      if
      :: tokens > 0 -> goto read
      :: else -> guess = true; tokens = LOOK; goto read
      fi
    }
  look_as_if:
    atomic { guess = true; tokens = LOOK; goto read };

  report: /* what happens when nothing has been found */
#ifdef WITHOUT_JUDGING_FIRST
    judge();
#endif
    atomic {
      guess = false;
      behind = false;
      seen_traces = false;
      if
      :: state != AWAITED && state != CONNECTED ->
        /* everything was delivered, unless another writer has come meanwhile */
        assert(seen_generation != generation || published == 0)
#ifndef WITHOUT_SETTLING_ONLY_AFTER_THE_WRITER
      :: else -> goto vain
#else
      :: else
#endif
      fi
    }

#ifndef WITHOUT_SETTLING
#ifndef WITHOUT_CLAIM_TO_SETTLE
    atomic { /* compare and swap */
      if
      :: writer_pid == whose && generation == seen_generation -> writer_pid = READER
      :: else -> goto settled
      fi
    }
#endif
    settle();
#ifndef WITHOUT_CLAIM_TO_SETTLE
    writer_pid = 0;
#endif
  settled:
#endif
    /* the departure is reported; the next call goes on */
    atomic {
      if
      :: state == AWAITED || state == CONNECTED -> goto vain
      :: else
      fi;
      awaited = (seen_generation == generation);
#ifdef ONCE
      /* Each departure is reported once, unless tokens of another writer's, or of a frame that was taken without, may
       * still come. */
      assert(seen_generation != reported || unsure);
      unsure = unsure || seen_generation != (reported + 1) % 4;
      reported = seen_generation;
#endif
#ifdef WITHOUT_THE_OWED_TOKEN
      surplus_old = OWED_NONE;
#else
      surplus_old = (state == LEFT && surplus_old <= OWED_NONE -> 0 : OWED_NONE);
#endif
      traces = traces && fresh_traces;
      state = AWAITED;
      whose = writer_pid;
      seen_generation = generation
    }
    if
    :: living != whose && whose != READER ->
      d_step {
        if
        :: writer_pid == whose && generation == seen_generation -> writer_pid = READER
        :: else -> whose = 0
        fi
      }
      if
      :: writer_pid == READER -> traces = false; writer_pid = 0
      :: else
      fi
    :: else
    fi;
  vain:
    atomic {
      whose = 0;
      seen_generation = 0;
      if
      :: lent > 0 -> goto release
      :: else -> goto next_call
      fi
    }

#if READER_ENDS == 1
  close:
    reader_pid = 0;
    post_R();
    reader_lives = false;
    goto gone;
#endif

  finished:
    assert(free == P && lent == 0 && held == 0 && owed == 0); /* at rest */
    goto gone
  } unless { kill_reader };
  reader_lives = false;
gone:
  skip
}

#else

/* A reader of version 1 reads one frame at a time, and gives the waste of a wrap back when it meets the marker. */
active proctype Reader() {
  byte position, next = 1, at, size;
  short cells;
  do
  :: over && published == 0 && W == 0 -> break
  :: d_step {
      W > 0 -> W--;
      assert(published > 0) /* it takes a token for a frame, whatever is there */
    }
    position = read_pos;
    assert(position == P || P - position >= H); /* not every one skips a short tail */
    if
    :: position == P -> position = 0; read_pos = 0
    :: position < P && head[position] == MARKER ->
      head[position] = STALE;
      add(P - position);
      position = 0;
      read_pos = 0
    :: else
    fi;
    d_step {
      size = head[position];
      assert(size != STALE && size != MARKER);
      assert(number[position] == next); /* it counts on when another writer comes */
      assert(published > 0);
      published--;
      next = AFTER(number[position]);
      number[position] = 0;
      head[position] = STALE;
      cells = CELLS(position, H + size)
    }
  progress:
    read_pos = position + H + size;
    d_step { kept = kept & ~cells; cells = 0; position = 0 };
    add(H + size);
    size = 0;
    post_R()
  od;
  assert(free == P && owed == 0)
}

#endif

/* ---- our writer ------------------------------------------------------------------------------------------------ */

#define READER_GONE (reader_pid == 0 || !reader_lives)

#ifndef V1_WRITER

#ifdef V1_READER
#define WRITES (sequence <= NUMBERS)

/* zb_ring_follow: the number after that of the last frame read, found by the headers that lie there; 0: not found. */
inline follow() {
#ifdef WITHOUT_FOLLOWING_THE_NUMBERS
  sequence = 1
#else
  d_step {
    at = 0;
    sequence = 0;
    loaded = (read_pos == 0 -> P : read_pos);
    do
    :: !traces -> break
    :: traces && (at == loaded || at > loaded || loaded - at <= H) -> break
    :: else ->
      if
      :: old_head[at] < 1 || old_head[at] > loaded - at - H -> at = P + 1
      :: old_head[at] >= 1 && old_head[at] <= loaded - at - H && sequence != 0 && old_number[at] != sequence + 1 -> at = P + 1
      :: else -> sequence = old_number[at]; at = at + H + old_head[at]
      fi
    od;
    sequence = (!traces || at == loaded -> sequence + 1 : 0);
    at = 0;
    loaded = 0
  }
#endif
}

inline note_rewind() {
  if
  :: !unused -> unused_read = read_pos; unused_write = write_pos; unused = true
  :: else
  fi
}
#else
#define WRITES true
#define note_rewind() skip
#endif

active proctype Writer() {
  byte me = 1, place, sequence, size, at, wasted, loaded, i, whose;
  byte pending, taken; /* frames that are written and not published, and the bytes they and their wraps take */
  short claimed;       /* the cells of these frames */
  bool all_free, again, room;
  bool round; /* one of sequence numbers is complete: it stands for 4096 frames */
#ifdef V1_READER
  bool unused; /* nothing was published since the last rewind; the positions before that */
  byte unused_read, unused_write;
#endif

next_writer:
  {
    living = me;
  connect:
    whose = writer_pid;
    if
    :: whose == READER -> (writer_pid != READER || READER_GONE); goto connect_again
    :: whose != READER && whose != 0 ->
      d_step { /* compare and swap */
        if
        :: writer_pid == whose -> writer_pid = 0
        :: else
        fi
      }
    :: else
    fi;
#ifndef WITHOUT_EMPTY_RING_FOR_A_NEW_WRITER
    (free == P || READER_GONE);
#endif
    d_step {
      if
      :: writer_pid == 0 -> writer_pid = me; generation = (generation + 1) % 4; opening = true; awaited = false
      :: else
      fi
    }
    if
    :: READER_GONE -> goto ended
    :: !READER_GONE && writer_pid != me ->
  connect_again:
      if
      :: READER_GONE -> goto ended
      :: else -> goto connect
      fi
    :: else
    fi;
#ifndef WITHOUT_EMPTY_RING_FOR_A_NEW_WRITER
    if
    :: free != P -> d_step { writer_pid = 0; opening = false }; goto connect
    :: else
    fi;
#endif

    /* zb_writer_open */
#ifdef V1_READER
    follow();
    if
    :: sequence == 0 ->
      assert(wrapped || CRASHES > 0);
      atomic { writer_pid = 0; opening = false; over = true; goto retired }
    :: else
    fi;
    d_step { whose = 0; place = (write_pos == P -> 0 : write_pos) };
#else
    d_step { whose = 0; sequence = 1; place = (write_pos == P -> 0 : write_pos) };
#endif
    loaded = free;
    if
    :: loaded == P ->
#ifndef WITHOUT_EMPTYING_W
      W = 0;
#endif
      opening = false;
      note_rewind();
      read_pos = 0;
      write_pos = 0;
      place = 0
    :: else -> opening = false
    fi;
    loaded = 0;

  next_frame:
    atomic {
      if
#ifdef V1_READER
      :: MAY(leaves) -> goto leave
      :: sequence > NUMBERS -> goto finish
#else
      :: sequence > 1 && MAY(leaves) -> goto leave
#endif
      :: WRITES -> size = 1
#if LARGEST > 1
      :: WRITES -> size = 2
#endif
#if LARGEST > 2
      :: WRITES -> size = 3
#endif
#if LARGEST > 3
      :: WRITES -> size = LARGEST
#endif
      fi;
  place_frame:
      loaded = free;
      all_free = (loaded == P);
      if
      :: READER_GONE -> goto ended
      :: !READER_GONE && all_free && (place != 0 || read_pos != 0) -> goto rewind
      :: else -> goto choose
      fi
    }
  rewind:
    note_rewind();
    read_pos = 0;
    atomic { write_pos = 0; place = 0 };
#ifdef V1_READER
    if
    :: MAY(leaves) -> goto leave /* the frame is given up */
    :: true
    fi;
#endif
  choose:
#ifdef WITHOUT_ONE_LOAD
    all_free = (free == P);
#endif
    atomic {
      skip; /* Spin wants no label at the start */
  choose_next:
      skip;
      d_step {
        at = place;
        wasted = 0;
        if
        :: H + size == P - place || 2 * H + size <= P - place -> room = true
        :: else ->
          if
          :: P - place >= H && H + size <= place -> at = 0; wasted = P - place; room = true
          :: else -> room = all_free
          fi
        fi;
#ifdef WITHOUT_WASTE_IN_THE_NEED
        room = room && (loaded >= H + size);
#elif defined(WITHOUT_COUNTING_THE_BATCH)
        room = room && (loaded >= wasted + H + size);
#else
        room = room && (loaded >= taken + wasted + H + size);
#endif
        all_free = false
      }
      if
      :: room -> room = false; again = false; goto write
      :: !room && pending > 0 -> at = 0; wasted = 0; goto publish
      :: !room && pending == 0 && again -> again = false; at = 0; wasted = 0; loaded = 0; goto wait_for_room
      :: else -> at = 0; wasted = 0; loaded = 0
      fi
    }
#ifndef WITHOUT_EMPTYING_R
    R = 0;
#endif
#ifdef WITHOUT_SECOND_LOOK
    goto wait_for_room;
#endif
    again = true;
    goto place_frame;

  wait_for_room:
    if
    :: R > 0
    :: SLICE
    fi;
    goto place_frame;

  write:
#ifdef WITHOUT_HEADER_FIRST
    loaded = 0;
    subtract(wasted + H + size, 1, CELLS(at, H + size));
    if
    :: wasted > 0 -> d_step { head[place] = MARKER }
    :: else
    fi;
    d_step { head[at] = size; number[at] = sequence };
    place = (at + H + size == P -> 0 : at + H + size);
    write_pos = place;
    d_step { wasted = 0; at = 0; size = 0 };
    atomic { post_W(); sequence = AFTER(sequence); round = (sequence == NUMBERS) };
  publish:
    skip;
#else
    atomic {
      if
      :: wasted > 0 -> write_header(place, H, MARKER, 0)
      :: else
      fi;
      write_header(at, H + size, size, sequence);
      d_step {
        assert((claimed & CELLS(at, H + size)) == 0);
        claimed = claimed | CELLS(at, H + size);
        taken = taken + wasted + H + size;
#ifdef V1_READER
        wrapped = (unused -> false : wrapped || wasted > 0);
#endif
        pending++;
        place = (at + H + size == P -> 0 : at + H + size);
        sequence = AFTER(sequence);
        round = round || sequence == NUMBERS;
        wasted = 0; at = 0
      }
#if BATCH > 1
      if
      :: pending < BATCH -> size = 1; goto choose_next /* nothing is loaded again */
#if LARGEST > 1
      :: pending < BATCH -> size = 2; goto choose_next
#endif
#if LARGEST > 2
      :: pending < BATCH -> size = 3; goto choose_next
#endif
      :: true
      fi;
#endif
  publish:
      loaded = 0;
      size = 0;
      write_pos = place;
      traces = true;
      fresh_traces = true
#ifdef V1_READER
      ; unused = false; unused_read = 0; unused_write = 0
#endif
    }
#ifdef WITHOUT_PUBLISHING_BEFORE_POSTING
    post_W();
    pending--;
    atomic { subtract(taken, 1 + pending, claimed); taken = 0; claimed = 0 };
#elif defined(V1_READER) && CRASHES > 0
    /* Nothing tells a v1 reader of a frame whose writer was killed between the two. */
    atomic { subtract(taken, pending, claimed); taken = 0; claimed = 0; post_W(); pending-- };
#else
    atomic { subtract(taken, pending, claimed); taken = 0; claimed = 0 };
#endif
  post:
    atomic {
      if
      :: pending > 0 -> post_W(); pending--
      :: else
      fi;
      if
      :: pending > 0 -> goto post
      :: else
      fi
    }
#endif
#ifndef WITHOUT_EMPTYING_R
    if
#ifdef WITHOUT_COUNTING_EVERY_FRAME
    :: sequence == NUMBERS -> R = 0
#else
    :: round -> atomic { R = 0; round = false }
#endif
    :: else
    fi;
#endif
    goto next_frame;

#ifdef V1_READER
  finish:
    atomic { writer_pid = 0; over = true; goto retired };
#endif

  leave:
    SPEND(leaves);
#if defined(V1_READER) && !defined(WITHOUT_PUTTING_THE_POSITIONS_BACK)
    if
    :: unused && free == P -> read_pos = unused_read; write_pos = unused_write
    :: else
    fi;
#endif
    writer_pid = 0;
#if !defined(V1_READER) || defined(WITHOUT_SPARING_A_V1_READER)
    post_W() /* only a reader of ours understands it */
#endif
  } unless { kill_writer };

ended:
  atomic {
#ifdef V1_READER
    unused = false; unused_read = 0; unused_write = 0;
#endif
    living = 0;
    opening = false;
    kill_writer = false;
    place = 0; sequence = 0; size = 0; at = 0; wasted = 0; loaded = 0; i = 0; whose = 0;
    pending = 0; taken = 0; claimed = 0; round = false;
    all_free = false; again = false; room = false
  }
  if
  :: !READER_GONE && (leaves != LEAVES || crashes != CRASHES || leaves == ANY || crashes == ANY) -> me = 3 - me; goto next_writer
  :: else -> over = true
  fi;
retired:
  skip
}

#else

#ifdef V1_PYTHON
#define REFUSES (place == P && read_pos == 0) /* it takes the ring for full */
#else
#define REFUSES false
#endif

/* A writer of version 1 never rewinds, publishes a wrap before the frame, skips a short tail without a marker, leaves P
 * in write_pos, and does not post when it leaves. */
active proctype Writer() {
  byte me = 1, place, sequence, size, i, tail;

next_writer:
  {
    /* It would go on in the middle of what one that died has left, and not be told from that one: it comes when the
     * reader has reported the departure and settled. */
    atomic { ((awaited && !settle_due && writer_pid != READER) || READER_GONE);
    if
    :: READER_GONE -> goto ended
    :: else
    fi;
    living = me; writer_pid = me; generation = (generation + 1) % 4; awaited = false };
    place = write_pos;
    sequence = 1;
  next_frame:
    atomic {
    tail = P - place;
    if
    :: sequence > 1 && MAY(leaves) -> goto leave
    :: size = 1
#if LARGEST > 1
    :: size = 2
#endif
#if LARGEST > 2
    :: size = 3
#endif
    fi;
    if
    :: H + size > tail && tail + H + size > P -> size = 0; goto next_frame /* it would wait for ever */
    :: else
    fi
    }
    do
    :: free >= (H + size > tail -> tail : 0) + H + size && !REFUSES -> break
    :: else ->
      if
      :: READER_GONE -> goto ended
      :: atomic { R > 0 -> R-- }
      :: SLICE
      fi
    od;
    if
    :: H + size > tail ->
      if
      :: tail >= H -> write_header(place, H, MARKER, 0)
      :: else
      fi;
      d_step { assert(free >= tail); free = free - tail; owed = owed + tail };
      place = 0;
      write_pos = 0
    :: else
    fi;
    atomic {
      tail = 0;
      write_header(place, H + size, size, sequence);
      write_pos = place + H + size;
      traces = true;
      fresh_traces = true
    }
    atomic { subtract(H + size, 1, CELLS(place, H + size)); place = place + H + size; size = 0 };
    atomic { post_W(); sequence = AFTER(sequence) };
    goto next_frame;

  leave:
    SPEND(leaves);
    writer_pid = 0
  } unless { kill_writer };

ended:
  atomic { living = 0; kill_writer = false; place = 0; sequence = 0; size = 0; i = 0; tail = 0 }
  if
  :: !READER_GONE && (leaves != LEAVES || crashes != CRASHES || leaves == ANY || crashes == ANY) -> me = 3 - me; goto next_writer
  :: else -> over = true
  fi
}

#endif

/* ---- what may happen at any moment ------------------------------------------------------------------------------ */

#if CRASHES > 0 || LOST > 0 || SURPLUS > 0 || READER_ENDS == 2
active proctype Fate() {
end:
  do
#if CRASHES > 0
  :: d_step { MAY(crashes) && living != 0 && !kill_writer -> kill_writer = true; SPEND(crashes) }
#endif
#if LOST > 0
  :: d_step { MAY(lost) && W > 0 -> W--; SPEND(lost) }
  :: d_step { MAY(lost) && R > 0 -> R--; SPEND(lost) }
#endif
#if SURPLUS > 0
  :: d_step { MAY(surplus) && W < FRAMES + 1 -> W++; SPEND(surplus) }
  :: d_step { MAY(surplus) && R < 2 -> R++; SPEND(surplus) }
#endif
#if READER_ENDS == 2
  :: d_step { reader_lives && !kill_reader -> kill_reader = true }
#endif
  od
}
#endif

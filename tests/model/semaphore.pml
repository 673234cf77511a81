/* The semaphore of linux.c on glibc's layout: a value and a number of waiters in one word, and a queue of sleepers in
 * the kernel. A post wakes only if there are more waiters than there were tokens: each of those tokens has woken a
 * waiter already. It has to hold beside waiters that take no token (waiter.c), which wake all others instead, and
 * beside sem_post and sem_wait of libc.
 *
 * run.ts defines a configuration: POSTS of ours, COUNT tokens each; LIBC_POSTS; BLOCKING readers, which take up to MOST
 * tokens a time; LEAVING waiters of an event loop; LIBC_WAITERS, which take one token each; GIVE_UPS, how often a wait
 * ends early. */

#define TOTAL (POSTS * COUNT + LIBC_POSTS)
#define SLEEPERS (BLOCKING + LIBC_WAITERS + LEAVING)
/* A sleeper's place in the queue: the posters are started before them. */
#define ME (_pid - 1 - (LIBC_POSTS > 0 -> 1 : 0))
#define MIN(a, b) ((a) < (b) -> (a) : (b))

byte value, waiters;
bool asleep[SLEEPERS]; /* in the queue of the futex */
byte sleeping;
byte awake_for_token;  /* between the end of a wait and the take that follows it */
byte posting;          /* between an addition and its wake-up */
byte give_ups = GIVE_UPS;
byte taken;

/* FUTEX_WAKE: any of those that sleep. */
inline wake(most) {
  atomic {
    n = most;
    do
    :: n > 0 && sleeping > 0 ->
      if
      :: asleep[0] -> asleep[0] = false
#if SLEEPERS > 1
      :: asleep[1] -> asleep[1] = false
#endif
#if SLEEPERS > 2
      :: asleep[2] -> asleep[2] = false
#endif
      fi;
      sleeping--;
      n--
    :: else -> break
    od;
    n = 0
  }
}

active [1] proctype Poster() {
  byte left = POSTS, n, before, had;
  do
  :: left > 0 ->
#ifdef WITHOUT_WAITERS_IN_THE_WORD
    had = waiters;
    atomic { before = value; value = value + COUNT; left--; posting++ };
#else
    atomic { before = value; had = waiters; value = value + COUNT; left--; posting++ };
#endif
    if
    :: before < had -> wake(COUNT)
    :: else
    fi;
    atomic { posting--; before = 0; had = 0 }
  :: left == 0 -> break
  od
}

#if LIBC_POSTS > 0
active proctype LibcPoster() {
  byte left = LIBC_POSTS, n, had;
  do
  :: left > 0 ->
    atomic { had = waiters; value++; left--; posting++ };
    if
    :: had > 0 -> wake(1)
    :: else
    fi;
    atomic { posting--; had = 0 }
  :: left == 0 -> break
  od
}
#endif

/* zb_semaphore_await. `got`: there is a token, and it is left. */
inline await(me) {
  atomic { waiters++; seen = value };
  got = false;
  do
  :: seen > 0 -> got = true; break
  :: seen == 0 ->
    atomic { /* FUTEX_WAIT looks at the value once more, and sleeps in the same step */
      if
      :: value == 0 -> asleep[me] = true; sleeping++
      :: else
      fi
    }
    if
    :: !asleep[me] -> seen = value
    :: atomic { asleep[me] && give_ups > 0 -> give_ups--; asleep[me] = false; sleeping--; seen = value; got = (seen > 0) };
      break
    :: taken == TOTAL && asleep[me] -> goto over
    fi
  od;
  atomic { waiters--; seen = 0; awake_for_token++ }
}

#if BLOCKING > 0
active [BLOCKING] proctype Reader() {
  byte me = ME, seen, before, n;
  bool got;
  do
  :: taken == TOTAL -> break
  :: else ->
    await(me);
    /* zb_semaphore_take */
    atomic {
      before = MIN(value, MOST);
      value = value - before;
      taken = taken + before;
      awake_for_token--;
#ifndef WITHOUT_PASSING_ON
      n = (value > 0 && waiters > 0 -> 1 : 0);
#endif
      posting = posting + n;
      before = 0
    }
#ifndef WITHOUT_PASSING_ON
    if
    :: n > 0 -> wake(value); posting--
    :: else
    fi
#endif
  od;
over:
  skip
}
#endif

#if LEAVING > 0
active [LEAVING] proctype Waiter() {
  byte me = ME, seen, n;
  bool got;
  do
  :: taken == TOTAL -> break
  :: else ->
    await(me);
    if
#ifndef WITHOUT_WAKING_ALL
    :: got -> wake(SLEEPERS)
#endif
    :: else
    fi;
    awake_for_token--;
    (value == 0 || taken == TOTAL) /* the event loop asks again when it has found nothing more */
  od;
over:
  skip
}
#endif

#if LIBC_WAITERS > 0
active [LIBC_WAITERS] proctype LibcWaiter() {
  byte me = ME;
  do
  :: taken == TOTAL -> break
  :: else ->
    waiters++;
    do
    :: atomic { value > 0 -> value--; waiters--; taken++ }; break
    :: atomic { value == 0 -> asleep[me] = true; sleeping++ };
      if
      :: !asleep[me]
      :: taken == TOTAL && asleep[me] -> goto over
      fi
    od
  od;
over:
  skip
}
#endif

/* Nobody sleeps while there is a token for him: once every post has done its wake-up and whoever was woken has got
 * going, there are no sleepers or no tokens. */
active proctype Monitor() {
end:
  atomic {
    (value > 0 && sleeping > 0 && posting == 0 && awake_for_token == 0 && waiters == sleeping);
    assert(false)
  }
}

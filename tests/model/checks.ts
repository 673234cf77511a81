// The configurations of the models, and the rules that the mutations take away.

export interface Check {
  model: "ring" | "semaphore" | "roles" | "sharing";
  /** What the configuration is about. */
  about: string;
  macros: Readonly<Record<string, string | number>>;
  /** Also that frames go on being delivered, under weak fairness. */
  liveness?: boolean;
  /** It cannot hold: what it finds is known, and cannot be prevented. */
  isFinding?: boolean;
  /** Checked only with --large, or if it is named. */
  isLarge?: boolean;
}

export interface Mutation {
  /** The rule that is taken away. */
  without: string;
  /** The configuration that fails without it. */
  in: string;
  /** It holds all the same: the rule is there for something that the model does not check. */
  isHarmless?: boolean;
}

const quiet = { SLICES: 0, LEAVES: 0, CRASHES: 0, LOST: 0, SURPLUS: 0, READER_ENDS: 0, BATCH: 1 };
const inPairs = { BATCH: 2 };
const narrow = { LOOK: 1, HOLD: 1 };
const two = { LOOK: 2, HOLD: 2 };
const three = { LOOK: 2, HOLD: 3 };

const ringAndSemaphore: Readonly<Record<string, Check>> = {
  wraps: {
    model: "ring",
    about: "wraps and held frames; tokens alone wake",
    macros: { ...quiet, P: 7, H: 1, LARGEST: 3, ...three },
  },
  tails: {
    model: "ring",
    about: "headers of 2 units, so tails that are too short for one",
    macros: { ...quiet, P: 9, H: 2, LARGEST: 3, ...three },
  },
  "tokens of R": {
    model: "ring",
    about: "R is counted, and bounded",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two, COUNT_R: 1 },
  },
  departures: {
    model: "ring",
    about: "a writer leaves, and two others come after it",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, ...two, LEAVES: 2 },
  },
  "late tokens": {
    model: "ring",
    about: "the same with waits that end without a token: no departure is reported twice",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, ...narrow, SLICES: 2, LEAVES: 1, ONCE: 1 },
  },
  "dead writer": {
    model: "ring",
    about: "a writer is killed at any step, and another comes",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, ...narrow, SLICES: 2, CRASHES: 1 },
  },
  "lost and surplus posts": {
    model: "ring",
    about: "a token of either semaphore vanishes and one comes from nowhere",
    macros: { ...quiet, P: 5, H: 2, LARGEST: 2, ...two, SLICES: 2, LOST: 1, SURPLUS: 1 },
  },
  "closing reader": {
    model: "ring",
    about: "the reader closes at any call; tokens alone wake",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two, READER_ENDS: 1 },
  },
  "dead reader": {
    model: "ring",
    about: "the reader is killed at any step",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two, SLICES: 1, READER_ENDS: 2 },
  },
  "v1 writer": {
    model: "ring",
    about: "wraps in two steps, short tails without a marker, never rewinds",
    macros: { ...quiet, P: 9, H: 2, LARGEST: 3, ...three, V1_WRITER: 1 },
  },
  "v1 writers that leave and die": {
    model: "ring",
    about: "one is killed at any step, one leaves; the next comes when the reader has reported that",
    macros: { ...quiet, P: 5, H: 2, LARGEST: 1, ...two, SLICES: 2, LEAVES: 1, CRASHES: 1, V1_WRITER: 1 },
  },
  "dead v1 writer": {
    model: "ring",
    about: "killed at any step, half a wrap or an unpublished position left behind",
    macros: { ...quiet, P: 7, H: 2, LARGEST: 2, ...narrow, SLICES: 2, CRASHES: 1, V1_WRITER: 1 },
  },
  "dead v1 writer and held frames": {
    model: "ring",
    about: "the same while frames are held: the reader settles after the last release",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, LOOK: 1, HOLD: 2, SLICES: 2, CRASHES: 1, V1_WRITER: 1 },
  },
  "v1 writer in Python": {
    model: "ring",
    about: "takes the ring for full if it stands at its end and the reader at 0; tokens alone wake",
    macros: { ...quiet, P: 7, H: 2, LARGEST: 3, ...two, V1_WRITER: 1, V1_PYTHON: 1 },
  },
  "v1 reader": {
    model: "ring",
    about:
      "one frame at a time, gives waste back early, counts on; three writers of ours one after the other",
    macros: { ...quiet, P: 9, H: 2, LARGEST: 4, ...narrow, LEAVES: 2, V1_READER: 1, FRAMES_IN_ALL: 5 },
  },
  "dead writer of a v1 reader": {
    model: "ring",
    about: "a writer is killed at any step, and another one goes on with the numbers",
    macros: {
      ...quiet,
      P: 5,
      H: 1,
      LARGEST: 3,
      ...narrow,
      LEAVES: 1,
      CRASHES: 1,
      V1_READER: 1,
      FRAMES_IN_ALL: 4,
    },
  },
  "dead writer of a v1 reader, frames that fill the ring": {
    model: "ring",
    about: "killed before it has published one, it leaves a header that looks like that of the last frame",
    macros: {
      ...quiet,
      P: 5,
      H: 1,
      LARGEST: 4,
      ...narrow,
      LEAVES: 1,
      CRASHES: 1,
      V1_READER: 1,
      FRAMES_IN_ALL: 4,
    },
    isFinding: true,
  },
  batches: {
    model: "ring",
    about: "one or two frames published at once, one or two released; tokens alone wake",
    macros: { ...quiet, ...inPairs, P: 7, H: 1, LARGEST: 2, ...two },
  },
  "batches and tails": {
    model: "ring",
    about: "the same with headers of 2 units",
    macros: { ...quiet, ...inPairs, P: 9, H: 2, LARGEST: 3, ...three },
  },
  "batches and tokens of R": {
    model: "ring",
    about: "the same with R counted, and bounded",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 2, ...two, COUNT_R: 1 },
  },
  "batches of a dead writer": {
    model: "ring",
    about: "killed at any step of a batch, and another comes",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...narrow, SLICES: 2, CRASHES: 1 },
  },
  "batches of writers that leave": {
    model: "ring",
    about: "a writer leaves, and two others come after it",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...two, LEAVES: 2 },
  },
  "batches and lost posts": {
    model: "ring",
    about: "a token of either semaphore vanishes and one comes from nowhere",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...two, SLICES: 2, LOST: 1, SURPLUS: 1 },
  },
  "batches and a dead reader": {
    model: "ring",
    about: "the reader is killed at any step",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 2, ...two, SLICES: 1, READER_ENDS: 2 },
  },
  "batches for a v1 reader": {
    model: "ring",
    about: "it takes one frame at a time, and gives waste back early",
    macros: {
      ...quiet,
      ...inPairs,
      P: 9,
      H: 2,
      LARGEST: 3,
      ...narrow,
      LEAVES: 2,
      V1_READER: 1,
      FRAMES_IN_ALL: 5,
    },
  },
  "progress in batches": {
    model: "ring",
    about: "every frame is delivered in the end",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...two },
    liveness: true,
  },
  progress: {
    model: "ring",
    about: "every frame is delivered in the end, with no faults",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two },
    liveness: true,
  },
  "progress in spite of faults": {
    model: "ring",
    about: "the same with a lost token and another writer",
    macros: { ...quiet, P: 3, H: 1, LARGEST: 1, ...narrow, SLICES: 2, LEAVES: 1, LOST: 1 },
    liveness: true,
  },
  "reader beside an event loop": {
    model: "semaphore",
    about: "a reader that takes 2 tokens, a waiter that takes none, posts of libc, a wait that ends early",
    macros: {
      POSTS: 3,
      COUNT: 2,
      LIBC_POSTS: 1,
      BLOCKING: 1,
      MOST: 2,
      LEAVING: 1,
      LIBC_WAITERS: 0,
      GIVE_UPS: 1,
    },
  },
  "peers of libc": {
    model: "semaphore",
    about: "three waiters of libc's",
    macros: {
      POSTS: 3,
      COUNT: 2,
      LIBC_POSTS: 1,
      BLOCKING: 0,
      MOST: 1,
      LEAVING: 0,
      LIBC_WAITERS: 3,
      GIVE_UPS: 0,
    },
  },
  "all of them": {
    model: "semaphore",
    about: "a reader, a waiter of an event loop and one of libc's",
    macros: {
      POSTS: 2,
      COUNT: 2,
      LIBC_POSTS: 1,
      BLOCKING: 1,
      MOST: 1,
      LEAVING: 1,
      LIBC_WAITERS: 1,
      GIVE_UPS: 1,
    },
  },
};

/** The processes of roles.pml, as sets. */
const reader = 1;
const readers = 3;
const writer = 4;
const writers = 12;
const v1Writer = 16;
const v1Reader = 32;
const cleaner = 64;
const viewer = 128;

const calm = {
  TWICE: 0,
  KILLS: 1,
  PIDS: "EQUAL",
  LEASE: "TRUTH",
  SHARED_TMP: 0,
  TRIES: 1,
  LOOKS: 1,
  SLICES: 1,
  ZEROING: 0,
  ASKING: 1,
};

/** The ways in which processes of several containers may be numbered. */
const numberings = {
  "one namespace": "ONE_NAMESPACE",
  "equal pids": "EQUAL",
  "different pids": "DIFFERENT",
  "repeated pids": "REPEATED",
} as const;

/** What the kernel says about who else has the memory open, if it does not tell the truth. */
const answers = { "always open": "ALWAYS_YES", "may not ask": "REFUSED" } as const;

/** One configuration of roles.pml for each way; the name of the way comes first in the name of the configuration. */
function rolesBy(
  macro: "PIDS" | "LEASE",
  ways: Readonly<Record<string, string>>,
  name: string,
  check: Omit<Check, "model">,
): Record<string, Check> {
  const entries = Object.entries(ways).map(([way, value]) => {
    const macros = { ...calm, ...check.macros, [macro]: value };
    return [`${way}: ${name}`, { ...check, model: "roles", macros }] as const;
  });
  return Object.fromEntries(entries);
}

const roles: Readonly<Record<string, Check>> = {
  ...rolesBy("PIDS", numberings, "two writers and a v1 one", {
    about: "who may join, and who is told from whom",
    macros: { WHO: reader + writers + v1Writer },
    isLarge: true,
  }),
  ...rolesBy("PIDS", numberings, "writers that come again", {
    about: "one of ours and one of version 1, each twice; two are killed",
    macros: { WHO: reader + writer + v1Writer, TWICE: writer + v1Writer, KILLS: 2, TRIES: 2 },
  }),
  ...rolesBy("PIDS", numberings, "two writers and a viewer", {
    about: "a viewer has the memory open for a moment",
    macros: { WHO: reader + writers + viewer },
  }),
  ...rolesBy("PIDS", numberings, "two readers", {
    about: "each starts twice, and two are killed",
    macros: { WHO: readers, TWICE: readers, KILLS: 2 },
  }),
  ...rolesBy("PIDS", numberings, "two readers and a cleaner", {
    about: "one reader starts twice, and two processes are killed",
    macros: { WHO: readers + cleaner, TWICE: reader, KILLS: 2 },
  }),
  ...rolesBy("PIDS", numberings, "a v1 reader", {
    about: "beside a reader and a writer of ours, and a cleaner",
    macros: { WHO: reader + writer + v1Reader + cleaner },
    isLarge: true,
  }),
  ...rolesBy("PIDS", { "equal pids": "EQUAL" }, "two readers, a writer and a cleaner", {
    about: "all that is ours",
    macros: { WHO: readers + writer + cleaner },
    isLarge: true,
  }),
  ...rolesBy("PIDS", { "different pids": "DIFFERENT" }, "a v1 writer that asks nobody", {
    about: "as in Python: it does not look whether the reader is alive",
    macros: { WHO: reader + writer + v1Writer, TWICE: writer + v1Writer, KILLS: 2, TRIES: 2, ASKING: 0 },
    isLarge: true,
  }),
  ...rolesBy("PIDS", { "repeated pids": "REPEATED" }, "nobody dies", {
    about: "two writers and one of version 1",
    macros: { WHO: reader + writers + v1Writer, KILLS: 0 },
  }),
  ...rolesBy("LEASE", answers, "two writers", {
    about: "one of them comes again",
    macros: { WHO: reader + writers, TWICE: writer },
  }),
  ...rolesBy("LEASE", answers, "a v1 reader and a cleaner", {
    about: "readers start twice, and two processes are killed",
    macros: { WHO: reader + v1Reader + cleaner, TWICE: reader + v1Reader, KILLS: 2 },
  }),
  ...rolesBy("LEASE", answers, "two readers, a writer and a cleaner", {
    about: "all that is ours",
    macros: { WHO: readers + writer + cleaner },
    isLarge: true,
  }),
  ...rolesBy("LEASE", { "always open": "ALWAYS_YES" }, "a writer of a v1 reader", {
    about: "an answer that is always the same is none",
    macros: { WHO: reader + writer + v1Reader, TRIES: 2 },
  }),
  "one /tmp: two readers, a v1 reader and a cleaner": {
    model: "roles",
    about: "all see the same lock files",
    macros: { ...calm, WHO: readers + v1Reader + cleaner, TWICE: reader, KILLS: 2, SHARED_TMP: 1 },
  },
  "posts alone": {
    model: "roles",
    about: "a reader that looks only after a post notices each writer that leaves",
    macros: { ...calm, WHO: reader + writer, TWICE: writer, KILLS: 0, TRIES: 2, LOOKS: 2, SLICES: 0 },
  },
  "a v1 writer that zeroes": {
    model: "roles",
    about: "once",
    macros: { ...calm, WHO: reader + writer + v1Writer, TWICE: writer, TRIES: 2, LOOKS: 2, ZEROING: 1 },
  },
  "a v1 writer that zeroes and comes again": {
    model: "roles",
    about: "in the same namespace",
    macros: {
      ...calm,
      WHO: reader + writer + v1Writer,
      TWICE: v1Writer,
      PIDS: "ONE_NAMESPACE",
      TRIES: 2,
      LOOKS: 2,
      ZEROING: 1,
    },
  },
  "a v1 writer that zeroes and comes again with an equal pid": {
    model: "roles",
    about: "nobody can tell it from our writer, whose pid it zeroed before",
    macros: { ...calm, WHO: reader + writer + v1Writer, TWICE: v1Writer, TRIES: 2, LOOKS: 2, ZEROING: 1 },
    isFinding: true,
  },
};

/** Of sharing.pml: one target, room for three descriptors, and nothing happens. */
const undisturbed = {
  TARGETS: 1,
  PS: 2,
  PT: 3,
  COPY: 2,
  HOLD_F: 1,
  HOLD_T: 1,
  LIMIT: 0,
  LOOK: 1,
  SLICES: 0,
  KILL_S: 0,
  KILL_F: 0,
  KILL_T: 0,
  LEAVE_S: 0,
  LEAVE_T: 0,
  CLOSE_F: 0,
  CLOSE_T: 0,
  TAKE_BACK: 0,
  SECOND: 0,
  OTHER: 0,
  LOST: 0,
  SURPLUS: 0,
};
/** Room for two frames, whatever they are. */
const room = { PT: 2, COPY: 1 };
const attached = { ATTACHED: 1, COARSE: 1 };
const fanOut = { TARGETS: 2, PT: 1, COPY: 1, ...attached };

/** A configuration of sharing.pml: what it is about, and what is different from {@link undisturbed}. */
type Difference = readonly [about: string, macros: Check["macros"]];

/** Configurations of sharing.pml, which all have "sharing" in their names. */
function sharingBy(
  differences: Readonly<Record<string, Difference>>,
  more: Partial<Check> = {},
): Record<string, Check> {
  const entries = Object.entries(differences).map(([name, [about, macros]]) => {
    const check: Check = { model: "sharing", about, macros: { ...undisturbed, ...macros }, ...more };
    return [`sharing: ${name}`, check] as const;
  });
  return Object.fromEntries(entries);
}

const sharing = {
  ...sharingBy({
    "tokens alone": ["a target's reader holds two frames; tokens alone wake", { HOLD_T: 2 }],
    "bytes and order": ["each frame once, in order, with its bytes; tokens alone wake", { NUMBERS: 8 }],
    "several tokens": [
      "a target's reader takes two tokens at once; tokens alone wake",
      { HOLD_T: 2, LOOK: 2, NUMBERS: 3 },
    ],
    "any order": [
      "the forwarder's program holds two frames and passes on any of them; tokens alone wake",
      { PS: 3, PT: 2, HOLD_F: 2, HOLD_T: 2, ANY_ORDER: 1, COARSE: 1 },
    ],
    "a limit": ["a target may hold one frame only; tokens alone wake", { HOLD_T: 2, LIMIT: 1, NUMBERS: 3 }],
    "a writer of S leaves": [
      "another one comes when S is empty; tokens alone wake",
      { LEAVE_S: 1, NUMBERS: 3 },
    ],
    "a dead writer of S": ["killed at any step, and another one comes", { KILL_S: 1, SLICES: 2, ACCEPTS: 1 }],
    "a dead forwarder": ["killed at any step", { KILL_F: 1, SLICES: 2 }],
    "a dead target": ["its reader is killed at any step", { KILL_T: 1, SLICES: 2, ACCEPTS: 1 }],
    "a target closes": ["its reader closes at any call; tokens alone wake", { CLOSE_T: 1, HOLD_T: 2 }],
    "the forwarder closes": [
      "its SharedWriter first, and then S; tokens alone wake",
      { CLOSE_F: 1, HOLD_T: 2 },
    ],
    "a SharedWriter closes": ["another one comes, twice; tokens alone wake", { LEAVE_T: 2 }],
    "a SharedWriter closes unseen": [
      "the same once, with waits that end without a token",
      { LEAVE_T: 1, SLICES: 2 },
    ],
    "taken back": [
      "the forwarder takes its attachment back, and attaches again; tokens alone wake",
      { TAKE_BACK: 1, HOLD_T: 2, NUMBERS: 3 },
    ],
    "a second source": [
      "the forwarder's reader of S closes, its writer stays, and shares frames of another one",
      { SECOND: 1, HOLD_T: 2 },
    ],
    "a later writer of T": [
      "another forwarder shares with T when a SharedWriter was closed",
      { LEAVE_T: 1, OTHER: 4, ...attached, ...room },
    ],
    "lost and surplus tokens": [
      "a token of any semaphore vanishes and one comes from nowhere",
      { LOST: 1, SURPLUS: 1, SLICES: 1, NUMBERS: 3 },
    ],
    "everybody dies": [
      "all three are killed, and a writer of S leaves",
      { KILL_S: 1, KILL_F: 1, KILL_T: 1, LEAVE_S: 1, SLICES: 2, ...attached, ...room },
    ],
    "everybody closes": [
      "a SharedWriter, the forwarder and the reader of a target, in any order; tokens alone wake",
      { LEAVE_T: 1, CLOSE_F: 1, CLOSE_T: 1, ...attached, ...room },
    ],
    "fan-out": ["two targets; tokens alone wake", { TARGETS: 2, PT: 1, COPY: 1, COARSE: 1 }],
    "fan-out step by step": [
      "the same with targets that have accepted",
      { TARGETS: 2, PT: 1, COPY: 1, ATTACHED: 1 },
    ],
    "fan-out with copies": [
      "a copy takes all of a target; tokens alone wake",
      { ...fanOut, PT: 2, COPY: 2, NUMBERS: 6 },
    ],
    "fan-out in any order": [
      "two targets, and frames are passed on in any order; tokens alone wake",
      { ...fanOut, PT: 2, HOLD_F: 2, ANY_ORDER: 1 },
    ],
    "fan-out with a dead target": [
      "one of two readers is killed at any step",
      { ...fanOut, KILL_T: 1, SLICES: 2 },
    ],
    "fan-out with a dead forwarder": ["killed at any step", { ...fanOut, KILL_F: 1, SLICES: 2 }],
    "fan-out, a target closes": [
      "one of two readers closes at any call; tokens alone wake",
      { ...fanOut, CLOSE_T: 1, NUMBERS: 3 },
    ],
    "fan-out, a SharedWriter closes": [
      "one of two, and another one comes; tokens alone wake",
      { ...fanOut, LEAVE_T: 1 },
    ],
  }),
  ...sharingBy(
    {
      progress: ["S's writer never waits for ever; tokens alone wake", {}],
      "progress in spite of a lost token": ["of any semaphore", { LOST: 1, SLICES: 2, COARSE: 1, ...room }],
      "progress without a target": [
        "S's writer goes on after the death of the only target's reader",
        { KILL_T: 1, SLICES: 2, ...attached, ...room },
      ],
      "progress in fan-out": ["two targets; tokens alone wake", fanOut],
    },
    { liveness: true },
  ),
};

export const checks: Readonly<Record<string, Check>> = { ...ringAndSemaphore, ...roles, ...sharing };

/** A rule that is taken away, and the configuration that has to fail without it. */
const mutationsOfTheRing: readonly Mutation[] = [
  { without: "HEADER_FIRST", in: "lost and surplus posts" },
  { without: "ONE_LOAD", in: "tails" },
  { without: "WASTE_IN_THE_NEED", in: "wraps" },
  { without: "SECOND_LOOK", in: "wraps" },
  { without: "COUNTING_THE_BATCH", in: "batches" },
  { without: "PUBLISHING_BEFORE_POSTING", in: "batches" },
  { without: "COUNTING_EVERY_FRAME", in: "batches and tokens of R" },
  { without: "THE_OWED_TOKEN", in: "late tokens" },
  { without: "EMPTYING_R", in: "tokens of R" },
  { without: "EMPTYING_W", in: "v1 reader", isHarmless: true },
  { without: "SPARING_A_V1_READER", in: "v1 reader" },
  { without: "FOLLOWING_THE_NUMBERS", in: "v1 reader" },
  { without: "PUTTING_THE_POSITIONS_BACK", in: "v1 reader" },
  { without: "EMPTY_RING_FOR_A_NEW_WRITER", in: "v1 reader" },
  { without: "FRESH_POSITION", in: "wraps" },
  { without: "WASTE_HELD", in: "wraps" },
  { without: "ORDER_OF_RELEASE", in: "wraps" },
  { without: "SURPLUS_TEST", in: "lost and surplus posts" },
  { without: "RECOVERY", in: "progress in spite of faults" },
  { without: "NOTICING_A_NEW_WRITER", in: "progress in spite of faults" },
  { without: "JUDGING_FIRST", in: "dead writer" },
  { without: "SETTLING", in: "dead v1 writer" },
  { without: "SETTLING_THE_POSITION", in: "dead v1 writer" },
  { without: "SETTLING_ONLY_AFTER_THE_WRITER", in: "v1 writers that leave and die" },
  { without: "CLAIM_TO_SETTLE", in: "v1 writers that leave and die" },
  { without: "SETTLING_LATER", in: "dead v1 writer and held frames" },
  { without: "STORING_THE_END", in: "v1 writer in Python" },
  { without: "POSITION_BEFORE_SPACE", in: "wraps" },
  { without: "PASSING_ON", in: "reader beside an event loop" },
  { without: "WAKING_ALL", in: "reader beside an event loop" },
  { without: "WAITERS_IN_THE_WORD", in: "peers of libc" },
];
const mutationsOfRoles: readonly Mutation[] = [
  { without: "THE_MARK", in: "repeated pids: two writers and a v1 one" },
  { without: "THE_MARK", in: "repeated pids: nobody dies" },
  { without: "THE_MARK", in: "may not ask: two writers" },
  { without: "JUDGING_UNDER_THE_LOCK", in: "equal pids: two writers and a viewer" },
  { without: "JUDGING_UNDER_THE_LOCK", in: "repeated pids: nobody dies" },
  { without: "LOCKING_WHAT_HAS_THE_NAME", in: "equal pids: two readers" },
  { without: "LOCKING_WHAT_HAS_THE_NAME", in: "equal pids: two readers and a cleaner" },
  { without: "MEMORY_BEFORE_SEMAPHORES", in: "equal pids: two readers" },
  { without: "LOCKING_NEW_MEMORY", in: "equal pids: two readers" },
  { without: "CLOSING_BEFORE_SLEEPING", in: "equal pids: two writers and a v1 one" },
  { without: "STOPPING_AT_ANOTHER_PID", in: "different pids: a v1 writer that asks nobody" },
  { without: "THE_AGE_OF_THE_LOCK_FILE", in: "may not ask: a v1 reader and a cleaner" },
  { without: "TESTING_THE_QUESTION", in: "always open: a writer of a v1 reader" },
  { without: "WAITING_FOR_A_LEAVING_READER", in: "may not ask: a v1 reader and a cleaner" },
  { without: "LOCKING_BEFORE_JUDGING", in: "equal pids: two writers and a viewer" },
  { without: "LOCKING_TO_SETTLE", in: "equal pids: two writers and a viewer" },
  {
    without: "GIVING_THE_PID_UP_BEFORE_THE_LOCK",
    in: "equal pids: two writers and a viewer",
    isHarmless: true,
  },
  { without: "UNLOCKING_BEFORE_POSTING", in: "posts alone" },
  { without: "A_ROLE_BEHIND_THE_OWN_PID", in: "equal pids: two writers and a v1 one" },
  { without: "A_ROLE_TO_ASK_FROM", in: "equal pids: two writers and a v1 one" },
  { without: "LEAVING_THE_PID_TO_ITS_WRITER", in: "a v1 writer that zeroes" },
  { without: "KEEPING_AN_UNKNOWN_READER", in: "equal pids: a v1 reader" },
  { without: "KEEPING_WHAT_IS_OPEN", in: "equal pids: a v1 reader" },
  { without: "SWAPPING_THE_PID_BACK", in: "different pids: a v1 writer that asks nobody" },
  { without: "UNLOCKING_BEFORE_POSTING", in: "equal pids: two writers and a viewer", isHarmless: true },
];

const mutationsOfSharing: readonly Mutation[] = [
  { without: "REFERENCES", in: "sharing: tokens alone" },
  { without: "COPYING_WHAT_CAME_SHARED", in: "sharing: a dead target" },
  { without: "A_COUNTER", in: "sharing: a later writer of T" },
  { without: "NOTING_THE_COUNT_AT_FIRST", in: "sharing: a later writer of T" },
  { without: "COUNTING_DESCRIPTORS_ALONE", in: "sharing: tokens alone" },
  { without: "COUNTING_ON_RELEASE", in: "sharing: tokens alone" },
  { without: "COUNTING_IN_ORDER", in: "sharing: tokens alone" },
  { without: "COUNTING_BEFORE_CREDIT", in: "sharing: a SharedWriter closes" },
  { without: "COUNTING_BEFORE_POSTING", in: "sharing: tokens alone" },
  { without: "CREDIT_BEFORE_POSTING", in: "sharing: tokens alone" },
  { without: "COUNTING_FOR_EARLIER_SOURCES", in: "sharing: a second source" },
  { without: "TOKENS_BEFORE_COLLECTING", in: "sharing: tokens alone" },
  { without: "WAITING_FOR_R", in: "sharing: tokens alone" },
  { without: "LEAVING_R_ALONE", in: "sharing: a later writer of T" },
  { without: "SPARING_LATER_COUNTS", in: "sharing: a later writer of T" },
  { without: "KEEPING_REFERENCES_ON_CLOSE", in: "sharing: a SharedWriter closes" },
  { without: "KEEPING_SPACE_ON_CLOSE", in: "sharing: the forwarder closes" },
  { without: "JUDGING_AGAIN", in: "sharing: a SharedWriter closes unseen" },
  { without: "KEEPING_THE_OTHER_TOKENS", in: "sharing: several tokens" },
  { without: "UNMAPPING_AFTER_THE_LAST_FRAME", in: "sharing: taken back" },
  { without: "MAPPING_BEFORE_THE_ANSWER", in: "sharing: the forwarder closes" },
  { without: "DETACHING_FIRST", in: "sharing: a target closes" },
  { without: "LOOKING_BEFORE_COUNTING", in: "sharing: a target closes" },
  { without: "NOTING_THE_LAST_COUNT", in: "sharing: a dead target" },
  { without: "DROPPING_AT_DEATH", in: "sharing: progress without a target" },
  { without: "TAKING_ATTACHMENTS_WITHOUT_A_TOKEN", in: "sharing: a dead forwarder" },
  { without: "COLLECTING_WITHOUT_A_WRITER", in: "sharing: a writer of S leaves" },
];

export const mutations: readonly Mutation[] = [
  ...mutationsOfTheRing,
  ...mutationsOfRoles,
  ...mutationsOfSharing,
];

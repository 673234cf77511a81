/* The helper's ABI: shared memory, semaphores, lock files, processes, and the ring of frames.
 *
 * Ownership: an object that a *_open, *_create or *_view function stores through its last parameter belongs to the
 * caller until the matching *_close. Memory and semaphores must outlive the readers, writers and waiters that use
 * them. Threads: an object belongs to the thread that opened it. When that thread ends, the helper closes what the thread
 * has not: for peers it is as if a process had died that holds its roles and locks. A waiter may have a thread of
 * its own, which touches nothing but its semaphore. Results: 0 or a count, otherwise a negative code of codes.def. No function prints, exits,
 * or retries after EINTR. Sizes and sequence numbers of frames are doubles, exact to 2^53, because they cross into
 * JavaScript. */
#ifndef ZEROBUFFER_H
#define ZEROBUFFER_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#define ZB_API __declspec(dllexport)
#else
#define ZB_API __attribute__((visibility("default")))
#endif

#define ZB_ABI_VERSION 11

enum zb_code {
  ZB_OK = 0,
#define ZB_CODE(name, value, text) ZB_##name = (value),
#include "codes.def"
#undef ZB_CODE
};

/* The control block at the start of the shared memory (docs/protocol.md, section 1). Little-endian. Every access to a
 * field that a peer may change is atomic (ring.h). The comments say who stores a field. */
struct zb_oieb {
  uint32_t oieb_size;              /* creator, last of all: 128 */
  uint8_t version[4];              /* creator: 1 0 0 0 */
  uint64_t metadata_size;          /* creator */
  uint64_t metadata_free_bytes;    /* writer */
  uint64_t metadata_written_bytes; /* writer; the reader between two writers */
  uint64_t payload_size;           /* creator */
  uint64_t payload_free_bytes;     /* both, by atomic add and subtract */
  uint64_t payload_write_pos;      /* writer */
  uint64_t payload_read_pos;       /* reader; the writer when it rewinds an empty ring */
  uint64_t payload_written_count;  /* writer */
  uint64_t payload_read_count;     /* reader */
  uint64_t writer_pid;             /* writer; a peer that removes the pid of a dead writer */
  uint64_t reader_pid;             /* reader */
  uint64_t answer;                 /* reader: what it answers to the last attachment (sharing.h) */
  uint64_t released_descriptors;   /* reader: how many so far, modulo 2^64 */
  uint64_t mark;                   /* a writer with the lock of its role: its pid as long as it has it */
  uint64_t flags;                  /* creator: ZB_FLAG_* */
};

_Static_assert(sizeof(struct zb_oieb) == 128, "OIEB size");
_Static_assert(offsetof(struct zb_oieb, oieb_size) == 0, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, version) == 4, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, metadata_size) == 8, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, metadata_free_bytes) == 16, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, metadata_written_bytes) == 24, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, payload_size) == 32, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, payload_free_bytes) == 40, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, payload_write_pos) == 48, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, payload_read_pos) == 56, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, payload_written_count) == 64, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, payload_read_count) == 72, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, writer_pid) == 80, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, reader_pid) == 88, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, answer) == 96, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, released_descriptors) == 104, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, mark) == 112, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, flags) == 120, "OIEB layout");

/* Its writer has made it and waits for a reader to adopt it. */
#define ZB_FLAG_CREATED_BY_WRITER 1u
/* Its reader accepts sequence numbers in any order (responses of a duplex channel). */
#define ZB_FLAG_ANY_SEQUENCE 2u
/* Its reader takes descriptors of frames that lie in another buffer. */
#define ZB_FLAG_SHARING 4u
/* In a buffer of requests: its reader heeds cancellations. In one of responses: it has a table of them behind the ring. */
#define ZB_FLAG_CANCELLATION 8u
/* Its reader has the lock of its role as long as it lives, and drops a token that comes without a frame. */
#define ZB_FLAG_LOCKED_ROLES 16u

/* Before each frame in the ring. A header of two zeros is a wrap marker. */
struct zb_frame_header {
  uint64_t size;
  uint64_t sequence;
};

_Static_assert(sizeof(struct zb_frame_header) == 16, "frame header size");
_Static_assert(offsetof(struct zb_frame_header, size) == 0, "frame header layout");
_Static_assert(offsetof(struct zb_frame_header, sequence) == 8, "frame header layout");

/* The place of a frame that was read. */
struct zb_frame_place {
  double offset; /* of the frame's bytes, from the start of the shared memory */
  double size;   /* in bytes, at least 1 */
  double sequence;
};

/* The most bytes of a buffer's name. */
#define ZB_NAME_MAX 245

typedef struct zb_memory zb_memory;
typedef struct zb_semaphore zb_semaphore;
typedef struct zb_lock zb_lock;
typedef struct zb_reader zb_reader;
typedef struct zb_writer zb_writer;
typedef struct zb_waiter zb_waiter;

/* A side of a buffer: which of the two semaphores, and which process id in the OIEB. */
enum zb_role { ZB_WRITER = 0, ZB_READER = 1 };

/* ---- this library ------------------------------------------------------------------------------------------- */

/* ZB_ABI_VERSION of the library that was loaded. */
ZB_API int32_t zb_abi_version(void);
/* Stores the path of the file that this library was loaded from, with a 0 at its end. ZB_NOT_FOUND if the system does
 * not tell, or if it does not fit in `capacity` bytes. */
ZB_API int32_t zb_library_path(char *path, uint32_t capacity);
/* errno (on Windows GetLastError) of the last call of this thread that returned ZB_SYSTEM. */
ZB_API int32_t zb_system_error(void);
/* Sleeps. Returns ZB_INTERRUPTED if a signal ends that (see below). */
ZB_API int32_t zb_sleep(int32_t wait_us);
/* The system's clock: microseconds since 1970, a whole number. */
ZB_API double zb_wall_clock_us(void);
/* 1 if `descriptor` is a pipe or a socket whose other end is closed, so that nothing can be written to it any more. On
 * Windows only a write tells: always 0. */
ZB_API int32_t zb_other_end_closed(int32_t descriptor);

/* ---- signals ------------------------------------------------------------------------------------------------- */

/* Signals that the program listens to end the waits of the thread that runs the listeners, and of no other: the wait returns
 * ZB_INTERRUPTED. A signal that arrived before the wait ends it as well, unless its listeners have begun to run. Each
 * signal ends one wait at the most. */

/* This thread runs the listeners. To be called before the program listens to SIGURG, which must have no other use in it;
 * the listener calls zb_signals_handled. On Windows that is not needed, and not known: there a Ctrl+C that has been
 * handled ends the next wait. */
ZB_API void zb_signals_open(void);
/* Looks which signals the program listens to. To be called whenever it begins to listen to one. */
ZB_API void zb_signals_watch(void);
/* How many waits of this thread signals have ended, modulo 2^32. */
ZB_API uint32_t zb_signals_ended_waits(void);
/* The listeners of the oldest signal that they have not handled are about to run. */
ZB_API void zb_signals_handled(void);

/* ---- lock files ---------------------------------------------------------------------------------------------- */

/* Opens and locks a file, exclusively and without waiting. `create` makes the file if it is missing. It follows no
 * links. The file must be regular with one name, and the path must still mean it once it is locked.
 * ZB_LOCKED, ZB_NOT_FOUND, ZB_UNSAFE, ZB_PERMISSION. */
ZB_API int32_t zb_lock_open(const char *path, int32_t create, zb_lock **lock);
/* Unlocks the file. With `remove`, first removes the path if it still means this file. */
ZB_API void zb_lock_close(zb_lock *lock, int32_t remove);
/* 1 if a process holds the lock, 0 if none does, or a code. */
ZB_API int32_t zb_lock_held(const char *path);

/* ---- shared memory ------------------------------------------------------------------------------------------- */

/* Makes the shared memory of a buffer: all pages allocated, all bytes 0. `mode` is the exact permission bits, or -1
 * for 0666 less the umask. On Linux no other process sees it before zb_memory_link. A system without unnamed objects
 * makes it under its name, exclusively. ZB_EXISTS. ZB_NO_SPACE: nothing is left behind. */
ZB_API int32_t zb_memory_create(const char *name, uint64_t size, int32_t mode, zb_memory **memory);
/* Gives new memory its name, exclusively, if it has none yet. ZB_EXISTS if something else has the name; the caller then
 * still has to close the memory. */
ZB_API int32_t zb_memory_link(zb_memory *memory);
/* Opens the shared memory of a buffer, or whatever file has its place, without mapping it: nobody takes this process for a
 * peer that has the memory mapped. Until zb_memory_map it has no address and takes no changes of the OIEB. `writable`: to
 * take a role of it; otherwise permission to read is enough. On a system whose memory is no file it is mapped at once. */
ZB_API int32_t zb_memory_look(const char *name, int32_t writable, zb_memory **memory);
/* Maps all of the memory, once. ZB_AGAIN if it is smaller than an OIEB. */
ZB_API int32_t zb_memory_map(zb_memory *memory);
/* Ends the owner's use of the memory, and gives up its locks. It is unmapped now, or when its last window is gone: then this
 * returns 1, otherwise 0. */
ZB_API int32_t zb_memory_close(zb_memory *memory);
/* Gives up the roles and their locks as a death does, but keeps the memory open: the pids stay. */
ZB_API void zb_memory_resign(zb_memory *memory);
/* Notes one more window onto the memory. The memory stays mapped until the window is given back. */
ZB_API void zb_memory_lend(zb_memory *memory);
/* Gives a window back, on any thread. JavaScriptCore calls it with the window's bytes when nothing can reach them any
 * more. */
ZB_API void zb_memory_return(void *bytes, zb_memory *memory);
ZB_API void *zb_memory_address(zb_memory *memory);
ZB_API double zb_memory_size(zb_memory *memory);
/* Copies `size` bytes at `offset` to the target. The caller guarantees that the range is inside the memory, unless it is
 * not mapped: bytes past its end are 0 then. */
ZB_API void zb_memory_copy(zb_memory *memory, double offset, double size, void *target);
/* Copies the bytes of `count` frames of a zb_reader_view, one after the other, to the target. The caller guarantees
 * that they are lent and that the target has room. */
ZB_API void zb_memory_copy_frames(zb_memory *memory, const struct zb_frame_place *frames, int32_t count,
                                  void *target);
/* 0 if the buffer's name still means this memory, ZB_NOT_FOUND if it means none, ZB_EXISTS if another. */
ZB_API int32_t zb_memory_named(zb_memory *memory);
/* 1 if the user of this process owns the memory, or is root. */
ZB_API int32_t zb_memory_owned(zb_memory *memory);
/* Removes the name if it still means this memory. */
ZB_API int32_t zb_memory_unlink(zb_memory *memory);
/* 1 if this process has the memory open once more and holds the role there (zb_oieb_claim). */
ZB_API int32_t zb_memory_held_here(zb_memory *memory, int32_t role);
/* 1 if nobody else has the memory open, in any process; 0 if somebody has. ZB_UNSUPPORTED if this cannot be asked: on this
 * system, or about this file, which is another user's, or while a buffer that refers to its frames is read. A process that
 * opens the memory meanwhile waits for some microseconds. */
ZB_API int32_t zb_memory_alone(zb_memory *memory);

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

/* Makes the semaphore of a role with value 0, exclusively. `mode` as for zb_memory_create. */
ZB_API int32_t zb_semaphore_create(const char *name, int32_t role, int32_t mode, zb_semaphore **semaphore);
ZB_API int32_t zb_semaphore_open(const char *name, int32_t role, zb_semaphore **semaphore);
/* As zb_semaphore_open, but only for zb_semaphore_value: permission to read is enough. */
ZB_API int32_t zb_semaphore_view(const char *name, int32_t role, zb_semaphore **semaphore);
ZB_API void zb_semaphore_close(zb_semaphore *semaphore);
/* Removes the name if it still means this semaphore. */
ZB_API int32_t zb_semaphore_unlink(zb_semaphore *semaphore);
/* Removes the name, whatever it means. Only for a caller that holds the locks of a buffer that is gone. */
ZB_API int32_t zb_semaphore_remove(const char *name, int32_t role);
ZB_API void zb_semaphore_post(zb_semaphore *semaphore, int32_t count);
/* The number of tokens; on macOS, 1 if there are any. */
ZB_API int32_t zb_semaphore_value(zb_semaphore *semaphore);
/* Takes all tokens. */
ZB_API void zb_semaphore_clear(zb_semaphore *semaphore);
/* The number of threads that sleep until there is a token; ZB_UNSUPPORTED: the system does not tell. A thread that was
 * killed while it slept stays counted. */
ZB_API int32_t zb_semaphore_waiters(zb_semaphore *semaphore);

/* ---- processes ----------------------------------------------------------------------------------------------- */

/* When the process started, in a unit of the system. 0 if it lives and its start time cannot be read. -1 if it does not
 * live: a zombie does not, and the id of a thread is not a process unless it is the id of its own process. */
ZB_API double zb_process_start(uint32_t pid);
/* From now on, every process that this one starts, and every process that those start, ends with this one at the
 * latest, even if this one is killed. ZB_UNSUPPORTED except on Windows. */
ZB_API int32_t zb_children_bind(void);
/* Ends all of them now, at whatever depth. Does nothing without zb_children_bind. */
ZB_API void zb_children_end(void);
/* How often the process has the memory mapped, counted up to 2. ZB_PERMISSION if that cannot be read. */
ZB_API int32_t zb_process_maps(uint32_t pid, zb_memory *memory);

/* ---- the locks of roles --------------------------------------------------------------------------------------- */

/* Locks the bytes of the role's pid for this object, without waiting; the memory has to be writable. As long as it has the
 * lock, a peer in any namespace takes the role for one that a living process holds. ZB_LOCKED: somebody else has it.
 * ZB_UNSUPPORTED: the system has no such locks. ZB_OK also if this object has the lock already. */
ZB_API int32_t zb_role_lock(zb_memory *memory, int32_t role);
/* Gives the lock up, if this object has it. */
ZB_API void zb_role_unlock(zb_memory *memory, int32_t role);
/* 1 if somebody else has the lock, 0 if nobody else has it. ZB_UNSUPPORTED. */
ZB_API int32_t zb_role_locked(zb_memory *memory, int32_t role);

/* ---- the OIEB ------------------------------------------------------------------------------------------------ */

/* Loads the sixteen 8-byte words of the OIEB, each once. Words past the end of a memory that is not mapped are 0. */
ZB_API void zb_oieb_load(zb_memory *memory, uint64_t words[16]);
/* Fills the OIEB of new memory except `oieb_size`. Peers wait while that is 0. `role` and `pid` are those of the
 * creator, whose mapping holds the role from now on. */
ZB_API void zb_oieb_fill(zb_memory *memory, uint64_t metadata_size, uint64_t payload_size, int32_t role,
                         uint64_t pid, uint64_t flags);
/* Stores `oieb_size`, when everything else of the buffer is complete. A peer that sees it sees the rest. */
ZB_API void zb_oieb_publish(zb_memory *memory);
/* The pid of no process on any system. A peer with this pid is dead. */
#define ZB_PID_OF_NOBODY 0x7fffffff

/* Replaces the pid of a role by compare-and-swap. If `pid` is not 0, this object holds the role afterwards; if it is
 * 0, it does not. With the lock of the writer's role, the mark follows the pid: it is `pid` afterwards. ZB_EXISTS if the
 * field does not hold `expected`, or if this process holds the role through another object. */
ZB_API int32_t zb_oieb_claim(zb_memory *memory, int32_t role, uint64_t expected, uint64_t pid);
/* Puts a pid that somebody has overwritten with 0 back, by compare-and-swap. 1 if the field holds `pid` now. */
ZB_API int32_t zb_oieb_restore(zb_memory *memory, int32_t role, uint64_t pid);

/* ---- metadata ------------------------------------------------------------------------------------------------ */

/* Publishes metadata, in place of any that is there. ZB_TOO_LARGE. */
ZB_API int32_t zb_metadata_write(zb_memory *memory, const void *data, double size);
/* Copies the metadata and returns its length, or 0 if there is none. It looks once and never waits or loops.
 * ZB_AGAIN: a writer is replacing the metadata, or the length prefix does not agree with the OIEB. Look again after a
 * while. If that is still so after 100 ms, the metadata is corrupt.
 * ZB_BAD_CONTROL: the length is impossible. ZB_TOO_LARGE: `capacity` is too small.
 * After a negative code the bytes at `data` are undefined. */
ZB_API double zb_metadata_read(zb_memory *memory, void *data, double capacity);
/* Removes the metadata, between two writers. */
ZB_API void zb_metadata_clear(zb_memory *memory);

/* ---- cancellation -------------------------------------------------------------------------------------------- */

/* Words of 8 bytes in the table behind the ring of a response buffer. Only the client stores into it. */
#define ZB_CANCELLATION_WORDS 1024

/* Stores the number of a request that is taken back into its word, in place of an older one. `table` is where the table
 * begins, from the start of the memory: a multiple of 64, and the whole table lies in the memory. */
ZB_API void zb_cancellation_store(zb_memory *memory, double table, double sequence);
/* 1 if the word of the request has its number, otherwise 0. `table` as in zb_cancellation_store. */
ZB_API int32_t zb_cancellation_stored(zb_memory *memory, double table, double sequence);

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* The most frames that one zb_reader_next reads. */
#define ZB_READER_LOOKAHEAD 64

/* A reader's results, at the address of the reader. */
struct zb_reader_view {
  double fault_position; /* of the refused frame, in bytes from the start of the payload */
  double fault_expected; /* ZB_BAD_SEQUENCE: the expected number */
  double fault_found;    /* ZB_BAD_SEQUENCE: the number in the frame; ZB_BAD_FRAME: the size in the frame */
  double surplus_tokens; /* number of tokens that came without a frame */
  double surplus_seen;   /* set by the caller: how many of them it has dealt with */
  /* Of the last zb_reader_forward. */
  double forwarded;        /* number of frames that were passed on and released */
  double forwarded_bytes;  /* of those frames */
  double forwarded_shared; /* how many of them were passed on without a copy */
  double settle_due;       /* 1: the caller now has to settle (zb_reader_settle) */
  double left_first, left_end; /* frames of the last zb_reader_next in it that were not passed on */
  struct zb_frame_place frames[ZB_READER_LOOKAHEAD];
  char source_name[ZB_NAME_MAX + 1]; /* ZB_READ_ATTACHMENT: the name of the source, empty for none */
};

enum zb_reader_flags {
  ZB_WITHOUT_TOKEN = 1,  /* look for a frame although no token has come: its post may be lost */
  ZB_NEW_WRITER = 2,     /* with ZB_WITHOUT_TOKEN: also accept sequence 1, of a new writer */
  ZB_UNLESS_SURPLUS = 4, /* do not wait while there are surplus tokens that the caller has not dealt with */
};

/* How one side waits for the other. */
enum zb_wait {
  ZB_WAIT_ADAPTIVE = 0, /* spins for some microseconds if that has succeeded lately, then blocks */
  ZB_WAIT_SPIN = 1,     /* never blocks */
  ZB_WAIT_BLOCK = 2,    /* never spins */
};

/* Makes a reader that starts at the read position of the OIEB. The first frame must carry `sequence` or 1, and each one
 * after it the next number. With 0, frames may carry any number but 0. */
ZB_API int32_t zb_reader_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released,
                              double sequence, int32_t wait, zb_reader **reader);
ZB_API void zb_reader_close(zb_reader *reader);
/* Reads the available frames into the view, up to ZB_READER_LOOKAHEAD, and returns their number. Waits up to `wait_us`
 * for the first one, and some microseconds more while frames come in a stream. The frames are lent until they are
 * released. The next call overwrites the view.
 * A reader that takes descriptors may get ZB_READ_SHARED or ZB_READ_ATTACHMENT instead (sharing.h).
 * ZB_AGAIN: no frame came in time, or a token came without a frame. ZB_INTERRUPTED. ZB_BROKEN. ZB_BAD_CONTROL, ZB_BAD_FRAME,
 * ZB_BAD_SEQUENCE, ZB_BAD_DESCRIPTOR: a frame is refused, and every later call returns the same. */
ZB_API int32_t zb_reader_next(zb_reader *reader, int32_t wait_us, int32_t flags);
/* Releases `count` frames, beginning with the one of index `first`: the first frame that this reader reads has index
 * 0, and indices count modulo 2^32. Space returns to the writer in the order of reading, once every older frame is
 * released.
 * ZB_ALREADY: all of them were released before. ZB_SETTLE_DUE: released, and the caller now has to settle (see
 * zb_reader_settle). */
ZB_API int32_t zb_reader_release(zb_reader *reader, uint32_t first, uint32_t count);
#define ZB_SETTLE_DUE 1
/* Repairs what a v1 writer left unfinished when it went away: returns the waste of a wrap that it did not complete,
 * and takes back a position that it stored for a frame that it did not publish (docs/protocol.md, section 4).
 * Otherwise the ring never becomes empty again, and the next writer waits for that without end.
 *
 * Call it when the writer is gone, all its frames have been read, and the reader has taken the writer's place:
 * zb_oieb_claim from the pid of that writer, or from 0, to the reader's own pid, and afterwards back to 0. If the
 * place cannot be taken, another writer is there: do not settle. A call without need changes nothing.
 *
 * ZB_OK: settled, or nothing to settle. ZB_AGAIN: frames are held, and nothing can be settled while they are. The
 * reader remembers this. The zb_reader_release after which no frame is held returns ZB_SETTLE_DUE, once. The caller
 * then judges the writer again, takes its place from 0 or from the dead pid, calls this, and gives the place back. If
 * a writer lives there by then, the caller does nothing: the end of that writer is settled later.
 * ZB_BAD_CONTROL, ZB_BAD_FRAME, ZB_BAD_SEQUENCE, ZB_BROKEN as zb_reader_next: nothing is settled. */
ZB_API int32_t zb_reader_settle(zb_reader *reader);

/* ---- writing ------------------------------------------------------------------------------------------------- */

/* A writer's results, at the address of the writer. */
struct zb_writer_view {
  double offset;   /* of the acquired region, from the start of the shared memory */
  double waits;    /* number of writes that found too little room */
  double sequence; /* of the next frame; the caller may change it */
};

/* How far zb_ring_follow has come: zeros to begin with. */
struct zb_walk {
  double position; /* in the ring */
  double sequence; /* of the last frame; of the next one when the walk has ended */
};

/* Finds the number that the next frame must have for a reader that goes on counting when another writer comes, as v1 readers
 * do: walks over the headers in the empty ring of a buffer whose writer's place the caller has, before zb_writer_open. Takes
 * up to `slice_us`, and then returns ZB_AGAIN. ZB_BAD_SEQUENCE: the headers do not lead there. ZB_BAD_CONTROL. */
ZB_API int32_t zb_ring_follow(zb_memory *memory, struct zb_walk *walk, int32_t slice_us);
/* Makes a writer that continues at the write position of the OIEB. Its first frame carries `sequence`. It removes what
 * an earlier writer has left: in an empty ring tokens and, for a reader of ours, metadata. `reader_pid` is the reader that
 * the caller has looked at. If the OIEB holds another one, or another writer than now, calls return ZB_PEER_CHECK. */
ZB_API int32_t zb_writer_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released,
                              uint64_t reader_pid, double sequence, int32_t wait, zb_writer **writer);
/* Before the writer gives its place up: puts the positions of a ring that it has rewound and not used back, where the next
 * writer of a v1 reader looks for them (zb_ring_follow). */
ZB_API void zb_writer_leave(zb_writer *writer);
ZB_API void zb_writer_close(zb_writer *writer);
/* Tells the writer that the caller has looked at the reader: `reader_pid` lives, and the writer has its place. */
ZB_API void zb_writer_peer(zb_writer *writer, uint64_t reader_pid);
/* Writes one frame of `size` bytes: acquire, copy, commit. Waits up to `wait_us` for room. With 0 it waits for no
 * room, but it may take up to 30 us, or half the time that copying a large frame takes, to let the ring become empty.
 * ZB_AGAIN, ZB_INTERRUPTED, ZB_PEER_CHECK, ZB_TOO_LARGE, ZB_BAD_CONTROL, ZB_BROKEN: nothing has been written. */
ZB_API int32_t zb_writer_write(zb_writer *writer, const void *data, double size, int32_t wait_us);
/* Writes the `length` bytes at `data + offset` as frames of `frame_size` bytes; the last one may be shorter. Publishes
 * them together: as many as there is room for, at most 64, and about 64 KiB. Waits up to `wait_us` for room for the
 * first one. Returns the number of frames written, or a code as zb_writer_write. */
ZB_API int32_t zb_writer_write_frames(zb_writer *writer, const void *data, double offset, double length,
                                      double frame_size, int32_t wait_us);
/* Finds room for a frame of `size` bytes; the view says where. Codes and waits as zb_writer_write. */
ZB_API int32_t zb_writer_acquire(zb_writer *writer, double size, int32_t wait_us);
/* Publishes the acquired frame. */
ZB_API int32_t zb_writer_commit(zb_writer *writer);
/* Gives up the acquired region. It uses no sequence number. */
ZB_API void zb_writer_cancel(zb_writer *writer);

/* ---- passing frames on ---------------------------------------------------------------------------------------- */

/* Reads frames as zb_reader_next with ZB_UNLESS_SURPLUS, passes them on through `writer` while there is room at once, and releases
 * them: as zb_target_pass if the reader is the source of the writer's target, otherwise as zb_writer_write. Goes on with those of
 * the last call that are left, if there are any: numbers `first` to `end`, as the view said. Waits up to `wait_us` for the first
 * frame, and for others until `slice_us` have passed.
 *
 * Stops after `most` frames; after about `most_bytes` without a pause; before a larger frame; before a frame with number 1, which is
 * that of another writer; and before one that cannot be written, of which the next write says why. Then such frames are left:
 * they stay lent. Returns as the last zb_reader_next. */
ZB_API int32_t zb_reader_forward(zb_reader *reader, zb_writer *writer, int32_t first, int32_t end,
                                 int32_t most, double most_bytes, int32_t wait_us, int32_t slice_us);

/* ---- waiting without blocking -------------------------------------------------------------------------------- */

/* Makes what waits for a semaphore on behalf of an event loop: the kernel, if it is Linux and offers that (io_uring), or a
 * thread. `descriptor` receives a socket that becomes readable, with one byte for each wait. The caller closes it. On
 * Windows it receives the N of the named pipe \\.\pipe\zerobuffer-PID-N. */
ZB_API int32_t zb_waiter_open(zb_semaphore *semaphore, int32_t *descriptor, zb_waiter **waiter);
/* Starts one wait. A byte arrives when the semaphore has a token, which it keeps, or after `wait_us`. The next wait may start
 * once that byte is there. */
ZB_API void zb_waiter_arm(zb_waiter *waiter, int32_t wait_us);
/* Says that the byte is there: the waiter is no longer counted as one that each post has to wake. */
ZB_API void zb_waiter_heard(zb_waiter *waiter);
/* Ends the waiter at once, even during a wait. */
ZB_API void zb_waiter_close(zb_waiter *waiter);

#include "sharing.h"

#endif

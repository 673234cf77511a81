/*
 * The helper's ABI: shared memory, semaphores, lock files, process liveness and the frame ring.
 *
 * Ownership: whatever a *_open or *_create function stores through its last parameter belongs to the caller until
 * the matching *_close. Memory and semaphores must outlive the reader, writer or waiter made on them.
 * Threads: an object belongs to one thread at a time. Only a waiter has a thread of its own; it touches nothing
 * but its semaphore.
 * Results: 0 or a count, otherwise a negative code of codes.def. Nothing prints, exits, or retries on EINTR.
 * Sizes and sequence numbers on the per-frame path are doubles (exact to 2^53), because they cross into JavaScript.
 */
#ifndef ZEROBUFFER_H
#define ZEROBUFFER_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#define ZB_API __declspec(dllexport)
#else
#define ZB_API __attribute__((visibility("default")))
#endif

#define ZB_ABI_VERSION 3

enum zb_code {
  ZB_OK = 0,
#define ZB_CODE(name, value, text) ZB_##name = (value),
#include "codes.def"
#undef ZB_CODE
};

/* The control block at the start of the shared memory (docs/protocol.md, section 1). Little-endian; every access to a
 * field that a peer may change is an atomic in ring.c. "Writer" and "reader" name who stores it. */
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
  uint64_t writer_pid;             /* writer; the reader between two writers */
  uint64_t reader_pid;             /* reader */
  uint64_t reserved[3];            /* nobody */
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
_Static_assert(offsetof(struct zb_oieb, reserved) == 96, "OIEB layout");
_Static_assert(offsetof(struct zb_oieb, flags) == 120, "OIEB layout");

/* Made by its writer, waiting for a reader to adopt it. */
#define ZB_FLAG_CREATED_BY_WRITER 1u
/* Its reader takes sequence numbers in any order (responses of a duplex channel). */
#define ZB_FLAG_ANY_SEQUENCE 2u

/* Before each frame in the ring. A header of two zeros is a wrap marker. */
struct zb_frame_header {
  uint64_t size;
  uint64_t sequence;
};

_Static_assert(sizeof(struct zb_frame_header) == 16, "frame header size");
_Static_assert(offsetof(struct zb_frame_header, size) == 0, "frame header layout");
_Static_assert(offsetof(struct zb_frame_header, sequence) == 8, "frame header layout");

/* Where a frame lies that was read. */
struct zb_frame_place {
  double offset; /* of the frame's bytes from the start of the shared memory */
  double size;   /* in bytes, at least 1 */
  double sequence;
};

typedef struct zb_memory zb_memory;
typedef struct zb_semaphore zb_semaphore;
typedef struct zb_lock zb_lock;
typedef struct zb_reader zb_reader;
typedef struct zb_writer zb_writer;
typedef struct zb_waiter zb_waiter;

/* The two semaphores of a buffer, and the two process ids in its OIEB. */
enum zb_role { ZB_WRITER = 0, ZB_READER = 1 };

/* ---- this library ------------------------------------------------------------------------------------------- */

/* ZB_ABI_VERSION of the library that was loaded. */
ZB_API int32_t zb_abi_version(void);
/* Stores the path of the file that the library was loaded from, with a 0 behind it. ZB_NOT_FOUND if the system does
 * not tell it, or if it does not fit `capacity` bytes. */
ZB_API int32_t zb_library_path(char *path, uint32_t capacity);
/* errno (GetLastError on Windows) of this thread's last ZB_SYSTEM. */
ZB_API int32_t zb_system_error(void);
/* Sleeps. Returns ZB_INTERRUPTED if a signal came first. */
ZB_API int32_t zb_sleep(int32_t wait_us);

/* ---- lock files ---------------------------------------------------------------------------------------------- */

/* Opens and locks the file, exclusively and without waiting; `create` makes it where it is missing. Follows no
 * links; the file must be regular and have one name, and the path must mean it once it is locked.
 * ZB_LOCKED, ZB_NOT_FOUND, ZB_UNSAFE, ZB_PERMISSION. */
ZB_API int32_t zb_lock_open(const char *path, int32_t create, zb_lock **lock);
/* Unlocks; with `remove`, first removes the path if it still means this file. */
ZB_API void zb_lock_close(zb_lock *lock, int32_t remove);
/* Whether somebody holds the lock: 1, 0, or a code. */
ZB_API int32_t zb_lock_held(const char *path);

/* ---- shared memory ------------------------------------------------------------------------------------------- */

/* Makes the shared memory of a buffer, every page of it allocated, all zero. `mode` is the exact permission bits, or
 * -1 for 0666 less the umask. On Linux nobody else sees it before zb_memory_link; a system without unnamed objects
 * makes it under its name, exclusively. ZB_EXISTS, ZB_NO_SPACE (then nothing is left behind). */
ZB_API int32_t zb_memory_create(const char *name, uint64_t size, int32_t mode, zb_memory **memory);
/* Gives new memory its name, exclusively, if it has none yet. ZB_EXISTS if something else has the name: the memory is
 * still the caller's to close. */
ZB_API int32_t zb_memory_link(zb_memory *memory);
/* Maps the shared memory of a buffer as large as it is. ZB_AGAIN while it is smaller than an OIEB. */
ZB_API int32_t zb_memory_open(const char *name, zb_memory **memory);
/* zb_memory_open for who only looks: the mapping cannot be written, and permission to read is enough. */
ZB_API int32_t zb_memory_view(const char *name, zb_memory **memory);
/* Removes an empty file of the name, if this process's user owns it: what remains of a creation that was killed, for
 * who holds the locks of the buffer. ZB_EXISTS if it is anything else. */
ZB_API int32_t zb_memory_discard(const char *name);
/* Unmaps. No view of the memory may be used afterwards. */
ZB_API void zb_memory_close(zb_memory *memory);
ZB_API void *zb_memory_address(zb_memory *memory);
ZB_API double zb_memory_size(zb_memory *memory);
/* Copies `size` bytes at `offset` to the target. The caller answers for the range. */
ZB_API void zb_memory_copy(zb_memory *memory, double offset, double size, void *target);
/* Copies the bytes of `count` frames, given as in zb_reader_view, end to end to the target. The caller answers for them. */
ZB_API void zb_memory_copy_frames(zb_memory *memory, const struct zb_frame_place *frames, int32_t count,
                                  void *target);
/* 0 if the buffer's name still means this memory, ZB_NOT_FOUND if it means none, ZB_EXISTS if another. */
ZB_API int32_t zb_memory_named(zb_memory *memory);
/* 1 if this process's user owns it. */
ZB_API int32_t zb_memory_owned(zb_memory *memory);
/* Removes the name, only if it still means this memory. */
ZB_API int32_t zb_memory_unlink(zb_memory *memory);
/* 1 if another mapping of the same memory in this process holds the role (see zb_oieb_claim). */
ZB_API int32_t zb_memory_held_here(zb_memory *memory, int32_t role);

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

/* Makes the semaphore of a role with value 0, exclusively. Mode as for zb_memory_create. */
ZB_API int32_t zb_semaphore_create(const char *name, int32_t role, int32_t mode, zb_semaphore **semaphore);
ZB_API int32_t zb_semaphore_open(const char *name, int32_t role, zb_semaphore **semaphore);
/* zb_semaphore_open for who only asks for the value: permission to read is enough. */
ZB_API int32_t zb_semaphore_view(const char *name, int32_t role, zb_semaphore **semaphore);
ZB_API void zb_semaphore_close(zb_semaphore *semaphore);
/* Removes the name, only if it still means this semaphore. */
ZB_API int32_t zb_semaphore_unlink(zb_semaphore *semaphore);
/* Removes the name of a semaphore, whatever it is worth: only for who holds the locks of a buffer that is gone. */
ZB_API int32_t zb_semaphore_remove(const char *name, int32_t role);
ZB_API void zb_semaphore_post(zb_semaphore *semaphore, int32_t count);
/* How many tokens there are; on macOS, 1 if there are any. */
ZB_API int32_t zb_semaphore_value(zb_semaphore *semaphore);

/* ---- processes ----------------------------------------------------------------------------------------------- */

/* When the process started, in a unit of the system's; 0 if it lives and that cannot be read; -1 if it does not live. A
 * zombie does not live, and the id of a thread is no process unless it is the id of its process. */
ZB_API double zb_process_start(uint32_t pid);
/* How often the process has the memory mapped, counted up to 2. ZB_PERMISSION if that cannot be read. */
ZB_API int32_t zb_process_maps(uint32_t pid, zb_memory *memory);

/* ---- the OIEB ------------------------------------------------------------------------------------------------ */

/* Loads the sixteen 8-byte words of the OIEB, each once. */
ZB_API void zb_oieb_load(zb_memory *memory, uint64_t words[16]);
/* Fills the OIEB of new memory, all but `oieb_size`: peers wait while that is 0. `role` is that of the creator, who holds
 * it from now on, and `pid` the creator's. */
ZB_API void zb_oieb_fill(zb_memory *memory, uint64_t metadata_size, uint64_t payload_size, int32_t role,
                         uint64_t pid, uint64_t flags);
/* Stores `oieb_size`, once everything else about the buffer is complete: a peer that sees it sees the rest. */
ZB_API void zb_oieb_publish(zb_memory *memory);
/* Takes or gives back the pid of a role by compare-and-swap. A `pid` that is not 0 notes that this mapping holds the
 * role, 0 that it does not any more. ZB_EXISTS if the field holds something else than `expected`. */
ZB_API int32_t zb_oieb_claim(zb_memory *memory, int32_t role, uint64_t expected, uint64_t pid);

/* ---- metadata ------------------------------------------------------------------------------------------------ */

/* Publishes the metadata of this writer. ZB_TOO_LARGE. */
ZB_API int32_t zb_metadata_write(zb_memory *memory, const void *data, double size);
/* Copies the metadata and returns its length, or 0 if there is none. It looks once and never waits. ZB_AGAIN if a writer
 * replaces the metadata just now, or its length prefix does not agree with the OIEB: look again later, and take the
 * metadata for corrupt if that is still so after a slice. ZB_BAD_CONTROL if the length is impossible, ZB_TOO_LARGE if
 * `capacity` is smaller. After a negative code `data` may hold anything. */
ZB_API double zb_metadata_read(zb_memory *memory, void *data, double capacity);
/* Forgets the metadata, between two writers. */
ZB_API void zb_metadata_clear(zb_memory *memory);

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* How many frames one zb_reader_next looks ahead at the most. */
#define ZB_READER_LOOKAHEAD 64

/* What a reader tells its caller, at the address of the reader. */
struct zb_reader_view {
  double fault_position; /* of the frame that was refused, in bytes from the start of the payload */
  double fault_expected; /* ZB_BAD_SEQUENCE: the sequence number that had to follow */
  double fault_found;    /* ZB_BAD_SEQUENCE: the number found; ZB_BAD_FRAME: the size found */
  double surplus_tokens; /* how many tokens stood for no frame */
  struct zb_frame_place frames[ZB_READER_LOOKAHEAD];
};

enum zb_reader_flags {
  ZB_WITHOUT_TOKEN = 1, /* look as if a token had come: its post may be lost */
  ZB_NEW_WRITER = 2,    /* with ZB_WITHOUT_TOKEN: sequence 1 of a new writer counts, too */
};

/* How a side waits for the other. */
enum zb_wait {
  ZB_WAIT_ADAPTIVE = 0, /* spins for some microseconds while that has paid lately, then blocks */
  ZB_WAIT_SPIN = 1,     /* never blocks */
  ZB_WAIT_BLOCK = 2,    /* never spins */
};

/* Places a reader at the OIEB's read position; the first frame has to carry `sequence`, or 1, and the others the
 * numbers that follow. With 0 every frame may carry any number but 0. */
ZB_API int32_t zb_reader_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released,
                              double sequence, int32_t wait, zb_reader **reader);
ZB_API void zb_reader_close(zb_reader *reader);
/* Reads what is there, up to ZB_READER_LOOKAHEAD frames, waiting up to `wait_us` for the first, and for some
 * microseconds more while frames come in a stream; returns how many there are in the view. They are lent until released. Call it when the ones before have been handed on.
 * ZB_AGAIN after the wait, or early when a token came that stands for no frame, ZB_INTERRUPTED, ZB_BAD_CONTROL, ZB_BAD_FRAME, ZB_BAD_SEQUENCE (the last three for good), ZB_BROKEN. */
ZB_API int32_t zb_reader_next(zb_reader *reader, int32_t wait_us, int32_t flags);
/* Releases `count` frames, from the `first`th that this reader has read on (from 0, modulo 2^32). Their space goes back
 * to the writer once every older frame has been released as well. ZB_ALREADY if all were released before.
 * ZB_SETTLE_DUE: released, and the caller now has to settle (see zb_reader_settle). */
ZB_API int32_t zb_reader_release(zb_reader *reader, uint32_t first, uint32_t count);
#define ZB_SETTLE_DUE 1
/* Repairs what a v1 writer left unfinished when it went away: gives back the waste of a wrap that it did not complete,
 * and takes back a position that it stored for a frame that it did not publish (docs/protocol.md, section 4). Without
 * this the ring never becomes empty again, and the next writer waits for that.
 *
 * Call it when the writer is gone, every frame of it has been read, and the reader has taken the writer's place:
 * zb_oieb_claim from the pid of that writer, or from 0, to the reader's own pid; afterwards back to 0. If the place
 * cannot be taken, another writer is there: do not settle. A call without need changes nothing.
 *
 * ZB_OK: settled, or nothing to settle. ZB_AGAIN: frames are still held, and nothing can be settled while they are. The
 * reader remembers that. The zb_reader_release after which no frame is held returns ZB_SETTLE_DUE, once; the caller
 * then judges the writer again, takes its place from 0 or from the dead pid, calls this, and gives the place back. If a
 * writer lives there meanwhile, the caller does nothing: this writer's own end is settled later.
 * ZB_BAD_CONTROL, ZB_BAD_FRAME, ZB_BAD_SEQUENCE, ZB_BROKEN as zb_reader_next: nothing is settled. */
ZB_API int32_t zb_reader_settle(zb_reader *reader);

/* ---- writing ------------------------------------------------------------------------------------------------- */

/* What a writer tells its caller, at the address of the writer. */
struct zb_writer_view {
  double offset;   /* of the acquired region from the start of the shared memory */
  double waits;    /* how many writes found too little room */
  double sequence; /* of the next frame; the caller may store another one */
};

/* Continues at the OIEB's write position; the first frame will carry sequence 1. What an earlier
 * writer left is taken away: its metadata, and in an empty ring its tokens. `reader_pid` is the reader that is there: another one in the OIEB is answered
 * with ZB_PEER_CHECK. */
ZB_API int32_t zb_writer_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released,
                              uint64_t reader_pid, int32_t wait, zb_writer **writer);
ZB_API void zb_writer_close(zb_writer *writer);
/* The reader has been looked at: `reader_pid` lives. */
ZB_API void zb_writer_peer(zb_writer *writer, uint64_t reader_pid);
/* Writes one frame of `size` bytes, waiting up to `wait_us` for room: acquire, copy, commit.
 * ZB_AGAIN, ZB_INTERRUPTED, ZB_PEER_CHECK, ZB_TOO_LARGE, ZB_BAD_CONTROL, ZB_BROKEN: then nothing has been written. */
ZB_API int32_t zb_writer_write(zb_writer *writer, const void *data, double size, int32_t wait_us);
/* Writes frames of `frame_size` bytes, the last one perhaps shorter, from the `length` bytes at `data + offset`, and
 * publishes them together: as many as there is room for, waiting up to `wait_us` for the first, and no more than 64
 * or some 64 KiB. Returns how many, or a code as zb_writer_write. */
ZB_API int32_t zb_writer_write_frames(zb_writer *writer, const void *data, double offset, double length,
                                      double frame_size, int32_t wait_us);
/* Finds room for a frame of `size` bytes; the view says where. Codes as zb_writer_write. */
ZB_API int32_t zb_writer_acquire(zb_writer *writer, double size, int32_t wait_us);
/* Publishes the acquired frame. */
ZB_API int32_t zb_writer_commit(zb_writer *writer);
/* Gives the acquired region up: no sequence number is used. */
ZB_API void zb_writer_cancel(zb_writer *writer);

/* ---- waiting without blocking -------------------------------------------------------------------------------- */

/* A thread that waits for a semaphore on behalf of an event loop. `descriptor` receives a socket that becomes
 * readable, one byte a wait, and is the caller's to close; on Windows, the number of a named pipe. */
ZB_API int32_t zb_waiter_open(zb_semaphore *semaphore, int32_t *descriptor, zb_waiter **waiter);
/* Starts one wait: a byte arrives when the semaphore has a token, which is left there, or after `wait_us`. */
ZB_API void zb_waiter_arm(zb_waiter *waiter, int32_t wait_us);
/* Ends the thread, at once even in the middle of a wait. */
ZB_API void zb_waiter_close(zb_waiter *waiter);

#endif

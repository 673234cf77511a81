// The helper's functions as JavaScript calls them. Only this file uses the foreign-function interface.

import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";

/** Address of an object of the helper. */
export type Address = number;

/** One entry for each function of zerobuffer.h. A test compares them with the names that the library exports. */
export const SYMBOLS = {
  zb_abi_version: { args: [], returns: "i32" },
  zb_library_path: { args: ["ptr", "u32"], returns: "i32" },
  zb_system_error: { args: [], returns: "i32" },
  zb_sleep: { args: ["i32"], returns: "i32" },
  zb_wall_clock_us: { args: [], returns: "f64" },
  zb_other_end_closed: { args: ["i32"], returns: "i32" },

  zb_signals_open: { args: [], returns: "void" },
  zb_signals_watch: { args: [], returns: "void" },
  zb_signals_ended_waits: { args: [], returns: "u32" },
  zb_signals_handled: { args: [], returns: "void" },

  zb_lock_open: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  zb_lock_close: { args: ["ptr", "i32"], returns: "void" },
  zb_lock_held: { args: ["ptr"], returns: "i32" },

  zb_memory_create: { args: ["ptr", "u64", "i32", "ptr"], returns: "i32" },
  zb_memory_link: { args: ["ptr"], returns: "i32" },
  zb_memory_look: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  zb_memory_map: { args: ["ptr"], returns: "i32" },
  zb_memory_close: { args: ["ptr"], returns: "i32" },
  zb_memory_resign: { args: ["ptr"], returns: "void" },
  zb_memory_lend: { args: ["ptr"], returns: "void" },
  zb_memory_return: { args: ["ptr", "ptr"], returns: "void" },
  zb_memory_address: { args: ["ptr"], returns: "ptr" },
  zb_memory_size: { args: ["ptr"], returns: "f64" },
  zb_memory_copy: { args: ["ptr", "f64", "f64", "ptr"], returns: "void" },
  zb_memory_copy_frames: { args: ["ptr", "ptr", "i32", "ptr"], returns: "void" },
  zb_memory_named: { args: ["ptr"], returns: "i32" },
  zb_memory_owned: { args: ["ptr"], returns: "i32" },
  zb_memory_unlink: { args: ["ptr"], returns: "i32" },
  zb_memory_held_here: { args: ["ptr", "i32"], returns: "i32" },
  zb_memory_alone: { args: ["ptr"], returns: "i32" },

  zb_role_lock: { args: ["ptr", "i32"], returns: "i32" },
  zb_role_unlock: { args: ["ptr", "i32"], returns: "void" },
  zb_role_locked: { args: ["ptr", "i32"], returns: "i32" },

  zb_semaphore_create: { args: ["ptr", "i32", "i32", "ptr"], returns: "i32" },
  zb_semaphore_open: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  zb_semaphore_view: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  zb_semaphore_close: { args: ["ptr"], returns: "void" },
  zb_semaphore_unlink: { args: ["ptr"], returns: "i32" },
  zb_semaphore_remove: { args: ["ptr", "i32"], returns: "i32" },
  zb_semaphore_post: { args: ["ptr", "i32"], returns: "void" },
  zb_semaphore_value: { args: ["ptr"], returns: "i32" },
  zb_semaphore_clear: { args: ["ptr"], returns: "void" },
  zb_semaphore_waiters: { args: ["ptr"], returns: "i32" },

  zb_process_start: { args: ["u32"], returns: "f64" },
  zb_children_bind: { args: [], returns: "i32" },
  zb_children_end: { args: [], returns: "void" },
  zb_process_maps: { args: ["u32", "ptr"], returns: "i32" },

  zb_oieb_load: { args: ["ptr", "ptr"], returns: "void" },
  zb_oieb_fill: { args: ["ptr", "u64", "u64", "i32", "u64", "u64"], returns: "void" },
  zb_oieb_publish: { args: ["ptr"], returns: "void" },
  zb_oieb_claim: { args: ["ptr", "i32", "u64", "u64"], returns: "i32" },
  zb_oieb_restore: { args: ["ptr", "i32", "u64"], returns: "i32" },

  zb_metadata_write: { args: ["ptr", "ptr", "f64"], returns: "i32" },
  zb_metadata_read: { args: ["ptr", "ptr", "f64"], returns: "f64" },
  zb_metadata_clear: { args: ["ptr"], returns: "void" },

  zb_cancellation_store: { args: ["ptr", "f64", "f64"], returns: "void" },
  zb_cancellation_stored: { args: ["ptr", "f64", "f64"], returns: "i32" },

  zb_reader_open: { args: ["ptr", "ptr", "ptr", "f64", "i32", "ptr"], returns: "i32" },
  zb_reader_close: { args: ["ptr"], returns: "void" },
  zb_reader_next: { args: ["ptr", "i32", "i32"], returns: "i32" },
  zb_reader_release: { args: ["ptr", "u32", "u32"], returns: "i32" },
  zb_reader_settle: { args: ["ptr"], returns: "i32" },
  zb_reader_forward: { args: ["ptr", "ptr", "i32", "i32", "i32", "f64", "i32", "i32"], returns: "i32" },

  zb_ring_follow: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  zb_writer_open: { args: ["ptr", "ptr", "ptr", "u64", "f64", "i32", "ptr"], returns: "i32" },
  zb_writer_leave: { args: ["ptr"], returns: "void" },
  zb_writer_close: { args: ["ptr"], returns: "void" },
  zb_writer_peer: { args: ["ptr", "u64"], returns: "void" },
  zb_writer_write: { args: ["ptr", "ptr", "f64", "i32"], returns: "i32" },
  zb_writer_write_frames: { args: ["ptr", "ptr", "f64", "f64", "f64", "i32"], returns: "i32" },
  zb_writer_acquire: { args: ["ptr", "f64", "i32"], returns: "i32" },
  zb_writer_commit: { args: ["ptr"], returns: "i32" },
  zb_writer_cancel: { args: ["ptr"], returns: "void" },

  zb_sharing_offered: { args: [], returns: "i32" },
  zb_memory_trusted: { args: ["ptr"], returns: "i32" },
  zb_memory_shared: { args: ["ptr"], returns: "i32" },
  zb_memory_broken: { args: ["ptr"], returns: "i32" },
  zb_oieb_add_flags: { args: ["ptr", "u64"], returns: "void" },
  zb_reader_take_descriptors: { args: ["ptr"], returns: "void" },
  zb_reader_open_source: { args: ["ptr", "ptr"], returns: "i32" },
  zb_reader_answer: { args: ["ptr", "ptr", "f64", "f64"], returns: "i32" },
  zb_reader_detach: { args: ["ptr"], returns: "void" },
  zb_reader_hold: { args: ["ptr", "u32"], returns: "i32" },
  zb_reader_drop: { args: ["ptr", "u32"], returns: "i32" },
  zb_reader_collect: { args: ["ptr", "i32"], returns: "i32" },
  zb_target_open: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  zb_target_limit: { args: ["ptr", "f64"], returns: "void" },
  zb_target_leave: { args: ["ptr"], returns: "void" },
  zb_target_close: { args: ["ptr"], returns: "void" },
  zb_target_attach: { args: ["ptr", "u64", "ptr"], returns: "i32" },
  zb_target_answer: { args: ["ptr"], returns: "i32" },
  zb_target_pass: { args: ["ptr", "u32", "f64", "f64", "i32"], returns: "i32" },
  zb_target_drop: { args: ["ptr"], returns: "i32" },

  zb_waiter_open: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  zb_waiter_arm: { args: ["ptr", "i32"], returns: "void" },
  zb_waiter_heard: { args: ["ptr"], returns: "void" },
  zb_waiter_close: { args: ["ptr"], returns: "void" },
} as const;

type Argument = {
  ptr: Address | NodeJS.TypedArray;
  i32: number;
  u32: number;
  f64: number;
  u64: bigint | number;
};
type Result = { ptr: Address; i32: number; u32: number; f64: number; void: undefined };
type Arguments<A extends readonly (keyof Argument)[]> = { -readonly [K in keyof A]: Argument[A[K]] };

/** The loaded functions. Addresses are plain numbers. */
export type Native = {
  [N in keyof typeof SYMBOLS]: (
    ...args: Arguments<(typeof SYMBOLS)[N]["args"]>
  ) => Result[(typeof SYMBOLS)[N]["returns"]];
};

/**
 * Loads the library at `path`.
 *
 * @throws Error with what the loader of the system says.
 */
export function loadLibrary(path: string): Native {
  return dlopen(path, SYMBOLS).symbols as unknown as Native;
}

/**
 * `length` bytes at `address + offset`, without a copy. They belong to the helper, which must outlive every use of
 * them.
 */
export function viewMemory(address: Address, offset: number, length: number): ArrayBuffer {
  return toArrayBuffer(address as Pointer, offset, length);
}

/**
 * A window onto `length` bytes of a buffer's memory at `offset`. It keeps the memory mapped until nothing can reach its
 * bytes any more, in this thread or in one that it was transferred to.
 */
export function lendMemory(native: Native, memory: Address, offset: number, length: number): ArrayBuffer {
  const address = native.zb_memory_address(memory);
  const { ptr: giveBack } = native.zb_memory_return as unknown as { ptr: Pointer };
  const window = (toArrayBuffer as ToLentArrayBuffer)(address, offset, length, memory, giveBack);
  native.zb_memory_lend(memory);
  return window;
}

/**
 * toArrayBuffer with the parameters that its types leave out. It calls the deallocator with the bytes and `context`.
 */
type ToLentArrayBuffer = (
  address: Address,
  offset: number,
  length: number,
  context: Address,
  deallocator: Pointer,
) => ArrayBuffer;

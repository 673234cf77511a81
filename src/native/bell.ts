// What a waiter of the helper rings, as an event loop hears it.

/** Resolves for each byte that has come; must not be asked again before. */
export interface Bell {
  /** Resolves at the next byte, or when the bell is closed. */
  next(): Promise<unknown>;
  close(): void;
}

/** Opens what zb_waiter_open tells: the end of a pipe, and on Windows the number of a named one. */
export function openBell(descriptor: number): Bell {
  return process.platform === "win32" ? listenToNamedPipe(descriptor) : listenToDescriptor(descriptor);
}

function listenToDescriptor(descriptor: number): Bell {
  const reader = Bun.file(descriptor).stream().getReader();
  return { next: () => reader.read(), close: () => void reader.cancel() };
}

function listenToNamedPipe(number: number): Bell {
  const { connect } = process.getBuiltinModule("node:net");
  const socket = connect(`\\\\.\\pipe\\zerobuffer-${process.pid}-${number}`);
  let resolve: () => void = () => {};
  socket.on("data", () => resolve());
  socket.on("close", () => resolve());
  // It ends when the waiter closes, in whatever way the system calls that.
  socket.on("error", () => resolve());
  return {
    next: () =>
      new Promise<void>((ring) => {
        // Only a wait keeps the process alive.
        socket.ref();
        resolve = () => {
          socket.unref();
          ring();
        };
      }),
    close: () => void socket.destroy(),
  };
}

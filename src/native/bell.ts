// What a waiter of the helper rings, as an event loop hears it.

/** Resolves for each byte that has come; must not be asked again before. */
export interface Bell {
  /** Resolves at the next byte, or when the bell is closed. Only this keeps the process alive. */
  next(): Promise<unknown>;
  close(): void;
}

/** Opens what zb_waiter_open tells: a socket, which is closed with the bell, and on Windows the number of a named pipe. */
export function openBell(descriptor: number): Bell {
  return process.platform === "win32" ? listenToNamedPipe(descriptor) : listenToSocket(descriptor);
}

function listenToSocket(descriptor: number): Bell {
  let ring: () => void = () => {};
  let listening: Bun.Socket | undefined;
  const options: Bun.FdSocketOptions = {
    fd: descriptor,
    socket: {
      open: (socket) => {
        listening = socket;
        socket.unref();
      },
      data: (socket) => {
        socket.unref();
        ring();
      },
      close: () => ring(),
    },
  };
  // The types of connect leave this form out. It is open when this returns.
  void Bun.connect(options as unknown as Bun.UnixSocketOptions);
  return {
    next: () => {
      listening?.ref();
      return new Promise<void>((resolve) => {
        ring = resolve;
      });
    },
    close: () => listening?.terminate(),
  };
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

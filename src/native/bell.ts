// How an event loop hears that a waiter of the helper has finished a wait.

/** The connection to a waiter, as a bell uses it. */
interface Line {
  /** Whether the connection keeps the process alive. False at first. */
  setKeepsAlive(keepsAlive: boolean): void;
  close(): void;
}

/** What a line tells its bell. */
interface Listener {
  /** The waiter has sent a byte. */
  onByte(): void;
  /** The connection has failed or has been closed. */
  onEnd(): void;
}

/** Listens to the waiter that a descriptor of zb_waiter_open belongs to. Only {@link next} keeps the process alive. */
export class Bell {
  readonly #line: Line;
  #next: PromiseWithResolvers<void> | undefined;
  #isOver = false;

  private constructor(connect: (listener: Listener) => Line) {
    this.#line = connect({ onByte: () => this.#ring(), onEnd: () => this.#end() });
  }

  /**
   * Takes what zb_waiter_open tells: a socket, which is closed with the bell, or on Windows the number of a named pipe.
   *
   * @throws what the system says of a descriptor that is no socket.
   */
  static open(descriptor: number): Bell {
    return process.platform === "win32"
      ? Bell.connect(`\\\\.\\pipe\\zerobuffer-${process.pid}-${descriptor}`)
      : new Bell((listener) => listenToSocket(descriptor, listener));
  }

  /** Connects to a named pipe, or to a Unix socket where these have paths. */
  static connect(path: string): Bell {
    return new Bell((listener) => listenToPipe(path, listener));
  }

  /** Whether the bell is closed, or its connection has failed: it will not ring again. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves at the next byte, or when the bell is over; calls meanwhile return the same promise. */
  next(): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    if (this.#next === undefined) {
      this.#line.setKeepsAlive(true);
      this.#next = Promise.withResolvers();
    }
    return this.#next.promise;
  }

  #ring(): void {
    const next = this.#next;
    if (next === undefined) return;
    this.#next = undefined;
    this.#line.setKeepsAlive(false);
    next.resolve();
  }

  #end(): void {
    this.#isOver = true;
    this.#ring();
  }

  /** Settles what {@link next} has returned. Does nothing the second time. */
  close(): void {
    this.#end();
    this.#line.close();
  }
}

function listenToSocket(descriptor: number, { onByte, onEnd }: Listener): Line {
  let open: Bun.Socket | undefined;
  const options: Bun.FdSocketOptions = {
    fd: descriptor,
    socket: {
      open: (socket) => {
        open = socket;
        socket.unref();
      },
      data: onByte,
      error: onEnd,
      close: onEnd,
    },
  };
  // The types of connect leave this form out. The socket is open when it returns.
  void Bun.connect(options as unknown as Bun.UnixSocketOptions).catch(onEnd);
  return {
    setKeepsAlive: (keepsAlive) => {
      if (keepsAlive) open?.ref();
      else open?.unref();
    },
    close: () => open?.terminate(),
  };
}

function listenToPipe(path: string, { onByte, onEnd }: Listener): Line {
  const { connect } = process.getBuiltinModule("node:net");
  const socket = connect(path);
  socket.on("data", onByte);
  // Systems report in different ways that the waiter was closed.
  socket.on("error", onEnd);
  socket.on("close", onEnd);
  socket.unref();
  return {
    setKeepsAlive: (keepsAlive) => {
      if (keepsAlive) socket.ref();
      else socket.unref();
    },
    close: () => void socket.destroy(),
  };
}

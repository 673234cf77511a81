// Why a server cannot listen.

import { CommandError, systemCode, systemReason } from "./failure.ts";
import type { Endpoint } from "./values.ts";

/** The failure of a server that cannot listen where it was told to. */
export function notListening({ host, port }: Endpoint, error: unknown): CommandError {
  const reasons: Readonly<Record<string, readonly [string, string]>> = {
    EADDRINUSE: ["another program has it", "Choose another port, or --listen 0 for one that is free."],
    EACCES: ["this user may not use it", "Choose a port from 1024 on."],
  };
  const [reason, hint] = reasons[systemCode(error) ?? ""] ?? [
    systemReason(error),
    "Name an address of this machine, such as 127.0.0.1.",
  ];
  const place = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return new CommandError("IO_ERROR", `Cannot listen on ${place}: ${reason}.`, hint, error);
}

// Words that options and JSON documents share. It imports nothing, because commands load it at start.

/** What bench can measure. */
export const WORKS = ["throughput", "latency", "relay", "fanout", "duplex"] as const;
export type Work = (typeof WORKS)[number];

/** What the frames of a measurement go through. */
export const TRANSPORTS = ["zerobuffer", "pipe", "socket"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** The shells that have a completion script. */
export const SHELLS = ["bash", "zsh", "fish", "powershell"] as const;
export type Shell = (typeof SHELLS)[number];

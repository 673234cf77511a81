// Words that options and JSON documents have in common. It loads nothing: commands import it when they start.

/** What the processes of a measurement of bench do together. */
export const WORKS = ["throughput", "latency", "relay", "duplex"] as const;
export type Work = (typeof WORKS)[number];

/** What the frames of a measurement go through. */
export const TRANSPORTS = ["zerobuffer", "pipe", "socket"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** The shells that there are completion scripts for. */
export const SHELLS = ["bash", "zsh", "fish", "powershell"] as const;
export type Shell = (typeof SHELLS)[number];

// zerobuffer doctor: finds what keeps buffers from working well on this machine, and says how to fix it.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { withFlags } from "../../cli/flags.ts";
import { count } from "../../cli/format.ts";
import { outputOptions } from "../../cli/options.ts";
import { tableLines } from "../../cli/table.ts";
import type { Style } from "../../cli/terminal.ts";
import { diagnose, type Finding } from "../../core/inspection.ts";
import type { DoctorDocument } from "../../schemas/doctor.ts";
import { accessOf, brokerOptions } from "../bridge/options.ts";

const PAINT = { ok: "green", warning: "yellow", error: "red" } as const satisfies Record<
  Finding["status"],
  keyof Style
>;

export default defineCommand({
  meta: {
    name: "doctor",
    description:
      "Checks this machine for what buffers need and shows how to fix problems. Exits with code 1 if buffers cannot work.",
  },
  args: { ...brokerOptions, ...outputOptions },
  examples: [
    {
      purpose: "print the commands that fix what is wrong",
      line: "zerobuffer doctor --json-output | jq -r '.checks[].remedy // empty'",
    },
    {
      purpose: "check a NATS server for zerobuffer bridge, too",
      line: "zerobuffer doctor --server nats://broker:4222",
    },
  ],

  blank: (): DoctorDocument => ({ operation: "doctor", checks: [], errors: [] }),

  async run(options, session, document) {
    const { log } = session;
    const access = options.server === undefined ? undefined : accessOf(options);
    const findings = diagnose();
    for (const { check, status, message, remedy } of findings) {
      document.checks.push({
        check,
        status,
        message: withFlags(message),
        remedy: remedy && withFlags(remedy),
      });
      log?.info(`Checked ${check}.`);
    }
    // Only this loads a client.
    const broker = access && (await (await import("../bridge/diagnosis.ts")).diagnoseBroker(access, session));
    document.checks.push(...(broker?.findings ?? []));
    const errors = findings.filter(({ status }) => status === "error");
    const [worst] = errors;
    if (worst === undefined) {
      if (broker?.failure !== undefined) throw broker.failure;
      return;
    }
    const others = errors.length > 1 ? ` (and ${count(errors.length - 1, "more errors")})` : "";
    throw new CommandError(
      worst.code ?? "INTERNAL",
      `Buffers cannot work here: ${worst.check}: ${worst.message}${others}.`,
      worst.remedy === null ? undefined : `Run: ${worst.remedy}`,
    );
  },

  summarize({ checks }, style) {
    const rows = checks.map(({ check, status, message }) => [
      { text: status, paint: PAINT[status] },
      { text: check },
      { text: message },
    ]);
    return tableLines(rows, style).flatMap((line, index) => {
      const remedy = checks[index]?.remedy;
      return remedy == null ? [line] : [line, `${style.dim("         to fix it:")} ${remedy}`];
    });
  },
});

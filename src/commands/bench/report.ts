import type { BenchDocument } from "../documents.ts";
export function page(document: BenchDocument): string {
  return JSON.stringify(document);
}

// The bill of materials (SBOM): what a release is made of, as CycloneDX.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cyclonedxEsbuildPlugin } from "@cyclonedx/cyclonedx-esbuild";
import { root } from "../build-native.ts";
import { bunPage, partsOfBun } from "./bun.ts";

/** A component, as far as it is read here. */
export interface Component {
  readonly type: string;
  readonly group?: string;
  readonly name: string;
  readonly version?: string;
  readonly licenses?: readonly { readonly license?: { readonly id: string }; readonly expression?: string }[];
  readonly evidence?: { readonly licenses?: readonly { readonly license: { readonly text: Text } }[] };
  readonly components?: readonly Component[];
}

interface Text {
  readonly content: string;
  readonly encoding?: "base64";
}

/** A bill of materials. The program itself is in its metadata. */
export interface Bill {
  readonly components: readonly Component[];
}

/**
 * The bill of this source, with the texts of the licences that packages bring: found by bundling the program, as its executables
 * are made. It is the same wherever it is made.
 */
export async function billOfMaterials(): Promise<Bill> {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-bill-"));
  try {
    const outputFile = join(directory, "bill.json");
    await Bun.build({
      entrypoints: [join(root, "src", "main.ts")],
      outdir: join(directory, "out"),
      target: "bun",
      minify: true,
      metafile: true,
      external: ["*.so"],
      plugins: [
        // It is written for esbuild as well as for Bun, and has the types of the former.
        cyclonedxEsbuildPlugin({
          ...{ outputFile, specVersion: "1.6", outputReproducible: true, gatherLicenseTexts: true },
          ...{ validate: true, logLevel: "silent" },
        }) as unknown as Bun.BunPlugin,
      ],
    });
    // References end in a hash of the place of the package.
    const bill = JSON.parse(readFileSync(outputFile, "utf8").replaceAll(/#[0-9a-f]{64}"/g, '"'));
    return { ...bill, components: [...bill.components, bun()] };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Bun, which is in the executables and runs the npm package, with its parts. */
function bun(): object {
  return {
    ...{ type: "platform", name: "bun", version: Bun.version, "bom-ref": `bun@${Bun.version}` },
    ...{ purl: `pkg:npm/bun@${Bun.version}`, licenses: licences(["MIT"]) },
    components: partsOfBun(bunPage()).map(({ name, url, licences: own }) => ({
      ...{ type: "library", name, "bom-ref": `bun@${Bun.version}/${name}`, licenses: licences(own) },
      externalReferences: [{ type: "website", url }],
    })),
  };
}

function licences(ids: readonly string[]): object[] {
  return ids.map((id) => ({ license: { id } }));
}

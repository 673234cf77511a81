// Turns a program in TypeScript into an executable.

/** Builds one for this machine from its entry point. */
export async function buildExecutable(entrypoint: string, output: string): Promise<void> {
  await Bun.build({
    entrypoints: [entrypoint],
    // The format is needed: with bytecode in any other the executable builds, and dies when it starts.
    format: "esm",
    bytecode: true,
    minify: true,
    // A command that starts reads its own code and not that of the others.
    splitting: true,
    // The working directory's .env and bunfig.toml belong to somebody else.
    compile: { outfile: output, autoloadDotenv: false, autoloadBunfig: false },
  });
}

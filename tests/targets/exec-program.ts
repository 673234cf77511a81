// A program for --exec: prints its arguments to stderr, and answers each request with its bytes.

export {};

console.error(JSON.stringify(process.argv.slice(2)));
for await (const chunk of Bun.stdin.stream()) await Bun.write(Bun.stdout, chunk);

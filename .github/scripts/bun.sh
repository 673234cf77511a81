#!/bin/sh
# Runs Bun, in the version that package.json names.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
exec npx -y "$(node -p 'require(process.argv[1]).packageManager' "$root/package.json")" "$@"

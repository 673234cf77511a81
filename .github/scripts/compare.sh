#!/bin/sh
# Compares what two machines have built: compare.sh FIRST SECOND. The .deb and .rpm packages hold the same files, but are
# compressed by the tools of their machines.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

reproducible() { awk '$2 !~ /\.(deb|rpm)$/' "$1/SHA256SUMS"; }

reproducible "$1" >"$work/first"
reproducible "$2" >"$work/second"
if [ "$(wc -l <"$work/first")" -lt 15 ]; then
  echo "compare.sh: $1/SHA256SUMS lacks files" >&2
  exit 1
fi
diff "$work/first" "$work/second"

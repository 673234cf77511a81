#!/bin/sh
# What test-musl.sh runs in its container. install.sh finds out by itself that this is musl. Alpine comes without the C++ library
# that Bun needs.
set -eu
apk add --no-cache libstdc++ nodejs npm
sh artifacts/install.sh --from artifacts
.github/scripts/bun.sh install --frozen-lockfile
.github/scripts/bun.sh tests/targets/run.ts --executable /usr/local/bin/zerobuffer "$1"

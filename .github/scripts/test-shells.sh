#!/bin/sh
# The completions in zsh, fish and PowerShell, and the manual page, on Debian or Ubuntu.
set -eu
cd "$(dirname "$0")/../.."
sudo apt-get update
sudo apt-get install -y --no-install-recommends zsh fish mandoc
.github/scripts/bun.sh run test:distribution
.github/scripts/bun.sh scripts/test.ts tests/distribution/powershell.slow

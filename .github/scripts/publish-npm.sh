#!/bin/sh
# Publishes the npm package from the directory artifacts, with the proof of where it was built. The registry trusts this workflow
# (CONTRIBUTING.md), which older versions of npm know nothing about.
set -eu
cd "$(dirname "$0")/../../artifacts"
sha256sum --check --strict --ignore-missing SHA256SUMS
npx -y npm@11.19.1 publish "./$(awk '$2 ~ /\.tgz$/ { print $2 }' SHA256SUMS)" --provenance --access public

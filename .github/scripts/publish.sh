#!/bin/sh
# Publishes a release from the directory artifacts: publish.sh TAG
set -eu
cd "$(dirname "$0")/../../artifacts"
sha256sum --check --strict SHA256SUMS
# All that has a hash, and the hashes.
set -- "$1" $(awk '{ print $2 }' SHA256SUMS) SHA256SUMS
tag=$1
shift
gh release create "$tag" --verify-tag --title "$tag" --notes-file release-notes.md "$@"

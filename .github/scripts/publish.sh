#!/bin/sh
# Publishes a release from the directory artifacts: publish.sh TAG
set -eu
cd "$(dirname "$0")/../../artifacts"
sha256sum --check --strict SHA256SUMS
# All that has a hash, the hashes, and what is known of the executables.
set -- "$1" $(awk '{ print $2 }' SHA256SUMS) SHA256SUMS manifest.json
tag=$1
shift
gh release create "$tag" --verify-tag --title "$tag" --notes-file release-notes.md "$@"

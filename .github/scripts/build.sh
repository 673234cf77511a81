#!/bin/sh
# Builds everything that a release publishes, into dist.
#
#   build.sh REPOSITORY [TAG]    its address, https://example.org/owner/name; the tag has to be that of package.json
set -eu
cd "$(dirname "$0")/../.."
repository=$1
tag=${2-}

version=$(node -p 'require("./package.json").version')
if [ -n "$tag" ] && [ "$tag" != "v$version" ]; then
  echo "build.sh: the tag is $tag, and package.json has version $version" >&2
  exit 1
fi
command -v rpmbuild >/dev/null || { sudo apt-get update && sudo apt-get install -y --no-install-recommends rpm; }

bun=.github/scripts/bun.sh
$bun run build:all --repository "$repository"
$bun run build:npm --repository "$repository"
$bun run build:release --repository "$repository"

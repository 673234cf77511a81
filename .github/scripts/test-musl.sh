#!/bin/sh
# Tests what was built for musl in a container of Alpine: test-musl.sh TARGET. Docker gives a container 64 MB of shared memory
# unless it is told otherwise, which is less than the tests need.
set -eu
cd "$(dirname "$0")/../.."
docker run --rm --shm-size 2g --volume "$PWD:/work" --workdir /work alpine:3.22 sh .github/scripts/in-alpine.sh "$1"

#!/bin/sh
# Installs what was built for a target, from the directory artifacts, and tests it: test-target.sh TARGET
set -eu
cd "$(dirname "$0")/../.."
target=$1
bun=$PWD/.github/scripts/bun.sh
rm -rf dist/installed
mkdir -p dist/installed

case $target in
  windows-*)
    unzip -q "artifacts/zerobuffer-$target.zip" -d dist/installed
    program=dist/installed/zerobuffer-$target/zerobuffer.exe
    ;;
  *)
    sh artifacts/install.sh --from artifacts --prefix dist/installed --target "$target"
    program=dist/installed/bin/zerobuffer
    ;;
esac
case $target in
  darwin-*) codesign --verify --strict --verbose=2 "$program" ;;
esac

echo "The npm package in a project of its own"
mkdir -p dist/installed/project
cp artifacts/zerobuffer-*.tgz dist/installed/project/zerobuffer.tgz
# Otherwise Bun would take the package.json of this checkout for the project's.
echo '{}' >dist/installed/project/package.json
(
  cd dist/installed/project
  "$bun" add ./zerobuffer.tgz
  cat >program.ts <<'END'
import { Reader, Writer } from "zerobuffer";

using reader = new Reader(`npm-${process.pid}`, { payloadSize: 65536 });
using writer = new Writer(reader.name);
writer.writeFrame(Uint8Array.of(1, 2, 3));
using frame = reader.readFrame(1000);
if (frame.toArray().join() !== "1,2,3") throw new Error(`the frame is ${frame.toArray()}`);
END
  "$bun" program.ts
  "$bun" x zerobuffer version
)

"$bun" install --frozen-lockfile
echo "Frames, requests and killed processes"
"$bun" tests/targets/run.ts --executable "$program" "$target"
echo "The tests of the helper"
"$bun" run test tests/native
case $target in
  linux-*)
    echo "The tests of the command line"
    "$bun" scripts/test.ts --executable "$program" tests/cli
    ;;
esac

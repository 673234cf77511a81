#!/bin/bash
# Starts the model, asks it about each picture of a video, here ffmpeg's test picture, and prints its answers.
#
#   ask.sh [SECONDS]
set -e -o pipefail

zerobuffer duplex serve model --exec "python3 '$(dirname "$0")/model.py'" --quiet &
server=$!
trap 'kill $server; wait $server || true' EXIT

ffmpeg -loglevel error -nostdin -re -f lavfi -i testsrc2=size=320x240:rate=10 -t "${1:-10}" -pix_fmt gray -f rawvideo - |
  zerobuffer duplex request model -i - -o - --video 320x240:gray@10 --framing lines

#!/bin/bash
# A camera, here ffmpeg's test picture, to a display that always shows the newest frame.
#
#   camera-to-display.sh [SECONDS]
#
# A real camera is -f v4l2 -video_size 1280x720 -i /dev/video0 in place of -re -f lavfi -i testsrc2=….
set -e -o pipefail

zerobuffer reader camera --latest --quiet -o - |
  ffplay -loglevel error -f rawvideo -pixel_format yuv420p -video_size 1280x720 -framerate 30 -autoexit -i - &

ffmpeg -loglevel error -nostdin -re -f lavfi -i testsrc2=size=1280x720:rate=30 -t "${1:-10}" \
  -pix_fmt yuv420p -f rawvideo - |
  zerobuffer writer camera -i - --video 1280x720:yuv420p@30

wait $!

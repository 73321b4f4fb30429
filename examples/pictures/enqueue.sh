#!/bin/sh
# Enqueues one job for each picture below a folder: ./enqueue.sh FOLDER
# sed makes a JSON string of each path; a path with a control character is refused as a bad line.
set -eu
find "${1:?name a folder of pictures}" -type f \
    \( -name '*.ppm' -o -name '*.png' -o -name '*.jpg' -o -name '*.jpeg' \) |
    LC_ALL=C sed 's/[\\"]/\\&/g; s/.*/{"type":"thumbnail","payload":{"file":"&"}}/' |
    dutiful enqueue --batch -

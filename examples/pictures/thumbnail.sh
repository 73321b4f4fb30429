#!/bin/sh
# One job: makes the thumbnail of one picture. Running it twice does no harm, since the thumbnail
# appears in one step (mv) and is the same each time.
#   stdin   {"file":"path"}, byte for byte as it was enqueued
#   stdout  {"thumbnail":"path"}, which becomes the job's result
#   exit    0 done, 65 not a picture (give up), anything else: try again
set -eu

# The inverse of what enqueue.sh does; another shape of payload gives an empty name.
file=$(LC_ALL=C sed -n 's/^{"file":"\(.*\)"}$/\1/p' | LC_ALL=C sed 's/\\\([\\"]\)/\1/g')
if [ ! -f "$file" ]; then
    echo "no such file: $file" >&2
    exit 65
fi
# A name that begins with a dash, or looks like a format prefix, must not be read as an option.
case $file in /*) ;; *) file=./$file ;; esac

mkdir -p "$THUMBNAILS"
name=$(printf '%s' "${file#./}" | tr '/' '_')
ending=${file##*.}
draft=$THUMBNAILS/.$DUTIFUL_JOB_ID.$ending
trap 'rm -f "$draft"' EXIT

case $ending in
ppm) awk -v size="$SIZE" -f scale.awk <"$file" >"$draft" ;;
*)
    if command -v magick >/dev/null; then
        magick "$file" -auto-orient -thumbnail "${SIZE}x${SIZE}" "$draft"
    elif command -v convert >/dev/null; then
        convert "$file" -auto-orient -thumbnail "${SIZE}x${SIZE}" "$draft"
    else
        echo "$file: only .ppm works without ImageMagick; install it" >&2
        exit 1
    fi
    ;;
esac

mv "$draft" "$THUMBNAILS/$name"
printf '{"thumbnail":"%s"}\n' "$(printf '%s' "$THUMBNAILS/$name" | LC_ALL=C sed 's/[\\"]/\\&/g')"

# Keeps one server: starts and stops it as told on stdin, and when stdin ends, stops it and removes
# its folder. Arguments: the folder, the signal of an orderly stop, then the server's command.
# The server is a child of this shell, so its pid cannot become another process's while it is used.
folder=$1 orderly=$2 pid=
shift 2
# A test process that is gone cannot read the answers; that must not end the keeper.
trap '' PIPE

stop() {
  if [ -z "$pid" ]; then return; fi
  kill -s "$1" "$pid" 2>/dev/null
  looks=0
  while kill -0 "$pid" 2>/dev/null; do
    looks=$((looks + 1))
    # 400 looks of 20 ms: whoever does not stop within 8 s never will.
    if [ "$looks" -eq 400 ]; then kill -s KILL "$pid" 2>/dev/null; fi
    sleep 0.02
  done
  wait "$pid"
  pid=
}

# A postmaster that was killed leaves a segment of shared memory, named in its lock file.
remove_memory() {
  if [ -f "$folder/data/postmaster.pid" ]; then
    set -- $(sed -n 7p "$folder/data/postmaster.pid")
    if [ -n "${2:-}" ]; then ipcrm -m "$2"; fi
  fi
}

while read -r word signal; do
  case $word in
    start)
      "$@" </dev/null >>"$folder/log" 2>&1 &
      pid=$!
      echo "$pid"
      ;;
    stop)
      stop "$signal"
      echo stopped
      ;;
  esac
done

stop "$orderly"
remove_memory
# Orphans of a killed postmaster may write for another moment.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if rm -rf "$folder"; then break; fi
  sleep 0.2
done

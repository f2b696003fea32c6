# What the two walks share: printing, asking Candor, comparing. Sourced by walk.sh beside it, never run.
export CANDOR_URL=http://127.0.0.1:7070
failed=0

say() { printf '\n== %s\n' "$*"; }
# The value of a key at a level, compact; `null` where the source has no row.
value() { candor get "${@:2}" --level "$1" --json | jq -c .value || true; }
receipt() { candor get "${@:2}" --level "$1" --json | jq -r '.receipt | "\(.from), \(.proof), bound \(.bound) ms"' || true; }
same() { # what it is, as it is, as it should be
  if [ "$2" = "$3" ]; then printf '   ok    %s: %.100s\n' "$1" "$2"; else failed=1; printf '   WRONG %s: %s, not %s\n' "$1" "$2" "$3"; fi
}

# Starts the server, and stops it with this script.
serve() {
  candor serve &
  server=$!
  trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
  until curl -sf "$CANDOR_URL/readyz" >/dev/null; do sleep 0.1; done
}

first_reads() {
  say 'a first read of each view, from the source; a second one, from memory'
  for view in 'track 1' 'invoice 1' 'album_tracks 1' genre_counts; do
    # shellcheck disable=SC2086 # a view and its key are two words
    printf '   %-15s %s; then %s\n' "$view" "$(receipt any $view)" "$(receipt any $view)"
  done
}

verdict() {
  if [ $failed = 0 ]; then say 'all as promised'; else say 'NOT as promised'; exit 1; fi
}

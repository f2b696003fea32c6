#!/usr/bin/env bash
# Walks through four views of the Chinook database while psql and pgbench write past Candor, and checks every answer.
#
# Needs: candor, psql, pgbench and jq in PATH; CHINOOK_URL, the address of a database that holds Chinook in the schema
# public (with wal_level = logical, by a role that may set up). Leaves the rows it adds. See ../README.md.
set -euo pipefail
cd "$(dirname "$0")"
: "${CHINOOK_URL:?the address of the database}"
# shellcheck source=../walk.bash
source ../walk.bash

sql() { printf '   psql: %s\n' "$1"; psql -X -q -v ON_ERROR_STOP=1 "$CHINOOK_URL" -c "$1"; }
truth() { psql -X -q -A -t "$CHINOOK_URL" -c "$1"; }

say 'what stands in the way'
candor check || true
say 'setup'
candor setup --dry-run
candor setup
candor check
candor map

serve
first_reads

say 'update: every level'
sql "UPDATE track SET name = 'Renamed' WHERE track_id = 1"
same 'strong, a row' "$(value strong track 1 | jq -r .name)" Renamed
same 'strong, a list' "$(value strong album_tracks 1 | jq -r '.[0].name')" Renamed
token=$(psql -X -q -A -t "$CHINOOK_URL" -c "UPDATE track SET name = 'Again' WHERE track_id = 1" \
  -c "$(sed -n '/<!-- token -->/,/^```$/p' ../../../docs/postgres.md | sed '1,2d;$d')")
same 'session, by a token of SQL alone' "$(candor get track 1 --session "$token" --json | jq -r .value.name)" Again
same 'bounded' "$(sleep 0.2; value bounded:100ms track 1 | jq -r .name)" Again
same 'any, a moment later' "$(sleep 1; value any track 1 | jq -r .name)" Again

say 'a join over four tables hears of each of them'
line=$(truth 'SELECT min(invoice_line_id) FROM invoice_line WHERE invoice_id = 1')
bought=$(truth "SELECT track_id FROM invoice_line WHERE invoice_line_id = $line")
sql "UPDATE track SET name = 'Bought' WHERE track_id = $bought"
same 'the track' "$(value strong invoice 1 | jq -r '.[0].track')" Bought
sql "UPDATE customer SET last_name = 'Other' WHERE customer_id = (SELECT customer_id FROM invoice WHERE invoice_id = 1)"
same 'the customer' "$(value strong invoice 1 | jq -r '.[0].customer')" Other
sql "UPDATE invoice_line SET quantity = 5 WHERE invoice_line_id = $line"
same 'the line' "$(value strong invoice 1 | jq -r '.[0].quantity')" 5
sql 'UPDATE invoice SET total = 77.77 WHERE invoice_id = 1'
same 'the invoice' "$(value strong invoice 1 | jq -r '.[0].total | tostring')" 77.77

say 'insert: an absent key appears'
same 'absent' "$(value strong track 900001)" null
same 'absent, from memory' "$(receipt any track 900001 | cut -d, -f1)" l1
before=$(value strong genre_counts | jq -r '.[] | select(.genre == "Rock") | .tracks')
sql "INSERT INTO track VALUES (900001, 'New', 1, 1, 1, NULL, 1000, NULL, 0.99)"
same 'the row' "$(value strong track 900001 | jq -r .name)" New
same 'the list' "$(value strong album_tracks 1 | jq -r '.[-1].name')" New
same 'the aggregate' "$(value strong genre_counts | jq -r '.[] | select(.genre == "Rock") | .tracks')" $((before + 1))

say 'rollback: nothing'
sql "BEGIN; UPDATE track SET name = 'Never' WHERE track_id = 900001; ROLLBACK"
same 'the row' "$(value strong track 900001 | jq -r .name)" New

say 'key change: the old key is absent, the new one is there, both lists know'
sql 'UPDATE track SET track_id = 900002, album_id = 2 WHERE track_id = 900001'
same 'the old key' "$(value strong track 900001)" null
same 'the new key' "$(value strong track 900002 | jq -r .name)" New
same 'the old list' "$(value strong album_tracks 1 | jq -r '[.[].track_id] | contains([900001])')" false
same 'the new list' "$(value strong album_tracks 2 | jq -r '.[-1].track_id')" 900002

say 'delete'
sql 'DELETE FROM track WHERE track_id = 900002'
same 'the row' "$(value strong track 900002)" null
same 'the list' "$(value strong album_tracks 2 | jq -r '[.[].track_id] | contains([900002])')" false

say 'pgbench writes for ten seconds; strong answers are compared with the source meanwhile'
pgbench -n -f pgbench.sql -c 2 -T 10 "$CHINOOK_URL" > pgbench.out 2>&1 &
bench=$!
reads=0
while kill -0 $bench 2>/dev/null; do
  id=$((RANDOM % 412 + 1))
  # No number between these two is older than the read: what was true before it, or after it, or became true meanwhile.
  low=$(truth "SELECT count(*) FROM invoice_line WHERE invoice_id = $id")
  seen=$(value strong invoice $id | jq length)
  high=$(truth "SELECT count(*) FROM invoice_line WHERE invoice_id = $id")
  reads=$((reads + 1))
  if [ "$seen" -lt "$low" ] || [ "$seen" -gt "$high" ]; then failed=1; echo "   WRONG invoice $id: $seen lines, $low before and $high after"; fi
  if value strong track $id | grep -q 'nobody ever sees this'; then failed=1; echo '   WRONG: a rollback was seen'; fi
done
grep -E 'transactions actually|tps' pgbench.out | sed 's/^/   /'
rm -f pgbench.out
echo "   $reads invoices compared"

say 'afterwards everything is what the source says'
for id in 1 7 42 99 412; do
  same "invoice $id" "$(value strong invoice $id | jq -c '[.[].unit_price | tonumber]')" \
    "$(truth "SELECT coalesce(json_agg(unit_price ORDER BY invoice_line_id), '[]') FROM invoice_line WHERE invoice_id = $id" | jq -c .)"
done
candor mget invoice 1 2 3 --snapshot --json | jq -c '[.answers[].receipt | {from, position}]'
candor explain track 1
say 'metrics'
curl -s "$CANDOR_URL/metrics" | grep -E '^candor_(slot|pool|feed)' | sed 's/^/   /'

verdict

#!/usr/bin/env bash
# Walks through four views of the Chinook database while the sqlite3 program and a Python script write past Candor, and
# checks every answer.
#
# Needs: candor, sqlite3, python3, curl and jq in PATH; CHINOOK_FILE, the database's path. Changes it. See ../README.md.
set -euo pipefail
cd "$(dirname "$0")"
: "${CHINOOK_FILE:?the path of the database}"
# shellcheck source=../walk.bash
source ../walk.bash

sql() { printf '   sqlite3: %s\n' "$1"; sqlite3 -cmd '.timeout 10000' "$CHINOOK_FILE" "$1"; }
truth() { sqlite3 -cmd '.timeout 10000' "$CHINOOK_FILE" "$1"; }
python() { # a statement, run by a Python program in a transaction that ends with the word
  printf '   python: %s; %s\n' "$1" "$2"
  python3 -c 'import sqlite3, sys
shop = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
shop.execute("BEGIN"), shop.execute(sys.argv[2]), shop.execute(sys.argv[3])' "$CHINOOK_FILE" "$1" "$2"
}

say 'before setup'
candor check || true
say 'setup'
candor setup --dry-run | sed -n 1,12p
candor setup
candor check
candor map

serve
first_reads

say 'update by the sqlite3 program: every level'
sql "UPDATE Track SET Name = 'Renamed' WHERE TrackId = 1"
same 'strong, a row' "$(value strong track 1 | jq -r .Name)" Renamed
same 'strong, a list' "$(value strong album_tracks 1 | jq -r '.[0].Name')" Renamed
sql "UPDATE Track SET Name = 'Again' WHERE TrackId = 1"
token=$(candor fence chinook --json | jq -r .session)
same 'session, by a fence after the commit' "$(candor get track 1 --session "$token" --json | jq -r .value.Name)" Again
same 'bounded' "$(sleep 0.2; value bounded:100ms track 1 | jq -r .Name)" Again
same 'any, a moment later' "$(sleep 1; value any track 1 | jq -r .Name)" Again
sql "UPDATE Track SET Bytes = 1 WHERE TrackId = 1"
same 'a column that no view reads' "$(receipt strong track 1 | cut -d, -f1)" l1

say 'a join over four tables hears of each of them'
line=$(truth 'SELECT min(InvoiceLineId) FROM InvoiceLine WHERE InvoiceId = 1')
bought=$(truth "SELECT TrackId FROM InvoiceLine WHERE InvoiceLineId = $line")
sql "UPDATE Track SET Name = 'Bought' WHERE TrackId = $bought"
same 'the track' "$(value strong invoice 1 | jq -r '.[0].Track')" Bought
python "UPDATE Customer SET LastName = 'Other' WHERE CustomerId = (SELECT CustomerId FROM Invoice WHERE InvoiceId = 1)" COMMIT
same 'the customer' "$(value strong invoice 1 | jq -r '.[0].Customer')" Other
python "UPDATE InvoiceLine SET Quantity = 5 WHERE InvoiceLineId = $line" COMMIT
same 'the line' "$(value strong invoice 1 | jq -r '.[0].Quantity')" 5
python 'UPDATE Invoice SET Total = 77.77 WHERE InvoiceId = 1' COMMIT
same 'the invoice' "$(value strong invoice 1 | jq -r '.[0].Total')" 77.77

say 'insert by a Python program: an absent key appears'
same 'absent' "$(value strong track 900001)" null
same 'absent, from memory' "$(receipt strong track 900001 | cut -d, -f1)" l1
before=$(value strong genre_counts | jq -r '.[] | select(.Genre == "Rock") | .Tracks')
python "INSERT INTO Track VALUES (900001, 'New', 1, 1, 1, NULL, 1000, NULL, 0.99)" COMMIT
same 'the row' "$(value strong track 900001 | jq -r .Name)" New
same 'the list' "$(value strong album_tracks 1 | jq -r '.[-1].Name')" New
same 'the aggregate' "$(value strong genre_counts | jq -r '.[] | select(.Genre == "Rock") | .Tracks')" $((before + 1))

say 'rollback: nothing'
python "UPDATE Track SET Name = 'Never' WHERE TrackId = 900001" ROLLBACK
same 'the row' "$(value strong track 900001 | jq -r .Name)" New
same 'from memory still' "$(receipt strong track 900001 | cut -d, -f1)" l1

say 'key change: the old key is absent, the new one is there, both lists know'
sql 'UPDATE Track SET TrackId = 900002, AlbumId = 2 WHERE TrackId = 900001'
same 'the old key' "$(value strong track 900001)" null
same 'the new key' "$(value strong track 900002 | jq -r .Name)" New
same 'the old list' "$(value strong album_tracks 1 | jq -r '[.[].TrackId] | contains([900001])')" false
same 'the new list' "$(value strong album_tracks 2 | jq -r '.[-1].TrackId')" 900002

say 'delete'
python 'DELETE FROM Track WHERE TrackId = 900002' COMMIT
same 'the row' "$(value strong track 900002)" null
same 'the list' "$(value strong album_tracks 2 | jq -r '[.[].TrackId] | contains([900002])')" false

say 'a Python script writes for ten seconds; strong answers are compared with the source meanwhile'
written=$(mktemp)
python3 writer.py "$CHINOOK_FILE" > "$written" &
writer=$!
reads=0
while kill -0 $writer 2>/dev/null; do
  id=$((RANDOM % 412 + 1))
  # Lines are only added: fewer than before the read is stale, more than after it was never true.
  low=$(truth "SELECT count(*) FROM InvoiceLine WHERE InvoiceId = $id")
  seen=$(value strong invoice $id | jq length)
  high=$(truth "SELECT count(*) FROM InvoiceLine WHERE InvoiceId = $id")
  reads=$((reads + 1))
  if [ "$seen" -lt "$low" ] || [ "$seen" -gt "$high" ]; then failed=1; echo "   WRONG invoice $id: $seen lines, $low before and $high after"; fi
  if value strong track $id | grep -q 'nobody ever sees this'; then failed=1; echo '   WRONG: a rollback was seen'; fi
done
sed 's/^/   /' "$written"
rm -f "$written"
echo "   $reads invoices compared"

say 'afterwards everything is what the source says'
for id in 1 7 42 99 412; do
  same "invoice $id" "$(value strong invoice $id | jq -c '[.[].UnitPrice | . * 100 | round]')" \
    "$(truth "SELECT json_group_array(cents) FROM (SELECT CAST(round(UnitPrice * 100) AS INTEGER) AS cents FROM InvoiceLine WHERE InvoiceId = $id ORDER BY InvoiceLineId)")"
done
candor mget invoice 1 2 3 --snapshot --json | jq -c '[.answers[].receipt | {from, position}]'
candor explain track 1
say 'metrics'
curl -s "$CANDOR_URL/metrics" | grep -E '^candor_(feed|pool)' | sed 's/^/   /'

verdict

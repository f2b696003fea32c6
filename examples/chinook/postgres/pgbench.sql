-- What a busy shop does, for pgbench: prices change, lines are added, tracks are renamed and sometimes not.
\set track random(1, 3503)
\set invoice random(1, 412)
\set cents random(49, 299)
BEGIN;
UPDATE track SET unit_price = :cents / 100.0 WHERE track_id = :track;
INSERT INTO invoice_line (invoice_id, track_id, unit_price, quantity) VALUES (:invoice, :track, :cents / 100.0, 1);
UPDATE invoice SET total = (SELECT sum(unit_price * quantity) FROM invoice_line WHERE invoice_id = :invoice)
  WHERE invoice_id = :invoice;
COMMIT;
BEGIN;
UPDATE track SET name = 'nobody ever sees this' WHERE track_id = :track;
ROLLBACK;

"""A busy shop for ten seconds: prices change, lines are added, tracks are renamed and sometimes not.

Usage: writer.py FILE. Prints how many transactions it committed and rolled back.
"""

import random
import sqlite3
import sys
import time

# No isolation level: the transactions are those written here.
shop = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
committed = rolled_back = 0
end = time.monotonic() + 10
while time.monotonic() < end:
    track, invoice = random.randint(1, 3503), random.randint(1, 412)
    price = random.randint(49, 299) / 100
    shop.execute("BEGIN IMMEDIATE")
    shop.execute("UPDATE Track SET UnitPrice = ? WHERE TrackId = ?", (price, track))
    shop.execute(
        "INSERT INTO InvoiceLine (InvoiceId, TrackId, UnitPrice, Quantity) VALUES (?, ?, ?, 1)",
        (invoice, track, price),
    )
    shop.execute(
        "UPDATE Invoice SET Total = (SELECT sum(UnitPrice * Quantity) FROM InvoiceLine WHERE InvoiceId = ?1)"
        " WHERE InvoiceId = ?1",
        (invoice,),
    )
    shop.execute("COMMIT")
    committed += 1
    shop.execute("BEGIN IMMEDIATE")
    shop.execute("UPDATE Track SET Name = 'nobody ever sees this' WHERE TrackId = ?", (track,))
    shop.execute("ROLLBACK")
    rolled_back += 1
    time.sleep(0.002)
print(f"{committed} transactions committed, {rolled_back} rolled back")

//! The shop that is written to and read from.
//!
//! Every row has a *life*: a row of the table `life` that is never deleted and counts the versions of the other, the
//! absent ones too. Triggers keep it, in the writer's own transaction, so psql, pgbench and everybody else write plain
//! SQL. A version carries a nonce, drawn anew each time: a value that was rolled back, or lost in a crash, is told apart
//! from the one that later has the same number.
//!
//! `life` is the oracle's alone. No view reads it, and it is in no publication of Candor's.

/// Items, besides which there may be none: the identities between them come and go.
pub(crate) const ITEMS: i64 = 96;
/// Lists of items.
pub(crate) const SHELVES: i64 = 12;
/// What items are joined with.
pub(crate) const OWNERS: i64 = 8;
/// Rows whose amounts have a sum that never changes.
pub(crate) const ACCOUNTS: i64 = 8;
/// What one account holds at the beginning.
pub(crate) const AMOUNT: i64 = 1000;

/// Where the lives of owners begin.
pub(crate) const OWNER_LIFE: i64 = 1000;
/// Where the lives of accounts begin.
pub(crate) const ACCOUNT_LIFE: i64 = 2000;

/// The slot of the oracle.
pub(crate) const SLOT: &str = "oracle";

/// Tables, triggers and the first rows.
pub(crate) const SCHEMA: &str = "
CREATE TABLE life (id int8 PRIMARY KEY, version int8 NOT NULL, nonce int8 NOT NULL, present bool NOT NULL,
    shelf int8 NOT NULL, owner int8 NOT NULL, xid int8 NOT NULL)
    -- Rewritten all the time and read whole: there is room beside each row, and what is dead goes soon.
    WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
CREATE TABLE item (id int8 PRIMARY KEY, shelf int8 NOT NULL, owner int8 NOT NULL, amount int8 NOT NULL,
    version int8, nonce int8);
CREATE INDEX ON item (shelf);
CREATE TABLE owner (id int8 PRIMARY KEY, amount int8 NOT NULL DEFAULT 0, version int8, nonce int8);
CREATE TABLE account (id int8 PRIMARY KEY, amount int8 NOT NULL, version int8, nonce int8);
-- Emptied by the server whenever it recovers from a crash: whoever finds a number here knows which history it writes to.
CREATE UNLOGGED TABLE marker (era int8);
INSERT INTO marker VALUES (0);

INSERT INTO life SELECT id, 0, 0, false, -1, -1, 0 FROM (
    SELECT generate_series(0, 95) AS id UNION SELECT generate_series(1000, 1007) UNION SELECT generate_series(2000, 2007)) AS t;

CREATE FUNCTION bump(which int8, is_present bool, on_shelf int8, of_owner int8, OUT version int8, OUT nonce int8) AS $$
    UPDATE life SET version = life.version + 1, nonce = (random() * 281474976710655)::int8, present = is_present,
        shelf = on_shelf, owner = of_owner, xid = pg_current_xact_id()::text::int8
    WHERE id = which RETURNING life.version, life.nonce
$$ LANGUAGE sql;

CREATE FUNCTION live() RETURNS trigger AS $$
DECLARE offset_ int8 := TG_ARGV[0]; new_shelf int8 := -1; new_owner int8 := -1;
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bump(OLD.id + offset_, false, -1, -1);
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.id <> OLD.id THEN
        PERFORM bump(OLD.id + offset_, false, -1, -1);
    END IF;
    IF TG_TABLE_NAME = 'item' THEN
        new_shelf := NEW.shelf; new_owner := NEW.owner;
    END IF;
    SELECT * INTO NEW.version, NEW.nonce FROM bump(NEW.id + offset_, true, new_shelf, new_owner);
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER live BEFORE INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION live('0');
CREATE TRIGGER live BEFORE INSERT OR UPDATE OR DELETE ON owner FOR EACH ROW EXECUTE FUNCTION live('1000');
CREATE TRIGGER live BEFORE INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION live('2000');

CREATE FUNCTION emptied() RETURNS trigger AS $$
BEGIN
    PERFORM bump(id, false, -1, -1) FROM life WHERE present AND id < 1000;
    RETURN NULL;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER emptied BEFORE TRUNCATE ON item FOR EACH STATEMENT EXECUTE FUNCTION emptied();

INSERT INTO owner SELECT generate_series(0, 7);
INSERT INTO account SELECT generate_series(0, 7), 1000;
INSERT INTO item SELECT i, i % 12, i % 8, 1 FROM generate_series(0, 95) AS i WHERE i % 4 <> 3;
";

/// A view: its name, its SQL, and whether it gives many rows.
pub(crate) const VIEWS: [(&str, &str, bool); 5] = [
    ("item", "SELECT id, amount, version, nonce FROM item WHERE id = $1", false),
    (
        "joined",
        "SELECT i.id, i.version, i.nonce, o.id AS owner, o.version AS owner_version, o.nonce AS owner_nonce \
         FROM item i JOIN owner o ON o.id = i.owner WHERE i.id = $1",
        false,
    ),
    ("shelf", "SELECT id, version, nonce FROM item WHERE shelf = $1 ORDER BY id", true),
    (
        "total",
        "SELECT count(*) AS n, coalesce(sum(nonce), 0)::int8 AS total FROM item WHERE shelf = $1",
        false,
    ),
    ("account", "SELECT id, amount, version, nonce FROM account WHERE id = $1", false),
];

/// The places of the views above.
pub(crate) const ITEM: usize = 0;
pub(crate) const JOINED: usize = 1;
pub(crate) const SHELF: usize = 2;
pub(crate) const TOTAL: usize = 3;
pub(crate) const ACCOUNT: usize = 4;

/// How many keys a view has.
pub(crate) fn keys(view: usize) -> i64 {
    match view {
        ITEM | JOINED => ITEMS,
        SHELF | TOTAL => SHELVES,
        _ => ACCOUNTS,
    }
}

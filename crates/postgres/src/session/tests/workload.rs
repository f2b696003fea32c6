//! Everything a database can do to its log, compared with what the server says by another way and with what another
//! decoder reads.

use super::*;
use crate::pgoutput::{Decoder, Event, agree, samples};
use bytes::Bytes;

/// Every kind of change there is; in the order of the log.
const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE users (id int PRIMARY KEY, name varchar(40), mood mood, about text);
    ALTER TABLE users ALTER COLUMN about SET STORAGE EXTERNAL;
    CREATE TABLE whole (a int, b text, c numeric(10, 2));
    ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE keyed (a int NOT NULL, b int NOT NULL, c text);
    CREATE UNIQUE INDEX keyed_b ON keyed (b);
    ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_b;
    CREATE TABLE blind (a int);
    ALTER TABLE blind REPLICA IDENTITY NOTHING;
    CREATE TABLE \"Straße \"\"x\"\"\" (\"Id\" bigint PRIMARY KEY, g int GENERATED ALWAYS AS (1) STORED);
    CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');";

const CHANGES: &str = "
    INSERT INTO users VALUES (1, 'Ada', 'glad', repeat('x', 9000)), (2, NULL, NULL, ''), (3, 'Grace', 'sad', 'ü');
    UPDATE users SET name = 'Ada L.' WHERE id = 1;
    UPDATE users SET id = 10 WHERE id = 1;
    DELETE FROM users WHERE id = 2;
    INSERT INTO whole VALUES (1, 'b', 1.50), (NULL, NULL, NULL);
    UPDATE whole SET c = 2 WHERE a = 1;
    DELETE FROM whole;
    INSERT INTO keyed VALUES (1, 2, 'three');
    UPDATE keyed SET c = 'drei';
    UPDATE keyed SET b = 4;
    DELETE FROM keyed;
    INSERT INTO blind VALUES (1);
    INSERT INTO \"Straße \"\"x\"\"\" VALUES (9223372036854775807);
    INSERT INTO parts VALUES (1, '2026-01-15');
    UPDATE parts SET at = '2026-02-15';
    BEGIN; INSERT INTO users VALUES (20, 'kept', 'glad', 'a');
      SAVEPOINT s1; INSERT INTO users VALUES (21, 'undone', 'sad', 'b'); ROLLBACK TO s1;
      SAVEPOINT s2; INSERT INTO users VALUES (22, 'kept too', 'sad', 'c'); RELEASE s2;
      SELECT pg_logical_emit_message(true, 'candor', 'inside'); COMMIT;
    BEGIN; INSERT INTO users VALUES (30, 'never', 'sad', 'd'); ROLLBACK;
    SELECT pg_logical_emit_message(false, 'candor', 'alone');
    SELECT pg_logical_emit_message(true, '', '');
    ALTER TABLE users ADD COLUMN extra int DEFAULT 5;
    UPDATE users SET extra = 6 WHERE id = 10;
    ALTER TABLE users DROP COLUMN name;
    UPDATE users SET extra = 7;
    TRUNCATE whole, keyed RESTART IDENTITY CASCADE;
    TRUNCATE parts;
    SELECT pg_replication_origin_create('elsewhere');
    SELECT pg_replication_origin_session_setup('elsewhere');
    BEGIN; SELECT pg_replication_origin_xact_setup('0/ABCD', now());
      INSERT INTO users VALUES (40, 'glad', 'e', 1); COMMIT;
    SELECT pg_replication_origin_session_reset();
    INSERT INTO users SELECT n, 'sad', 'many', n FROM generate_series(100, 130) n;";

/// What the server says by SQL, without our session.
fn peeked(cluster: &Cluster) -> Vec<Bytes> {
    let rows = cluster.psql(
        "SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL,
           'proto_version', '1', 'publication_names', 'p', 'messages', 'true')",
    );
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    rows.lines().map(|row| row.as_bytes().chunks(2).map(byte).collect()).collect()
}

#[tokio::test]
async fn the_stream_tells_what_happened_and_another_decoder_reads_the_same() {
    for publish in ["", "WITH (publish_via_partition_root = true)"] {
        let cluster = Cluster::start();
        cluster.psql(SCHEMA);
        cluster.psql(&format!("CREATE PUBLICATION p FOR ALL TABLES {publish}"));
        cluster.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
        cluster.psql(CHANGES);
        let messages = peeked(&cluster);
        record(&messages, publish);
        let mut decoder = Decoder::default();
        let mut stream = follow(&cluster).await;
        for message in messages {
            let expected = decoder.decode(message.clone()).unwrap();
            agree(&expected, &message);
            assert_eq!(told(&mut stream).await, expected);
        }
    }
}

/// The next message of the log.
async fn told(stream: &mut Stream) -> Event {
    loop {
        match soon(stream).await {
            Incoming::Event { event, .. } => return event,
            Incoming::Keepalive { wal_end, .. } => stream.confirm(wal_end, Lsn(0), false).await.unwrap(),
        }
    }
}

/// With `CANDOR_RECORD` set, keeps the messages as corpus for the tests of the decoder.
fn record(messages: &[Bytes], publish: &str) {
    if std::env::var_os("CANDOR_RECORD").is_none() {
        return;
    }
    let mut file = Vec::new();
    for message in messages {
        file.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        file.extend_from_slice(message);
    }
    let name = if publish.is_empty() { "15-workload.bin" } else { "15-workload-by-root.bin" };
    std::fs::write(samples::corpus_folder().join(name), file).unwrap();
}

#[tokio::test]
async fn what_is_confirmed_is_not_told_again_and_what_is_not_is() {
    let cluster = Cluster::start();
    prepare(&cluster);
    cluster.psql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    let mut ends = Vec::new();
    let mut stream = follow(&cluster).await;
    while ends.len() < 2 {
        if let Event::Commit { end_lsn, .. } = told(&mut stream).await {
            ends.push(end_lsn);
        }
    }
    stream.confirm(ends[1], ends[0], true).await.unwrap();
    while !matches!(soon(&mut stream).await, Incoming::Keepalive { .. }) {}
    drop(stream);
    until_free(&cluster);
    let confirmed = cluster.psql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
    assert_eq!(confirmed.parse(), Ok(ends[0]));
    let mut stream = follow(&cluster).await;
    let rows = loop {
        if let Event::Insert { new, .. } = told(&mut stream).await {
            break new;
        }
    };
    assert_eq!(rows, [crate::pgoutput::Cell::Text(Bytes::from_static(b"2"))]);
}

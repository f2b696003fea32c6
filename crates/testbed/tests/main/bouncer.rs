//! The pooler.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use candor_testbed::{Bouncer, Cluster};

use crate::cluster::client;

#[test]
fn clients_take_turns_on_one_connection_while_none_of_them_leaves() {
    let cluster = Cluster::start();
    let bouncer = Bouncer::before(&cluster, 1);
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", &bouncer.url("postgres")]);
    let mut first = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut asks = first.stdin.take().unwrap();
    let mut answers = BufReader::new(first.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        asks.write_all(b"SELECT 'first';\n").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), "first");
        assert_eq!(client(&bouncer.url("postgres")), Ok("in".to_owned()));
    }
    drop(asks);
    assert!(first.wait().unwrap().success());
    bouncer.stop();
    assert!(client(&bouncer.url("postgres")).is_err());
    bouncer.start_again();
    assert_eq!(client(&bouncer.url("postgres")), Ok("in".to_owned()));
}

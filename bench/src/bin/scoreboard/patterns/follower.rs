//! A service that reads the database's log and deletes from Redis what was changed.
//!
//! It asks for the decoded log every millisecond. With `fenced` it leaves the position of the commit behind, so that a
//! fill can be refused that was read before it.

use super::Places;
use crate::ground::Trouble;
use crate::shelf::{Shelf, name};
use redis::Script;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

const PAUSE: Duration = Duration::from_millis(1);

/// Which slot it reads.
const SLOT: &str = "deleter";

pub(crate) struct Follower {
    following: tokio::task::JoinHandle<()>,
}

impl Follower {
    pub(crate) async fn start(places: &Places, shelf: Arc<Shelf>, is_fenced: bool) -> Result<Self, Trouble> {
        let client = connect(&places.database).await?;
        client.execute("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", &[&SLOT]).await?;
        let url = places.database.clone();
        let following = tokio::spawn(async move {
            let mut client = client;
            loop {
                if follow(&client, &shelf, is_fenced).await.is_err() {
                    tokio::time::sleep(PAUSE * 50).await;
                    if let Ok(again) = connect(&url).await {
                        client = again;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { following })
    }
}

async fn connect(url: &str) -> Result<Client, Trouble> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// Looks at what is new, deletes, and only then lets the slot move on: what is lost on the way is told again.
async fn follow(client: &Client, shelf: &Shelf, is_fenced: bool) -> Result<(), Trouble> {
    let peek = "SELECT (lsn - '0/0')::text, lsn::text, data FROM pg_logical_slot_peek_changes($1, NULL, 500)";
    let delete = Script::new(
        "local last = redis.call('GET', KEYS[2])
         if not last or tonumber(ARGV[1]) > tonumber(last) then redis.call('SET', KEYS[2], ARGV[1]) end
         redis.call('DEL', KEYS[1])",
    );
    let (mut changed, mut end): (Vec<u32>, Option<String>) = (Vec::new(), None);
    for row in client.query(peek, &[&SLOT]).await? {
        let (position, data): (String, String) = (row.get(0), row.get(2));
        if data.starts_with("COMMIT") {
            for key in changed.drain(..) {
                if is_fenced {
                    let keys = [name(key), format!("last:{key}")];
                    shelf.script::<()>(&delete, &keys, std::slice::from_ref(&position)).await?;
                } else {
                    shelf.delete(key).await?;
                }
            }
            end = Some(row.get(1));
        } else if let Some(key) = id_of(&data) {
            changed.push(key);
        }
    }
    if let Some(end) = end {
        client.execute("SELECT pg_replication_slot_advance($1, $2::text::pg_lsn)", &[&SLOT, &end]).await?;
    }
    Ok(())
}

/// From `table public.item: UPDATE: id[integer]:7 version[bigint]:3 …`.
fn id_of(data: &str) -> Option<u32> {
    let (_, rest) = data.split_once("id[integer]:")?;
    rest.split(' ').next()?.parse().ok()
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.following.abort();
    }
}

//! A shop in a server of its own, and the HTTP door in front of it.

use crate::world::{Reply, ask, config, runtime, start};
use candor_server::{Config, Database, StartError};
use candor_testbed::{Cluster, until};
use std::net::SocketAddr;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

pub(crate) const SCHEMA: &str = "
CREATE TABLE users (id int8 PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id int8 PRIMARY KEY, user_id int8 NOT NULL, cents int8 NOT NULL);
INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 200) n;
INSERT INTO orders VALUES (1, 1, 500), (2, 1, 700), (3, 2, 900);
";

pub(crate) const VIEWS: &str = r#"
[view.user]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name FROM users WHERE id = $1"

[view.user_or_stale]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name FROM users WHERE id = $1"
consistency = "bounded:100ms"
on_source_down = "stale:10m"

[view.orders]
owner = "sales"
source = "shop"
key = ["user:int8"]
sql = "SELECT o.id, o.cents, u.name FROM orders o JOIN users u ON u.id = o.user_id WHERE o.user_id = $1 ORDER BY o.id"
rows = "many"

[view.balance]
owner = "bank"
source = "shop"
key = ["user:int8"]
critical = true
sql = "SELECT sum(cents) AS cents FROM orders WHERE user_id = $1"
"#;

pub(crate) struct PgWorld {
    _dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

pub(crate) fn shop() -> Cluster {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    cluster
}

pub(crate) fn source(url: &str) -> String {
    format!("[source.shop]\nkind = \"postgres\"\nurl = \"{url}\"\n")
}

/// The source `shop` and the views above.
pub(crate) fn text(cluster: &Cluster) -> String {
    format!("{}{VIEWS}", source(&cluster.url("postgres")))
}

/// What `candor setup` does.
pub(crate) fn set_up(runtime: &Runtime, config: &Config) {
    for source in &config.sources {
        let of_source = config.views.iter().filter(|view| view.source == source.name);
        let queries: Vec<_> = of_source.map(|view| view.query.clone()).collect();
        let work = async {
            let Database::Postgres(postgres) = Database::open(source).unwrap() else { panic!("{source:?}") };
            postgres.setup(&queries).await.unwrap();
        };
        runtime.block_on(work);
    }
}

const SERVER: &str = "[server]\nhttp = \"127.0.0.1:0\"\n";

impl PgWorld {
    /// Set up, served and ready.
    pub(crate) fn new(text: &str) -> Self {
        let world = Self::served(text, true).unwrap_or_else(|error| panic!("{error}"));
        world.ready();
        world
    }

    /// Served as things are, ready or not. A section `[server]` may end the text.
    pub(crate) fn served(text: &str, is_set_up: bool) -> Result<Self, StartError> {
        let text = if text.contains("[server]") { text.to_owned() } else { format!("{text}\n{SERVER}") };
        let (dir, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let config = config(&dir, &text);
        if is_set_up {
            set_up(&runtime, &config);
        }
        let listener = start(&runtime, &config)?;
        let address = listener.address();
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(listener.run(async {
            let _ = stopped.await;
        }));
        Ok(Self { _dir: dir, address, stop: Some(stop), runtime: Some(runtime) })
    }

    pub(crate) fn ready(&self) {
        until("the door is ready", || self.get("/readyz").status == 200);
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.with(path, &[])
    }

    pub(crate) fn at(&self, level: &str, path: &str) -> Reply {
        self.with(path, &[("Candor-Consistency", level)])
    }

    pub(crate) fn with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(self.address, "GET", path, headers, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        ask(self.address, "POST", path, &[("Content-Type", "application/json")], body)
    }

    /// A sample of `/metrics`, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.get("/metrics");
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

impl Drop for PgWorld {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
        }
    }
}

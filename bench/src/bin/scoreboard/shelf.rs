//! Redis as applications use it: a connection that is made again when it broke, and commands that may fail.

use crate::ground::Trouble;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Script};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long Redis may take before the application does without it.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Shelf {
    client: Client,
    is_tracked: bool,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Shelf {
    pub(crate) fn new(url: &str) -> Result<Self, Trouble> {
        Ok(Self { client: Client::open(url)?, is_tracked: false, connection: Mutex::default() })
    }

    /// With the client's own cache, which Redis is to keep informed (RESP3, CLIENT TRACKING).
    pub(crate) fn tracked(url: &str) -> Result<Self, Trouble> {
        let client = Client::open(format!("{url}?protocol=resp3"))?;
        Ok(Self { client, is_tracked: true, connection: Mutex::default() })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn connection(&self) -> Result<MultiplexedConnection, Trouble> {
        let known = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = known {
            return Ok(connection);
        }
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        if self.is_tracked {
            config = config.set_cache_config(CacheConfig::new().set_default_client_ttl(super::patterns::TTL_LONG));
        }
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    /// Whatever goes wrong, the next command has a new connection.
    fn after<T>(&self, result: redis::RedisResult<T>) -> Result<T, Trouble> {
        if result.is_err() {
            *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(result?)
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let mut connection = self.connection().await?;
        self.after(command.query_async(&mut connection).await)
    }

    pub(crate) async fn get(&self, key: u32) -> Result<Option<u64>, Trouble> {
        self.run(redis::cmd("GET").arg(name(key))).await
    }

    pub(crate) async fn set(&self, key: u32, version: u64, ttl: Duration) -> Result<(), Trouble> {
        self.run(redis::cmd("SET").arg(name(key)).arg(version).arg("PX").arg(ttl.as_millis() as u64)).await
    }

    pub(crate) async fn delete(&self, key: u32) -> Result<(), Trouble> {
        self.run(redis::cmd("DEL").arg(name(key))).await
    }

    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<T, Trouble> {
        let mut connection = self.connection().await?;
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for argument in arguments {
            call.arg(argument);
        }
        self.after(call.invoke_async(&mut connection).await)
    }
}

pub(crate) fn name(key: u32) -> String {
    format!("item:{key}")
}

//! A cache in each instance (moka), emptied by messages over Redis's pub/sub.

use crate::ground::Trouble;
use crate::shelf::Shelf;
use futures_util::StreamExt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const CHANNEL: &str = "changed";

/// Before it subscribes again.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Local {
    entries: moka::future::Cache<u32, u64>,
    shelf: Arc<Shelf>,
    listening: tokio::task::JoinHandle<()>,
}

impl Local {
    pub(crate) fn start(shelf: Arc<Shelf>) -> Self {
        let entries = moka::future::Cache::builder().max_capacity(100_000).time_to_live(super::TTL_LONG).build();
        let listening = tokio::spawn(listen(shelf.client().clone(), entries.clone()));
        Self { entries, shelf, listening }
    }

    pub(crate) async fn read(
        &self,
        key: u32,
        load: impl Future<Output = Result<u64, Trouble>>,
    ) -> Result<u64, Trouble> {
        let loaded = self.entries.try_get_with(key, load).await;
        loaded.map_err(|error: Arc<Trouble>| error.to_string().into())
    }

    pub(crate) async fn wrote(&self, key: u32) {
        self.entries.invalidate(&key).await;
        let _: Result<(), _> = self.shelf.run(redis::cmd("PUBLISH").arg(CHANNEL).arg(key)).await;
    }
}

async fn listen(client: redis::Client, entries: moka::future::Cache<u32, u64>) {
    loop {
        if let Ok(mut subscription) = client.get_async_pubsub().await
            && subscription.subscribe(CHANNEL).await.is_ok()
        {
            let mut messages = subscription.on_message();
            while let Some(message) = messages.next().await {
                if let Ok(key) = message.get_payload::<u32>() {
                    entries.invalidate(&key).await;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

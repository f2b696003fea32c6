//! What only PostgreSQL sources have: a slot, which keeps log on the server's disk, and a pool of connections.
//!
//! Worth an alarm: `slot_read` at 0, `slot_retained_bytes` that only grows, `slot_safe_bytes` near 0, `pool_waiting` above 0
//! for long. A figure that nobody could tell is left out; it is never an old one.

use super::{Scrape, Written, count};
use crate::service::ServedSource;
use candor_postgres::{PoolFigures, Postgres, SlotFigures};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::time::Duration;

type OfSlot = fn(SlotFigures) -> Option<f64>;
type OfPool = fn(PoolFigures) -> f64;

const SLOT: [(&str, &str, OfSlot); 4] = [
    ("slot_retained_bytes", "Bytes of log that the replication slot keeps on the server's disk", |slot| {
        slot.retained_bytes.map(|bytes| bytes as f64)
    }),
    ("slot_unconfirmed_bytes", "Bytes written at the server since the position acknowledged to it", |slot| {
        slot.unconfirmed_bytes.map(|bytes| bytes as f64)
    }),
    (
        "slot_safe_bytes",
        "Bytes that may still be written before the slot is in danger, where there is a limit",
        |slot| slot.safe_bytes.map(|bytes| bytes as f64),
    ),
    ("slot_read", "1 while somebody reads the slot, 0 while it only keeps", |slot| {
        Some(f64::from(u8::from(slot.is_read)))
    }),
];

const POOL: [(&str, &str, OfPool); 4] = [
    ("pool_connections", "Connections for fills that stand", |pool| pool.size as f64),
    ("pool_in_use", "Connections for fills that are lent", |pool| pool.size.saturating_sub(pool.idle) as f64),
    ("pool_idle", "Connections for fills that nobody uses", |pool| pool.idle as f64),
    ("pool_waiting", "Fills that wait for a connection", |pool| pool.waiting as f64),
];

impl Scrape {
    pub(super) fn postgres(&self, encoder: &mut DescriptorEncoder<'_>) -> Written {
        for (name, help, of) in SLOT {
            self.per_source(encoder, name, help, |source| source.slot().and_then(of))?;
        }
        for (name, help, of) in POOL {
            self.per_source(encoder, name, help, |source| pool(source).map(|(figures, _)| of(figures)))?;
        }
        self.per_source(encoder, "pool_connections_max", "Connections for fills there may be", |source| {
            pool(source).map(|(_, most)| most as f64)
        })?;
        let mut lent = encoder.encode_descriptor(
            "pool_acquired",
            "Connections lent to fills",
            None,
            MetricType::Counter,
        )?;
        for (name, (figures, _)) in self.pools() {
            count(&mut lent.encode_family(&[("source", name)])?, figures.acquired)?;
        }
        let mut copies = encoder.encode_descriptor(
            "standby_fills",
            "Fills that might be answered by the standby, by who answered",
            None,
            MetricType::Counter,
        )?;
        for source in self.service.sources() {
            let Some(figures) = source.database().as_postgres().and_then(Postgres::standby_figures) else {
                continue;
            };
            for (by, number) in [("standby", figures.answered), ("primary", figures.refused)] {
                count(&mut copies.encode_family(&[("source", source.name()), ("by", by)])?, number)?;
            }
        }
        let mut waited = encoder.encode_descriptor(
            "pool_acquire",
            "Time that fills waited for a connection altogether, the making of connections included",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        for (name, (figures, _)) in self.pools() {
            let seconds = Duration::from_micros(figures.acquire_micros).as_secs_f64();
            count(&mut waited.encode_family(&[("source", name)])?, seconds)?;
        }
        Ok(())
    }

    fn pools(&self) -> impl Iterator<Item = (&str, (PoolFigures, usize))> {
        self.service.sources().iter().filter_map(|source| Some((source.name(), pool(source)?)))
    }
}

/// What the pool holds and did, and the most it may hold.
fn pool(source: &ServedSource) -> Option<(PoolFigures, usize)> {
    let postgres = source.database().as_postgres()?;
    Some((postgres.pool_figures(), postgres.options().connections_max))
}

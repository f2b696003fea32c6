//! `/metrics`: what the engine and the door count, in the text format of OpenMetrics.
//!
//! Nothing is counted here but responses and connections; every other figure is read from the engine when somebody asks.
//!
//! Worth watching, and from what: the **miss penalty ratio** is `fill_seconds_sum / fill_seconds_count` over what a hit
//! costs; the **bypass rate** is `events` with reasons `fence-*` and `feed-down`; the distribution of **proven bounds**
//! and **true ages** are histograms. `feed_proven_age_seconds` bounds the feed's lag from above: no change that was
//! visible longer ago than this is missing in the ledger.

mod audit;
mod postgres;

use crate::service::{FeedHealth, ServedSource, ServedView, Service};
use ::http::StatusCode;
use candor::{Event, Origin};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The content type of [`render`].
pub(crate) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the door itself counts.
#[derive(Debug, Default)]
pub(crate) struct DoorFigures {
    /// Responses by the first digit of their status.
    responses: [AtomicU64; 6],
    connections: AtomicUsize,
    connections_refused: AtomicU64,
}

/// A connection, until dropped.
#[derive(Debug)]
pub(crate) struct Connected(Arc<DoorFigures>);

impl DoorFigures {
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(self.responses.len() - 1);
        self.responses[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    pub(crate) fn accept_failed(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All figures as text.
///
/// # Errors
///
/// Never in practice: writing into a string does not fail.
pub(crate) fn render(service: &Service, door: &Arc<DoorFigures>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("candor");
    registry.register_collector(Box::new(Scrape { service: service.clone(), door: Arc::clone(door) }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Scrape {
    service: Service,
    door: Arc<DoorFigures>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

type Written = Result<(), fmt::Error>;

const ORIGINS: [Origin; 4] = [Origin::L1, Origin::L2, Origin::Flight, Origin::Source];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        self.views(&mut encoder)?;
        self.awaited(&mut encoder)?;
        self.sources(&mut encoder)?;
        self.postgres(&mut encoder)?;
        self.memory(&mut encoder)?;
        audit::encode(&self.service, &mut encoder)?;
        self.door(&mut encoder)
    }
}

impl Scrape {
    fn views(&self, encoder: &mut DescriptorEncoder<'_>) -> Written {
        let views = self.service.views();
        let mut answers = encoder.encode_descriptor(
            "answers",
            "Answers by where they were found",
            None,
            MetricType::Counter,
        )?;
        for view in views {
            for origin in ORIGINS {
                let count = view.cache().view().figures().answers(origin);
                counter(&mut answers, &[("view", view.name()), ("from", origin.word())], count)?;
            }
        }
        let mut events = encoder.encode_descriptor(
            "events",
            "Why reads did not take what memory held, and why fills were not kept",
            None,
            MetricType::Counter,
        )?;
        for view in views {
            for (reason, event) in Event::ALL {
                let count = view.cache().view().figures().events(event);
                counter(&mut events, &[("view", view.name()), ("reason", reason)], count)?;
            }
        }
        // The sums of bounds and ages are not kept: they would cost every hit a nanosecond. Not a number says so.
        let unknown = |_: &ServedView| f64::NAN;
        self.histogram(
            encoder,
            ("answer_bound", "The proven bound of answers that had one; its sum is not kept"),
            |view| view.cache().view().figures().bounds().buckets().collect(),
            unknown,
        )?;
        self.histogram(
            encoder,
            ("answer_age", "Time since the fill of answers; its sum is not kept"),
            |view| view.cache().view().figures().ages().collect(),
            unknown,
        )?;
        self.histogram(
            encoder,
            ("fill", "How long the source took for fills that succeeded"),
            |view| view.cache().view().figures().fills().buckets().collect(),
            |view| view.cache().view().figures().fill_time().as_secs_f64(),
        )
    }

    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        of: impl Fn(&ServedView) -> Vec<(u64, u64)>,
        sum: impl Fn(&ServedView) -> f64,
    ) -> Written {
        let mut family =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for view in self.service.views() {
            // The encoder adds the buckets up.
            let buckets: Vec<(f64, u64)> = of(view)
                .into_iter()
                .map(|(limit, count)| match limit {
                    u64::MAX => (f64::INFINITY, count),
                    limit => (Duration::from_millis(limit).as_secs_f64(), count),
                })
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = [("view", view.name())];
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum(view), count, &buckets, None)?;
        }
        Ok(())
    }

    /// Views whose source was not there at the start.
    fn awaited(&self, encoder: &mut DescriptorEncoder<'_>) -> Written {
        let help =
            "1 while the view's source has not been asked about it, which it is once its log is followed";
        let mut family = encoder.encode_descriptor("view_awaited", help, None, MetricType::Gauge)?;
        for view in self.service.views() {
            gauge(&mut family, &[("view", view.name())], f64::from(u8::from(view.is_awaited())))?;
        }
        Ok(())
    }

    fn sources(&self, encoder: &mut DescriptorEncoder<'_>) -> Written {
        let ledger = |source: &ServedSource| source.cache().follower().ledger().sight();
        let now = self.service.world().now();
        self.per_source(encoder, "loads", "Loads running at the source", |source| {
            Some(source.cache().load().0 as f64)
        })?;
        self.per_source(encoder, "loads_max", "Loads the source sees at once, at most", |source| {
            Some(source.limits().in_flight as f64)
        })?;
        self.per_source(encoder, "queue", "Loads waiting for their turn", |source| {
            Some(source.cache().load().1 as f64)
        })?;
        self.per_source(encoder, "queue_max", "Loads that may wait for their turn", |source| {
            Some(source.limits().queue as f64)
        })?;
        self.per_source(encoder, "feed_following", "1 while the log is followed", |source| {
            source.is_logged().then(|| f64::from(matches!(source.feed(), FeedHealth::Following(_))))
        })?;
        self.per_source(
            encoder,
            "feed_watermark",
            "The position up to which the ledger holds every change",
            |source| ledger(source).filter(|_| source.is_logged()).map(|sight| sight.watermark as f64),
        )?;
        self.per_source(
            encoder,
            "feed_horizon",
            "The oldest position from which the ledger is complete",
            |source| ledger(source).filter(|_| source.is_logged()).map(|sight| sight.horizon as f64),
        )?;
        self.per_source(
            encoder,
            "feed_proven_age_seconds",
            "How long ago the ledger was last proven complete; the feed lags by no more",
            |source| {
                let until = ledger(source)?.proven_until.filter(|_| source.is_logged())?;
                Some(now.since(until).as_secs_f64())
            },
        )
    }

    fn per_source(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&ServedSource) -> Option<f64>,
    ) -> Written {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for source in self.service.sources() {
            if let Some(value) = value(source) {
                gauge(&mut family, &[("source", source.name())], value)?;
            }
        }
        Ok(())
    }

    fn memory(&self, encoder: &mut DescriptorEncoder<'_>) -> Written {
        let usage = self.service.usage();
        for (name, help, value) in [
            ("l1_entries", "Entries in memory", usage.entries as f64),
            ("l1_bytes", "Bytes of entries in memory, by the tier's own account", usage.bytes as f64),
            ("l1_bytes_max", "The most bytes memory will hold", usage.bytes_max as f64),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            family.encode_gauge(&value)?;
        }
        let sum = |events: &[Event]| -> u64 {
            let figures = self.service.views().iter().map(|view| view.cache().view().figures());
            figures.map(|figures| events.iter().map(|event| figures.events(*event)).sum::<u64>()).sum()
        };
        let mut ended = encoder.encode_descriptor(
            "l1_evictions",
            "Entries that ended: dropped for space, or found by a read to have ended otherwise",
            None,
            MetricType::Counter,
        )?;
        for (reason, count) in [
            ("size", usage.evicted),
            ("ttl", sum(&[Event::MissExpired])),
            ("invalidated", sum(&[Event::MissOutdated, Event::Invalidated])),
            ("unprovable", sum(&[Event::MissVoid])),
        ] {
            counter(&mut ended, &[("reason", reason)], count)?;
        }
        Ok(())
    }

    fn door(&self, encoder: &mut DescriptorEncoder<'_>) -> Written {
        let mut responses = encoder.encode_descriptor(
            "http_responses",
            "Responses of the HTTP door by the class of their status",
            None,
            MetricType::Counter,
        )?;
        for (class, name) in [(2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")] {
            let count = self.door.responses[class].load(Ordering::Relaxed);
            counter(&mut responses, &[("status", name)], count)?;
        }
        let mut refused = encoder.encode_descriptor(
            "http_accept_failures",
            "Connections the system would not hand over",
            None,
            MetricType::Counter,
        )?;
        count(&mut refused, self.door.connections_refused.load(Ordering::Relaxed))?;
        let mut open =
            encoder.encode_descriptor("http_connections", "Open connections", None, MetricType::Gauge)?;
        open.encode_gauge(&(self.door.connections.load(Ordering::Relaxed) as f64))
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: u64) -> Written {
    count(&mut family.encode_family(&labels)?, value)
}

fn count(metric: &mut MetricEncoder<'_>, value: impl EncodeCounterValue) -> Written {
    metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn gauge(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: impl EncodeGaugeValue) -> Written {
    family.encode_family(&labels)?.encode_gauge(&value)
}

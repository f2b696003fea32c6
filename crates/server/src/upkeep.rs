//! What runs beside the reads for as long as a service does: trimming SQLite's change logs, looking at PostgreSQL's slots,
//! and learning of views whose source was not there at the start. All of it ends when the service closes.

use crate::database::Database;
use crate::service::{ServedSource, ServedView};
use candor::{Cache, World};
use candor_core::{Derived, Severity, ViewQuery};
use candor_postgres::{Postgres, SlotFigures};
use candor_sqlite::{Sqlite, Trimmed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Between two rounds of trimming a change log. It is also how often other instances see that this one lives.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// Between two looks at a slot: shorter than what scrapes metrics, and one cheap statement.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between two attempts to hold awaited views against their source, once its log is followed.
const LEARN_EVERY: Duration = Duration::from_secs(1);

/// More log than this waiting for a slot is told once, if it is also more than may still come.
const RETAINED_NOTABLE: u64 = 256 << 20;

type Closing = watch::Receiver<bool>;

/// A view that is awaited, and where what is learned of it goes.
type Awaited = (ViewQuery, Arc<OnceLock<Derived>>);

/// Begins all of it.
pub(crate) fn begin(
    world: &World,
    sources: &[ServedSource],
    views: &[ServedView],
    closing: &watch::Sender<bool>,
) {
    for (at, source) in sources.iter().enumerate() {
        let (name, closing) = (&source.name, || closing.subscribe());
        match &source.database {
            Database::Sqlite(sqlite) if source.is_logged => {
                world.spawn(trim(world.clone(), sqlite.clone(), name.clone(), closing()));
            }
            // Postgres keeps its log itself, and lets go what the slot has acknowledged.
            Database::Postgres(postgres) if source.is_logged => {
                let told = source.slot.clone();
                world.spawn(look(world.clone(), postgres.clone(), name.clone(), told, closing()));
            }
            _ => {}
        }
        let awaited = views
            .iter()
            .filter(|view| view.source == at)
            .filter_map(|view| Some((view.declaration.query.clone(), Arc::clone(view.learned.as_ref()?))));
        let awaited: Vec<Awaited> = awaited.collect();
        if !awaited.is_empty() {
            let (database, cache) = (source.database.clone(), source.cache.clone());
            world.spawn(learn(world.clone(), database, cache, awaited, closing()));
        }
    }
}

/// Waits; whether the service closes meanwhile.
async fn closes_within(world: &World, pause: Duration, closing: &mut Closing) -> bool {
    tokio::select! {
        biased;
        _ = closing.wait_for(|closing| *closing) => true,
        () = world.sleep_until(world.now().plus(pause)) => false,
    }
}

/// Keeps a change log short. A database that cannot be trimmed is a nuisance, not a fault.
async fn trim(world: World, sqlite: Sqlite, name: Box<str>, mut closing: Closing) {
    let mut is_well = true;
    loop {
        if closes_within(&world, TRIM_EVERY, &mut closing).await {
            return;
        }
        match sqlite.trim_once().await {
            Ok(Trimmed::Rows(rows)) => {
                is_well = true;
                tracing::debug!(source = %name, rows, "trimmed the change log");
            }
            Ok(other) => tracing::debug!(source = %name, ?other, "the change log was not trimmed"),
            // Said once, not every five seconds.
            Err(error) if is_well => {
                is_well = false;
                tracing::warn!(source = %name, %error, "the change log cannot be trimmed; trying again");
            }
            Err(_) => {}
        }
    }
}

/// Looks at what a slot keeps on the server's disk, for metrics, and warns before it fills the disk or is lost.
async fn look(
    world: World,
    postgres: Postgres,
    name: Box<str>,
    told: watch::Sender<Option<SlotFigures>>,
    mut closing: Closing,
) {
    let mut is_well = true;
    loop {
        let figures = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            figures = postgres.slot_figures() => figures,
        };
        // What cannot be asked is not known: an old figure would look like a quiet slot.
        let figures = figures.ok().flatten();
        told.send_replace(figures);
        let kept = figures.and_then(|figures| figures.retained_bytes).unwrap_or(0);
        let left = figures.and_then(|figures| figures.safe_bytes).unwrap_or(0);
        let is_full = kept >= RETAINED_NOTABLE && kept > left;
        if is_full && is_well {
            tracing::warn!(source = %name, kept, left, "the slot keeps much log on the server's disk; `candor check` says why");
        }
        is_well = !is_full;
        if closes_within(&world, LOOK_EVERY, &mut closing).await {
            return;
        }
    }
}

/// Holds awaited views against their source as soon as its log is followed.
async fn learn(
    world: World,
    database: Database,
    cache: Cache<crate::entry::EntryKey, crate::entry::Json>,
    mut awaited: Vec<Awaited>,
    mut closing: Closing,
) {
    loop {
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = cache.follower().following() => {}
        }
        let mut left = Vec::new();
        for (query, learned) in awaited {
            match database.prepare(&query).await {
                Ok(derived) => {
                    for finding in &derived.findings {
                        let (message, mend) = (&finding.message, &finding.mend);
                        match finding.severity {
                            Severity::Refused => tracing::error!(view = %query.name, "{message}; {mend}"),
                            Severity::Warning => tracing::warn!(view = %query.name, "{message}; {mend}"),
                        }
                    }
                    // Nobody else learns of this view.
                    let _ = learned.set(derived);
                }
                Err(error) => {
                    tracing::debug!(view = %query.name, %error, "a view is still awaited");
                    left.push((query, learned));
                }
            }
        }
        awaited = left;
        if awaited.is_empty() || closes_within(&world, LEARN_EVERY, &mut closing).await {
            return;
        }
    }
}

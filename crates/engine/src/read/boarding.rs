//! How a read comes to a flight, and how entries are renewed while nobody waits.

use crate::cache::Cache;
use crate::error::LoadError;
use crate::flight::{Flight, FlightError, Landed, Ticket, Way};
use crate::limit::Priority;
use crate::load::Load;
use crate::view::Event;
use candor_core::{Moment, Origin, Refresh};
use futures_util::FutureExt;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Loads the key, or joins a load that reflects everything visible at `not_before`.
    pub(super) async fn fly(
        &self,
        key: &K,
        not_before: Moment,
        deadline: Moment,
        loader: &Arc<dyn Load<K, V>>,
    ) -> Result<(Landed<V>, Origin), FlightError> {
        let ticket = self.ticket(key, loader, Priority::Reader);
        let boarding = self.shared.flights.board(not_before, ticket);
        if boarding.way == Way::Begins {
            self.launch(Arc::clone(&boarding.flight));
        }
        let origin = if boarding.way == Way::Joined { Origin::Flight } else { Origin::Source };
        match self.shared.world.within(deadline, boarding.flight.outcome()).await {
            Some(outcome) => outcome.map(|landed| (landed, origin)),
            None => Err(FlightError::Timeout(self.view.contract().timeout)),
        }
    }

    /// Loads the key in the background, unless somebody already does.
    pub(crate) fn refresh(&self, key: &K, loader: &Arc<dyn Load<K, V>>) {
        if !self.shared.flights.is_idle(key) {
            return;
        }
        let ticket = self.ticket(key, loader, Priority::Refresh);
        let boarding = self.shared.flights.board(Moment::ZERO, ticket);
        if boarding.way == Way::Begins {
            self.view.figures().event(Event::Refresh);
            self.launch(Arc::clone(&boarding.flight));
        }
    }

    pub(super) fn ticket(&self, key: &K, loader: &Arc<dyn Load<K, V>>, priority: Priority) -> Ticket<K, V> {
        Ticket { key: key.clone(), view: Arc::clone(&self.view), loader: Arc::clone(loader), priority }
    }

    /// Starts a flight; and, when it has landed, the one that waited for it.
    pub(super) fn launch(&self, flight: Arc<Flight<K, V>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.world.spawn(async move {
            let mut flight = flight;
            loop {
                // Whatever panics in here (a loader, a user's weigher), the flight lands.
                let filling = AssertUnwindSafe(shared.fill(&flight)).catch_unwind();
                let outcome = filling.await.unwrap_or_else(|_| Err(FlightError::Load(LoadError::panicked())));
                match shared.flights.land(&flight, outcome) {
                    Some(next) => flight = next,
                    None => return,
                }
            }
        });
    }

    /// Early refresh (XFetch): the entry behaves as if it ended sooner, by the cost of a fill times an exponentially
    /// distributed factor. So one reader in many renews it shortly before its end, and the dearer the fill the earlier.
    ///
    /// `left` and all else in nanoseconds; `u64::MAX` for an entry that never ends.
    #[inline]
    pub(crate) fn is_due_early(&self, left: u64) -> bool {
        // Beyond forty times the cost the chance is below e^-40; no need to draw.
        left < self.view.fill_cost_nanos().saturating_mul(40)
            && self.view.contract().refresh == Refresh::Early
            && (left as f64)
                < self.view.fill_cost_nanos() as f64 * -(1.0 - self.shared.world.draw_unit()).ln()
    }
}

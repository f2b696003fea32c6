//! A look: the source's own answer, read past memory, inside the source's limit and only while it has room to spare.

use super::tap::Asked;
use crate::entry::Json;
use crate::service::{ServedView, Service};
use candor_core::{Moment, Stamp, Tag};
use std::time::Duration;

/// What the source said.
#[derive(Debug)]
pub(super) struct Look {
    /// Before it was asked.
    pub(super) begun: Moment,
    /// After it had answered. What it said was so at some moment between the two.
    pub(super) ended: Moment,
    pub(super) stamp: Stamp,
    /// One for each key.
    pub(super) values: Vec<Option<Json>>,
    /// What they depend on.
    pub(super) tags: Vec<Tag>,
}

/// Why there is no look.
#[derive(Debug)]
pub(super) enum NoLook {
    /// The source has no room to spare.
    NoRoom,
    /// It failed.
    Failed,
}

/// A source that has no room now may have some in a moment.
const AGAIN: Duration = Duration::from_millis(20);

impl Look {
    /// Looks at the source, once.
    pub(super) async fn take(service: &Service, view: &ServedView, asked: &Asked) -> Result<Self, NoLook> {
        let _turn = view.cache.spare_turn().ok_or(NoLook::NoRoom)?;
        let begun = service.world().now();
        let fill = view.loaders.look(&asked.keys).await.map_err(|_| NoLook::Failed)?;
        let ended = service.world().now();
        if fill.answers.len() != asked.keys.len() {
            return Err(NoLook::Failed);
        }
        let (mut values, mut tags) = (Vec::new(), Vec::new());
        for answer in fill.answers {
            values.push(answer.value.map(Json::new));
            tags.extend(answer.tags);
        }
        tags.sort_unstable();
        tags.dedup();
        Ok(Self { begun, ended, stamp: fill.stamp, values, tags })
    }

    /// The same, trying again until `deadline` while there is no room.
    pub(super) async fn insist(
        service: &Service,
        view: &ServedView,
        asked: &Asked,
        deadline: Moment,
    ) -> Result<Self, NoLook> {
        loop {
            match Self::take(service, view, asked).await {
                Err(NoLook::NoRoom) if service.world().now() < deadline => {
                    service.world().sleep_until(service.world().now().plus(AGAIN)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// How long the source was busy with it.
    pub(super) fn took(&self) -> Duration {
        self.ended.since(self.begun)
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.iter().flatten().map(|json| json.as_bytes().len()).sum()
    }
}

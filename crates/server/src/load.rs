//! Asking a source: one loader per view, for one key and for several in one transaction.

use crate::entry::{EntryKey, Json};
use candor::{Load, LoadContext, LoadError, LoadMany, Loaded, ManyLoaded, World};
use candor_core::port::{BoxFuture, Fill, Filled, Source, SourceError, ViewHandle};
use candor_core::{Demand, Dependency, Facet, KeyValue, Level, Tag};
use std::sync::Arc;
use std::time::Duration;

/// How one view is loaded: from the source itself, or from a copy of it as well.
pub(crate) struct ViewLoaders {
    /// For whoever asks for the newest, or for what he wrote himself.
    source: Arc<ViewLoader>,
    /// For all others, if there is a copy that can prove its answer.
    copy: Arc<ViewLoader>,
}

impl ViewLoaders {
    pub(crate) fn new(loader: ViewLoader) -> Self {
        let copy = ViewLoader { inner: Arc::clone(&loader.inner), takes_copies: true };
        Self { source: Arc::new(loader), copy: Arc::new(copy) }
    }

    /// The one for a read.
    pub(crate) fn of(&self, demand: &Demand) -> &Arc<ViewLoader> {
        match demand.level {
            Level::Bounded(_) | Level::Any if demand.token.is_none() => &self.copy,
            _ => &self.source,
        }
    }

    /// Reads keys in one transaction of the source itself, for nobody's entry.
    pub(crate) async fn look(&self, keys: &[EntryKey]) -> Result<Fill, LoadError> {
        self.source.inner.fill(keys.iter().map(EntryKey::values).collect(), false).await
    }
}

/// Loads one view.
pub(crate) struct ViewLoader {
    inner: Arc<Inner>,
    /// Whether a copy of the source may answer.
    takes_copies: bool,
}

struct Inner {
    source: Arc<dyn Source>,
    handle: ViewHandle,
    world: World,
    /// How long one fill may take.
    timeout: Duration,
    /// What an application may invalidate entries by where no log does.
    declared: Vec<Dependency>,
}

impl ViewLoader {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        handle: ViewHandle,
        world: World,
        timeout: Duration,
        declared: Vec<Dependency>,
    ) -> Self {
        let inner = Inner { source, handle, world, timeout, declared };
        Self { inner: Arc::new(inner), takes_copies: false }
    }
}

impl Inner {
    async fn fill(&self, keys: Arc<[Box<[KeyValue]>]>, takes_copies: bool) -> Result<Fill, LoadError> {
        let deadline = self.world.now().plus(self.timeout);
        let filling = match takes_copies {
            true => self.source.fill_from_copy(self.handle, keys),
            false => self.source.fill(self.handle, keys),
        };
        let fill = self.world.within(deadline, filling).await;
        let limit = candor_core::duration::format(self.timeout);
        Ok(fill.unwrap_or_else(|| Err(SourceError::slow(format!("no answer within {limit}"))))?)
    }

    fn loaded(&self, key: &[KeyValue], filled: Filled) -> Loaded<Json> {
        let loaded = Loaded::maybe(filled.value.map(Json::new));
        let declared = self.declared.iter().flat_map(|dependency| declared_tags(dependency, key));
        filled.tags.into_iter().chain(declared).fold(loaded, Loaded::tagged)
    }
}

/// The tags of a dependency that no log watches: applications name it by the row or by the table.
fn declared_tags(dependency: &Dependency, key: &[KeyValue]) -> Vec<Tag> {
    match dependency {
        Dependency::Row { table, column, parameter } => {
            let (table, column) = (table.to_lowercase(), column.to_lowercase());
            let row = key.get(*parameter).map(|value| {
                let text = if let KeyValue::Bool(truth) = value {
                    u8::from(*truth).to_string()
                } else {
                    value.to_string()
                };
                Tag::row(&table, Facet::WHOLE, &column, &text)
            });
            row.into_iter().chain([Tag::table(&table, Facet::WHOLE)]).collect()
        }
        Dependency::Table(table) => vec![Tag::table(&table.to_lowercase(), Facet::WHOLE)],
        // The source gives these itself.
        Dependency::Application(_) => Vec::new(),
    }
}

fn no_answer() -> LoadError {
    LoadError::from(SourceError::contract("the source gave another number of answers than keys"))
}

impl Load<EntryKey, Json> for ViewLoader {
    fn load(
        &self,
        context: LoadContext<EntryKey, Json>,
    ) -> BoxFuture<'static, Result<Loaded<Json>, LoadError>> {
        let (inner, takes_copies) = (Arc::clone(&self.inner), self.takes_copies);
        Box::pin(async move {
            let values = context.key().values();
            let mut fill = inner.fill([values.clone()].into(), takes_copies).await?;
            let filled = fill.answers.pop().ok_or_else(no_answer)?;
            Ok(inner.loaded(&values, filled).stamped(fill.stamp))
        })
    }
}

impl LoadMany<EntryKey, Json> for ViewLoader {
    fn load_many(&self, keys: Vec<EntryKey>) -> BoxFuture<'static, Result<ManyLoaded<Json>, LoadError>> {
        let (inner, takes_copies) = (Arc::clone(&self.inner), self.takes_copies);
        Box::pin(async move {
            let keys: Arc<[Box<[KeyValue]>]> = keys.iter().map(EntryKey::values).collect();
            let fill = inner.fill(Arc::clone(&keys), takes_copies).await?;
            let answers =
                keys.iter().zip(fill.answers).map(|(key, filled)| inner.loaded(key, filled)).collect();
            Ok(ManyLoaded { stamp: fill.stamp, answers })
        })
    }
}

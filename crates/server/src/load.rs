//! Asking a source: one loader per view, for one key and for several in one transaction.

use crate::entry::{EntryKey, Json};
use candor::{Load, LoadContext, LoadError, LoadMany, Loaded, ManyLoaded, World};
use candor_core::port::{BoxFuture, Fill, Filled, Source, SourceError, ViewHandle};
use candor_core::{Dependency, Facet, KeyValue, Tag};
use std::sync::Arc;
use std::time::Duration;

/// Loads one view. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ViewLoader(Arc<Inner>);

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
        Self(Arc::new(Inner { source, handle, world, timeout, declared }))
    }
}

impl ViewLoader {
    /// Reads keys in one transaction of the source, for nobody's entry.
    pub(crate) async fn look(&self, keys: &[EntryKey]) -> Result<Fill, LoadError> {
        self.0.fill(keys.iter().map(EntryKey::values).collect()).await
    }
}

impl Inner {
    async fn fill(&self, keys: Arc<[Box<[KeyValue]>]>) -> Result<Fill, LoadError> {
        let deadline = self.world.now().plus(self.timeout);
        let fill = self.world.within(deadline, self.source.fill(self.handle, keys)).await;
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
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let values = context.key().values();
            let mut fill = inner.fill([values.clone()].into()).await?;
            let filled = fill.answers.pop().ok_or_else(no_answer)?;
            Ok(inner.loaded(&values, filled).stamped(fill.stamp))
        })
    }
}

impl LoadMany<EntryKey, Json> for ViewLoader {
    fn load_many(&self, keys: Vec<EntryKey>) -> BoxFuture<'static, Result<ManyLoaded<Json>, LoadError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let keys: Arc<[Box<[KeyValue]>]> = keys.iter().map(EntryKey::values).collect();
            let fill = inner.fill(Arc::clone(&keys)).await?;
            let answers =
                keys.iter().zip(fill.answers).map(|(key, filled)| inner.loaded(key, filled)).collect();
            Ok(ManyLoaded { stamp: fill.stamp, answers })
        })
    }
}

//! Typed views: a cache with its loader, so that readers name only the key and the level.

use crate::answer::{Answer, Consistency, Declared};
use crate::cache::Cache;
use crate::error::ReadError;
use crate::load::Load;
use crate::reading::Reading;
use std::hash::Hash;
use std::sync::Arc;

/// A view with its key's and its answer's type: a [`Cache`] that knows how to load. Cheap to clone.
///
/// ```
/// use candor::{Cache, LoadContext, Strong, TypedView};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct User { name: String }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), candor::ReadError> {
/// let users: TypedView<u64, User> = Cache::builder()
///     .build()
///     .bind(|context: LoadContext<u64, User>| async move {
///         Ok::<_, String>(User { name: format!("user {}", context.key()) })
///     });
///
/// let name = users.get(&7).await?.map(|user| user.name);
/// assert_eq!(name.as_deref(), Some("user 7"));
/// let certain = users.at(Strong).read(&7).await?;
/// assert!(certain.value().is_some());
/// # Ok(())
/// # }
/// ```
pub struct TypedView<K, V> {
    cache: Cache<K, V>,
    loader: Arc<dyn Load<K, V>>,
}

impl<K, V> Clone for TypedView<K, V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), loader: Arc::clone(&self.loader) }
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Fixes the loader.
    pub fn bind(&self, loader: impl Load<K, V> + 'static) -> TypedView<K, V> {
        TypedView { cache: self.clone(), loader: Arc::new(loader) }
    }
}

impl<K, V> TypedView<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The value for `key`, at the contract's level; `None` where the source has none.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(&self, key: &K) -> Result<Option<V>, ReadError> {
        self.read(key).await.map(Answer::into_value)
    }

    /// Like [`TypedView::get`], with the receipt.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    #[inline]
    pub fn read<'a>(
        &'a self,
        key: &'a K,
    ) -> Reading<'a, K, V, Declared, impl FnOnce() -> Arc<dyn Load<K, V>>> {
        self.cache.read_with(key, Declared, || Arc::clone(&self.loader))
    }

    /// Reads at another level than the contract's.
    pub fn at<L: Consistency>(&self, level: L) -> ViewAt<'_, K, V, L> {
        ViewAt { view: self, level }
    }

    /// The cache behind the view.
    pub fn cache(&self) -> &Cache<K, V> {
        &self.cache
    }
}

/// Reads of a typed view at a chosen level; see [`TypedView::at`].
pub struct ViewAt<'a, K, V, L> {
    view: &'a TypedView<K, V>,
    level: L,
}

impl<K, V, L> ViewAt<'_, K, V, L>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    L: Consistency,
{
    /// The value for `key`.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(&self, key: &K) -> Result<Option<V>, ReadError> {
        self.read(key).await.map(Answer::into_value)
    }

    /// The answer for `key`, with its receipt and its level in the type.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    #[inline]
    pub fn read<'a>(&'a self, key: &'a K) -> Reading<'a, K, V, L, impl FnOnce() -> Arc<dyn Load<K, V>>> {
        self.view.cache.read_with(key, self.level.clone(), || Arc::clone(&self.view.loader))
    }
}

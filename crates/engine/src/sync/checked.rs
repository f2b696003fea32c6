//! Shuttle's lock, used as parking_lot's.
//!
//! Shuttle's own cannot be taken by what is dropped after an execution has failed, and that would hide why it failed. So
//! it guards nothing here but the order, and is left out where there is no task any more to put in order.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

/// A lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    order: shuttle::sync::Mutex<()>,
    value: std::sync::Mutex<T>,
}

/// A lock that is held. The value is let go before its place in the order.
#[derive(Debug)]
pub(crate) struct Held<'a, T> {
    value: std::sync::MutexGuard<'a, T>,
    _order: Option<shuttle::sync::MutexGuard<'a, ()>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { order: shuttle::sync::Mutex::new(()), value: std::sync::Mutex::new(value) }
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        let is_ordered = !std::thread::panicking() && shuttle::current::get_current_task().is_some();
        let order = is_ordered.then(|| self.order.lock().unwrap_or_else(PoisonError::into_inner));
        Held { value: self.value.lock().unwrap_or_else(PoisonError::into_inner), _order: order }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

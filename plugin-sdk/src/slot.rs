//! Plugins that are opened once and then called again and again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::types::Error;

/// Where the open plugin lives between calls; implemented by the `export_...!` macros, because a static cannot be
/// generic.
#[doc(hidden)]
pub trait Slot: Sized + 'static {
    fn slot<R>(use_slot: impl FnOnce(&RefCell<Option<Rc<Self>>>) -> R) -> R;
}

/// The open plugin; `what` is what to call it.
pub(crate) fn open<T: Slot>(what: &str) -> Result<Rc<T>, Error> {
    crate::panic::install();
    T::slot(|slot| slot.borrow().clone())
        .ok_or_else(|| Error::other(format!("the {what} was used before it was opened")))
}

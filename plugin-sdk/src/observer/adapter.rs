//! Between the trait and what wit-bindgen wants.

use core::marker::PhantomData;
use std::rc::Rc;

use super::{BuildObserver, Event};
use crate::bindings::observer::exports::dcd::plugin::observer::Guest;
use crate::config::{self, Package};
use crate::slot::{self, Slot};
use crate::types::{Diagnostic, Error, PluginInfo};

/// Exports a [`BuildObserver`]; used by [`export_observer!`](crate::export_observer).
#[doc(hidden)]
pub struct ObserverAdapter<T>(PhantomData<T>);

impl<T: BuildObserver + Slot + Package> Guest for ObserverAdapter<T> {
    fn describe() -> PluginInfo {
        crate::panic::install();
        config::info::<T, T::Config>(T::SUMMARY, &[])
    }

    fn validate(json: String) -> Result<Vec<Diagnostic>, Error> {
        crate::panic::install();
        config::findings::<T::Config>(&json, T::validate)
    }

    fn open(config: String, build: String) -> Result<(), Error> {
        crate::panic::install();
        let opened = T::open(config::parse(&config)?, serde_json::from_str(&build)?)?;
        T::slot(|slot| slot.replace(Some(Rc::new(opened))));
        Ok(())
    }

    fn observe(events: Vec<Event>) -> Result<(), Error> {
        slot::open::<T>("observer")?.observe(events)
    }

    fn close() -> Result<(), Error> {
        slot::open::<T>("observer")?.close()
    }
}

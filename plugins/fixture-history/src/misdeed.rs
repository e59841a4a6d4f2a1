//! Failing, when it is time to.

use std::cell::Cell;
use std::time::Duration;

use dcd_plugin_sdk::{Error, Fault};

use crate::{Call, Config, Kind};

#[derive(Debug)]
pub(crate) struct Misdeed {
    config: Config,
    calls: Cell<u32>,
}

impl Misdeed {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, calls: Cell::new(0) }
    }

    /// Fails if `call` is the one to fail, and enough of them succeeded.
    pub(crate) fn commit(&self, call: Call) -> Result<(), Error> {
        if self.config.fail != call {
            return Ok(());
        }
        let calls = self.calls.replace(self.calls.get().saturating_add(1));
        if calls < self.config.after {
            return Ok(());
        }
        let fault = Fault::new(format!("the fixture fails to {call:?}, as it was told").to_lowercase());
        match self.config.kind {
            Kind::Unavailable => Err(Error::Unavailable(fault.code("fixture/unavailable"))),
            Kind::Denied => Err(Error::Denied(fault.code("fixture/denied"))),
            Kind::Unsupported => Err(Error::Unsupported(format!("{call:?}").to_lowercase())),
            Kind::Trap => trap(),
            Kind::Hang => loop {
                std::thread::sleep(Duration::from_hours(1));
            },
        }
    }
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    unreachable!("there are no traps here")
}

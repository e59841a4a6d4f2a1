//! Showing builds: while they run, and again.
//!
//! A [`Sink`](crate::engine::ports::Sink) gets the events. `teller` puts them into words, the same in every
//! mode, and gives them to a screen: `plain` lines, or the `live` view of a terminal, or the foldable
//! `groups` of another CI's log. [`Ndjson`] gives the events themselves.

mod analysis;
mod area;
mod ci;
mod clock;
mod document;
mod groups;
mod junit;
mod live;
mod locks;
mod mode;
mod ndjson;
mod out;
mod page;
mod painter;
mod plain;
mod plan;
mod style;
mod tail;
mod teller;
mod words;

#[cfg(test)]
mod story;

use std::io::Write;

pub use analysis::{diff, stats};
pub use area::Size;
pub use ci::Ci;
pub use document::{Summary, document};
pub use junit::Junit;
pub use locks::{KnownLock, KnownPlace, lock_document, lock_list};
pub use mode::Mode;
pub use ndjson::{Ndjson, json_line};
pub use page::{list, show};
pub use plan::{Plan, kind};
pub use style::Style;
use teller::{Finished, Screen, Started, Teller};

use crate::engine::ports::Sink;

/// Plain lines.
pub fn plain(out: impl Write + Send + 'static, style: Style) -> Box<dyn Sink> {
    Box::new(Teller::new(plain::Plain::new(out), style))
}

/// Plain lines, in groups that this CI folds.
pub fn groups(out: impl Write + Send + 'static, ci: Ci, style: Style) -> Box<dyn Sink> {
    Box::new(Teller::new(groups::Groups::new(out, ci), style))
}

/// The live view of a terminal, and what takes it off the terminal should the build break.
pub fn live(
    out: impl Write + Send + 'static,
    size: fn() -> Size,
    style: Style,
) -> (Box<dyn Sink>, Box<dyn FnOnce() + Send>) {
    let live = live::Live::new(out, size, style);
    let curtain = live.curtain();
    (Box::new(Teller::new(live, style)), curtain)
}

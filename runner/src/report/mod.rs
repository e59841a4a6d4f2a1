//! Showing builds: while they run, and again.

mod document;
mod human;
mod page;
mod style;

pub use document::{Summary, document};
pub use human::Human;
pub use page::{list, show};
pub use style::Style;

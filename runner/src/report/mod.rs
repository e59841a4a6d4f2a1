//! Showing builds: while they run, and again.

mod document;
mod human;
mod page;
mod plan;
mod style;

pub use document::{Summary, document};
pub use human::Human;
pub use page::{list, show};
pub use plan::{Plan, kind};
pub use style::Style;

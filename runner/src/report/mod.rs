//! Showing a build while it runs.

mod human;
mod style;

pub use human::Human;
pub use style::Style;

//! The durable local log of a build, and where logs lie.
//!
//! Every event goes here before anything shows or sends it. [`format`] is the bytes, [`Writer`] appends and
//! syncs, [`Reader`] reads what is whole, [`Store`] is the directory `.dcd` with all builds of a workspace.

mod format;
mod glance;
mod import;
mod prune;
mod reader;
mod store;
mod unsent;
mod writer;

pub use format::Corruption;
pub(crate) use format::{Encoder, header};
pub use import::{Imported, Importing};
pub use prune::Pruned;
pub use reader::{JournalTail, Reader};
pub use store::{BuildDir, Lookup, Store, StoreError};
pub use unsent::Unsent;
pub use writer::{JournalError, Writer};

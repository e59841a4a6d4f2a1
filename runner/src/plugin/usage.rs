//! What a plugin made use of, of all that it is granted.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{event::PluginUsed, text::clip};

/// How many things of a kind are recorded, and how much of a name.
const USED: usize = 1000;
const NAME: usize = 1000;

/// What a plugin made use of so far. Its clones are one: whoever calls the plugin may be elsewhere.
#[derive(Clone, Debug)]
pub struct Usage(Arc<Mutex<PluginUsed>>);

impl Usage {
    /// Nothing yet.
    pub(crate) fn new(plugin: &str) -> Self {
        let used = PluginUsed { plugin: plugin.to_owned(), ..PluginUsed::default() };
        Usage(Arc::new(Mutex::new(used)))
    }

    /// Notes what is made use of.
    pub(crate) fn add(&self, kind: impl FnOnce(&mut PluginUsed) -> &mut BTreeSet<String>, what: &str) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kind(&mut used);
        if known.len() < USED {
            known.insert(clip(what, NAME).to_owned());
        }
    }

    /// What it was until now. `None`: nothing.
    pub fn so_far(&self) -> Option<PluginUsed> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.kinds().next().is_some().then(|| used.clone())
    }
}

//! stand-in
use super::Pipeline;
use serde_json::Value;
use std::collections::BTreeMap;
/// Why.
#[derive(Clone, Debug)]
pub struct ParamError {
    /// What.
    pub message: String,
    /// Do.
    pub help: Option<String>,
}
impl Pipeline {
    /// Stand-in.
    pub fn bind(
        &self,
        _given: &BTreeMap<String, String>,
    ) -> Result<Vec<BTreeMap<String, Value>>, Vec<ParamError>> {
        Ok(vec![BTreeMap::new(); self.scopes.len()])
    }
}

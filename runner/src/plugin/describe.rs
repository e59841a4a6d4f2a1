//! Asking a plugin for its config's schema. It may touch nothing while it answers.

use serde_json::Value;

use crate::plugin::{
    Grants, Host, Kind, PluginError,
    bindings::{history::HistoryBackend, observer::BuildObserver, step::StepType},
    call::{QUICK, limited},
    engine::Compiled,
    given::Given,
    locate::Located,
    schema::Schema,
};

/// What a plugin's config must be like, asked from the plugin itself if need be. It may touch nothing.
pub fn config_schema(host: &Host, located: &Located) -> Result<Value, PluginError> {
    load(host, located, Grants::default()).map(|(_, schema)| schema.into_json())
}

/// The schema, as the plugin gives it.
fn ask(compiled: &Compiled, kind: Kind) -> Result<String, PluginError> {
    let plugin = compiled.clone();
    let info = compiled.runtime.block_on(async move {
        let warden = plugin.strict_warden();
        let mut store = plugin.store(&warden, Given::default())?;
        limited(&warden, "describe", QUICK, async {
            let instance = plugin.pre.instantiate_async(&mut store).await?;
            match kind {
                Kind::StepType => {
                    let guest = StepType::new(&mut store, &instance)?;
                    guest.dcd_plugin_step().call_describe(&mut store).await
                }
                Kind::HistoryBackend => {
                    let guest = HistoryBackend::new(&mut store, &instance)?;
                    guest.dcd_plugin_history().call_describe(&mut store).await
                }
                Kind::BuildObserver => {
                    let guest = BuildObserver::new(&mut store, &instance)?;
                    guest.dcd_plugin_observer().call_describe(&mut store).await
                }
            }
        })
        .await
    })?;
    Ok(info.config_schema)
}

/// Compiles a plugin, or takes its compiled form, to be called with these grants; and its config's schema, which it was
/// asked for when it was installed, or else is now.
pub(crate) fn load(
    host: &Host,
    located: &Located,
    grants: Grants,
) -> Result<(Compiled, Schema), PluginError> {
    let compiled = host.compile(located, grants)?;
    let schema = schema(located, &compiled)?;
    Ok((compiled, schema))
}

/// The schema of a plugin that is compiled.
pub(crate) fn schema(located: &Located, compiled: &Compiled) -> Result<Schema, PluginError> {
    match located.installed.schema() {
        Some(json) => Schema::known(&compiled.name, json.clone()),
        None => Schema::parse(&compiled.name, &ask(compiled, located.manifest.kind)?),
    }
}

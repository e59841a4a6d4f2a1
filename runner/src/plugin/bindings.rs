//! The generated half of the plugin interface, from `wit/`.

#![allow(missing_docs, clippy::pedantic)]

pub(crate) mod step {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "step-type",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

pub(crate) mod history {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "history-backend",
        imports: { default: async | trappable },
        exports: { default: async },
        additional_derives: [PartialEq],
        with: {
            "dcd:plugin/types": super::step::dcd::plugin::types,
            "dcd:plugin/log": super::step::dcd::plugin::log,
            "dcd:plugin/secrets": super::step::dcd::plugin::secrets,
        },
    });
}

pub(crate) mod observer {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "build-observer",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "dcd:plugin/types": super::step::dcd::plugin::types,
            "dcd:plugin/log": super::step::dcd::plugin::log,
            "dcd:plugin/secrets": super::step::dcd::plugin::secrets,
            "dcd:plugin/build-types": super::history::dcd::plugin::build_types,
        },
    });
}

pub(crate) use step::dcd::plugin::{command, log, run_control, secrets, types};

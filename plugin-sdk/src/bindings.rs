//! What wit-bindgen makes of `wit/`. Nothing here is part of the crate's interface.
//!
//! The types of `dcd:plugin/types` are written by hand in [`crate::types`], so that they can carry `From`,
//! `Display` and documentation; all worlds share them, and the imports of [`imports`], by the `with` tables
//! below.
#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, clippy::pedantic)]

pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package dcd:sdk; world imports {
            import dcd:plugin/types@0.1.0;
            import dcd:plugin/log@0.1.0;
            import dcd:plugin/secrets@0.1.0;
        }",
        with: { "dcd:plugin/types@0.1.0": crate::types },
        generate_all,
    });
}

pub mod step {
    wit_bindgen::generate!({
        path: "wit",
        world: "dcd:plugin/step-type",
        with: {
            "dcd:plugin/types@0.1.0": crate::types,
            "dcd:plugin/log@0.1.0": crate::bindings::imports::dcd::plugin::log,
            "dcd:plugin/secrets@0.1.0": crate::bindings::imports::dcd::plugin::secrets,
        },
        generate_all,
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_step_type",
    });
}

pub mod history {
    wit_bindgen::generate!({
        path: "wit",
        world: "dcd:plugin/history-backend",
        with: {
            "dcd:plugin/types@0.1.0": crate::types,
            "dcd:plugin/log@0.1.0": crate::bindings::imports::dcd::plugin::log,
            "dcd:plugin/secrets@0.1.0": crate::bindings::imports::dcd::plugin::secrets,
        },
        generate_all,
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
        pub_export_macro: true,
        export_macro_name: "__export_history_backend",
    });
}

pub mod observer {
    wit_bindgen::generate!({
        path: "wit",
        world: "dcd:plugin/build-observer",
        with: {
            "dcd:plugin/types@0.1.0": crate::types,
            "dcd:plugin/log@0.1.0": crate::bindings::imports::dcd::plugin::log,
            "dcd:plugin/secrets@0.1.0": crate::bindings::imports::dcd::plugin::secrets,
            "dcd:plugin/build-types@0.1.0": crate::bindings::history::dcd::plugin::build_types,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_build_observer",
    });
}

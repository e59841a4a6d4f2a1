//! The custom section `dcd:manifest`, and the macros that write it.
//!
//! The runner reads it before it compiles a plugin, so that a plugin made for another version is a sentence
//! and not a linker's error. It is made at compile time, from constants, as text of exactly its own length.

/// The version of the WIT package that this crate speaks.
pub const API: &str = "dcd:plugin@0.1.0";

/// A piece of the manifest.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Piece {
    /// JSON syntax, as it is.
    Raw(&'static str),
    /// The inside of a JSON string, to be escaped.
    Text(&'static str),
}

const HEX: &[u8; 16] = b"0123456789abcdef";

const fn bytes(piece: &Piece) -> &'static [u8] {
    match piece {
        Piece::Raw(text) | Piece::Text(text) => text.as_bytes(),
    }
}

const fn must_escape(piece: &Piece, byte: u8) -> bool {
    matches!(piece, Piece::Text(_)) && (byte == b'"' || byte == b'\\' || byte < 0x20)
}

/// The manifest's length in bytes.
#[doc(hidden)]
pub const fn length(pieces: &[Piece]) -> usize {
    let mut length = 0;
    let mut at = 0;
    while at < pieces.len() {
        let bytes = bytes(&pieces[at]);
        let mut index = 0;
        while index < bytes.len() {
            length += if must_escape(&pieces[at], bytes[index]) { "\\u0000".len() } else { 1 };
            index += 1;
        }
        at += 1;
    }
    length
}

/// The manifest's bytes; `N` is its [`length`].
#[doc(hidden)]
pub const fn join<const N: usize>(pieces: &[Piece]) -> [u8; N] {
    let mut out = [b'0'; N];
    let mut end = 0;
    let mut at = 0;
    while at < pieces.len() {
        let bytes = bytes(&pieces[at]);
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            if must_escape(&pieces[at], byte) {
                out[end] = b'\\';
                out[end + 1] = b'u';
                out[end + 4] = HEX[(byte >> 4) as usize];
                out[end + 5] = HEX[(byte & 0xf) as usize];
                end += "\\u0000".len();
            } else {
                out[end] = byte;
                end += 1;
            }
            index += 1;
        }
        at += 1;
    }
    out
}

/// Exports a type as a step type. Call it once, in the plugin's `lib.rs`.
///
/// The plugin's name is the package's name, unless `name:` says another. `asks:` states what the plugin needs
/// and why; whoever installs the plugin is shown it and decides. The kinds are `http`, `tcp`, `env`, `fs`,
/// `exec` and `secrets`.
///
/// ```ignore
/// dcd_plugin_sdk::export_step!(Deploy);
/// dcd_plugin_sdk::export_step!(Deploy, asks: { exec: "to run helm", secrets: "to log in" });
/// dcd_plugin_sdk::export_step!(Deploy, name: "helm", asks: { exec: "to run helm" });
/// ```
///
/// On any other target than WebAssembly nothing is exported, so that the crate links and its tests run.
#[macro_export]
macro_rules! export_step {
    ($type:ty $(, name: $name:expr)? $(, asks: { $($kind:ident : $reason:expr),+ $(,)? })? $(,)?) => {
        $crate::__package!($type $(, $name)?);
        $crate::__manifest!(
            "step-type", $type, <$type as $crate::StepType>::SUMMARY $(, $($kind: $reason),+)?
        );
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::StepAdapter<$type>;
            $crate::bindings::step::__export_step_type!(Exported with_types_in $crate::bindings::step);
        };
    };
}

/// Exports a type as a history backend. It takes what [`export_step!`] takes.
#[macro_export]
macro_rules! export_history {
    ($type:ty $(, name: $name:expr)? $(, asks: { $($kind:ident : $reason:expr),+ $(,)? })? $(,)?) => {
        $crate::__package!($type $(, $name)?);
        $crate::__manifest!(
            "history-backend", $type, <$type as $crate::HistoryBackend>::SUMMARY $(, $($kind: $reason),+)?
        );
        $crate::__slot!($type);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::HistoryAdapter<$type>;
            $crate::bindings::history::__export_history_backend!(Exported with_types_in $crate::bindings::history);
        };
    };
}

/// Exports a type as a build observer. It takes what [`export_step!`] takes.
#[macro_export]
macro_rules! export_observer {
    ($type:ty $(, name: $name:expr)? $(, asks: { $($kind:ident : $reason:expr),+ $(,)? })? $(,)?) => {
        $crate::__package!($type $(, $name)?);
        $crate::__manifest!(
            "build-observer", $type, <$type as $crate::BuildObserver>::SUMMARY $(, $($kind: $reason),+)?
        );
        $crate::__slot!($type);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::ObserverAdapter<$type>;
            $crate::bindings::observer::__export_build_observer!(Exported with_types_in $crate::bindings::observer);
        };
    };
}

/// Where an open plugin lives between calls.
#[doc(hidden)]
#[macro_export]
macro_rules! __slot {
    ($type:ty) => {
        impl $crate::__private::Slot for $type {
            fn slot<R>(
                use_slot: impl FnOnce(&::std::cell::RefCell<::std::option::Option<::std::rc::Rc<Self>>>) -> R,
            ) -> R {
                ::std::thread_local! {
                    static SLOT: ::std::cell::RefCell<::std::option::Option<::std::rc::Rc<$type>>> =
                        const { ::std::cell::RefCell::new(None) };
                }
                SLOT.with(use_slot)
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __package {
    ($type:ty) => {
        $crate::__package!($type, ::core::env!("CARGO_PKG_NAME"));
    };
    ($type:ty, $name:expr) => {
        impl $crate::__private::Package for $type {
            const NAME: &'static str = $name;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __manifest {
    ($world:literal, $type:ty, $summary:expr $(, $first:ident: $why:expr $(, $kind:ident: $reason:expr)*)?) => {
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::__private::Piece::{Raw, Text};
            use $crate::__private::{Package, join, length};

            const PIECES: &[$crate::__private::Piece] = &[
                Raw("{\"api\":\""), Text($crate::API),
                Raw(::core::concat!("\",\"kind\":\"", $world, "\",\"name\":\"")), Text(<$type as Package>::NAME),
                Raw("\",\"version\":\""), Text(<$type as Package>::VERSION),
                Raw("\",\"summary\":\""), Text($summary),
                Raw("\",\"asks\":["),
                $(
                    Raw($crate::__ask!($first)), Text($why), Raw("\"}"),
                    $(Raw(","), Raw($crate::__ask!($kind)), Text($reason), Raw("\"}"),)*
                )?
                Raw("]}"),
            ];
            const LENGTH: usize = length(PIECES);

            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "dcd:manifest")]
            static MANIFEST: [u8; LENGTH] = join(PIECES);

            impl $crate::__private::Manifest for $type {
                const MANIFEST: &'static [u8] = &join::<LENGTH>(PIECES);
            }
        };
    };
}

/// The text of one of a plugin's asks, up to its reason.
#[doc(hidden)]
#[macro_export]
macro_rules! __ask {
    (http) => {
        "{\"kind\":\"http\",\"reason\":\""
    };
    (tcp) => {
        "{\"kind\":\"tcp\",\"reason\":\""
    };
    (env) => {
        "{\"kind\":\"env\",\"reason\":\""
    };
    (fs) => {
        "{\"kind\":\"fs\",\"reason\":\""
    };
    (exec) => {
        "{\"kind\":\"exec\",\"reason\":\""
    };
    (secrets) => {
        "{\"kind\":\"secrets\",\"reason\":\""
    };
    ($other:ident) => {
        ::core::compile_error!(::core::concat!(
            "a plugin cannot ask for `",
            ::core::stringify!($other),
            "`: the kinds are http, tcp, env, fs, exec and secrets"
        ))
    };
}

/// A plugin's manifest, for tests.
#[doc(hidden)]
pub trait Manifest {
    const MANIFEST: &'static [u8];
}

#[cfg(test)]
mod tests {
    use super::Manifest;
    use crate::{StepContext, StepError, StepOutput, StepType};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Nothing {}

    struct Plain;
    struct Asking;

    impl StepType for Plain {
        const SUMMARY: &'static str = "Say \"hi\" to C:\\ and\ttabs, grüezi";
        type Config = Nothing;
        fn run(_: Nothing, _: StepContext) -> Result<StepOutput, StepError> {
            Ok(StepOutput::new())
        }
    }

    impl StepType for Asking {
        const SUMMARY: &'static str = "Ask";
        type Config = Nothing;
        fn run(_: Nothing, _: StepContext) -> Result<StepOutput, StepError> {
            Ok(StepOutput::new())
        }
    }

    // The macro names this crate as `dcd_plugin_sdk` would: by `$crate`.
    crate::export_step!(Plain);
    crate::export_step!(Asking, name: "other", asks: { http: "to \"call\"", fs: "to write" });

    fn manifest<T: Manifest>() -> serde_json::Value {
        serde_json::from_slice(T::MANIFEST).unwrap_or_default()
    }

    #[test]
    fn a_manifest_is_json_of_its_exact_length() {
        assert_eq!(
            manifest::<Plain>(),
            serde_json::json!({
                "api": "dcd:plugin@0.1.0",
                "kind": "step-type",
                "name": "dcd-plugin-sdk",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": "Say \"hi\" to C:\\ and\ttabs, grüezi",
                "asks": [],
            })
        );
    }

    #[test]
    fn a_manifest_says_what_the_plugin_asks_for() {
        let manifest = manifest::<Asking>();
        assert_eq!(manifest["name"], "other");
        assert_eq!(
            manifest["asks"],
            serde_json::json!([
                { "kind": "http", "reason": "to \"call\"" },
                { "kind": "fs", "reason": "to write" },
            ])
        );
    }
}

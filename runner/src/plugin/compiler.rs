//! The compiler, configured once: what `dcd plugin install` compiles is what a run loads.

use std::path::Path;

use wasmtime::{Config, Engine, ModuleVersionStrategy, OptLevel, component::Component};

/// This dcd. What another one compiled is not loaded.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The full triple that this binary was built for.
pub const NATIVE: &str = if cfg!(target_arch = "aarch64") {
    if cfg!(target_env = "musl") { "aarch64-unknown-linux-musl" } else { "aarch64-unknown-linux-gnu" }
} else if cfg!(target_env = "musl") {
    "x86_64-unknown-linux-musl"
} else {
    "x86_64-unknown-linux-gnu"
};

/// What can be compiled for, and what Docker calls it. The stock image's binary is linked with musl.
const TARGETS: [(&str, &str); 4] = [
    ("x86_64-unknown-linux-musl", "amd64"),
    ("aarch64-unknown-linux-musl", "arm64"),
    ("x86_64-unknown-linux-gnu", ""),
    ("aarch64-unknown-linux-gnu", ""),
];

/// The triple that somebody means, by itself or as Docker's `TARGETARCH`; or what they could mean.
pub fn target(named: &str) -> Result<&'static str, String> {
    let found = TARGETS.iter().find(|(triple, docker)| named == *triple || named == *docker);
    found.filter(|_| !named.is_empty()).map(|(triple, _)| *triple).ok_or_else(|| {
        let triples: Vec<_> = TARGETS.iter().map(|(triple, _)| *triple).collect();
        format!("dcd compiles for {}; `amd64` and `arm64` stand for the first two", triples.join(", "))
    })
}

/// An engine that compiles for `target`.
pub(crate) fn engine(target: &str) -> wasmtime::Result<Engine> {
    Engine::new(&config(target)?)
}

/// An engine that runs what was compiled for here, and compiles nothing: to get a compiler ready takes longer than to make
/// the rest of an engine, and where all plugins are installed it has nothing to do.
pub(crate) fn runtime() -> wasmtime::Result<Engine> {
    let mut config = config(NATIVE)?;
    config.enable_compiler(false);
    Engine::new(&config)
}

fn config(target: &str) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.cranelift_opt_level(OptLevel::Speed);
    // Guests are built with `panic = "abort"`; nothing walks their stacks.
    config.native_unwind_info(false);
    // Where in the plugin's file it trapped is of no use to who uses it, and a fifth of what there is to load.
    config.generate_address_map(false);
    // Named, so that nothing of the processor at hand is in the code: an image is built on one machine and runs on
    // another.
    config.target(target)?;
    config.module_version(ModuleVersionStrategy::Custom(format!("dcd-{VERSION}")))?;
    Ok(config)
}

/// Compiles a plugin for a [`runtime`].
#[allow(unsafe_code)]
pub(crate) fn compile(runtime: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    let native = engine(NATIVE)?.precompile_component(bytes)?;
    // SAFETY: this is what `precompile_component` gave just now.
    unsafe { Component::deserialize(runtime, native) }
}

/// Takes over what [`Engine::precompile_component`] gave `dcd plugin install`.
///
/// The caller has found the file in a plugin directory, and its digest in the sidecar that `dcd plugin install` wrote
/// there. wasmtime itself refuses what another version, target or configuration made.
#[allow(unsafe_code)]
pub(crate) fn load(engine: &Engine, native: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file must be what `precompile_component` gave, and stay it while it is mapped. A file that lies in a
    // workspace, or was changed without its sidecar, does not get here; `dcd plugin install` replaces files and never
    // writes into one. Who else can write into the plugin directory of the image can replace dcd itself.
    unsafe { Component::deserialize_file(engine, native) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_triples_or_what_docker_calls_them() {
        assert_eq!(target("arm64"), Ok("aarch64-unknown-linux-musl"));
        assert_eq!(target("x86_64-unknown-linux-gnu"), Ok("x86_64-unknown-linux-gnu"));
        for wrong in ["", "riscv64gc-unknown-linux-gnu", "x86_64"] {
            assert!(target(wrong).unwrap_err().contains("aarch64-unknown-linux-musl"), "{wrong}");
        }
        assert!(target(NATIVE).is_ok());
    }

    #[test]
    fn code_is_for_any_processor_of_its_architecture() {
        let component = b"\0asm\x0d\0\x01\0";
        for (triple, _) in TARGETS {
            let code = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(code.path(), engine(triple).unwrap().precompile_component(component).unwrap())
                .unwrap();
            let native = runtime().unwrap();
            let same = triple.split('-').next() == NATIVE.split('-').next();
            assert_eq!(load(&native, code.path()).is_ok(), same, "{triple}");
        }
    }
}

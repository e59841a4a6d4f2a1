//! What the linker is told.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The static binary lies at another address each time, so each start puts seventy thousand addresses in. Packed, the
    // list of them is a hundredth as long: half a millisecond less, and 1.6 MB. (glibc would have to be a new one for it.)
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

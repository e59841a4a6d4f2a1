//! The `dcd` program.

use std::process::ExitCode;

/// musl's own allocator doubles the time that compiling a plugin takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dcd::run(std::env::args_os())
}

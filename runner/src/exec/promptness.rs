//! Being woken soon.
//!
//! Where steps keep all processors busy, the loop that starts the next one waits for its turn like any of them: up to
//! milliseconds each time, in which the processor of the step that has just ended idles. It needs microseconds, and
//! says so: Linux (6.12 and later) lets a thread ask for short turns, and gives it short ones sooner.

use std::mem::size_of;

use nix::libc;

/// How long a turn we ask for, in nanoseconds: the shortest there is.
const TURN: u64 = 100_000;
/// Children get the usual turns again.
const RESET_ON_FORK: u64 = 1;

/// As in `linux/sched/types.h`, its first version.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SIZE: u32 = 48;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize, "the kernel goes by the size");

/// Asks for short turns for the calling thread. An older kernel does not mind.
pub fn ask() {
    let Some(mut now) = current() else { return };
    // Whoever chose a policy or a priority has chosen; resetting would take it from our children.
    if now.policy != libc::SCHED_OTHER.cast_unsigned() || now.nice < 0 {
        return;
    }
    (now.size, now.flags, now.runtime) = (SIZE, RESET_ON_FORK, TURN);
    #[allow(unsafe_code, reason = "no crate wraps this call")]
    // SAFETY: the kernel reads `size` bytes from the pointer, which the structure has.
    unsafe {
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const now, 0);
    }
}

fn current() -> Option<Attributes> {
    let mut now = Attributes::default();
    #[allow(unsafe_code, reason = "no crate wraps this call")]
    // SAFETY: the kernel writes at most the given size to the pointer, which the structure has.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, SIZE, 0) };
    (done == 0).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_turns_are_ours_alone() {
        let (ours, childs) = std::thread::spawn(|| {
            ask();
            (current().unwrap(), std::thread::spawn(|| current().unwrap()).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((ours.flags & RESET_ON_FORK, childs.flags & RESET_ON_FORK), (RESET_ON_FORK, 0));
        // Kernels before 6.12 say 0 for both.
        assert!(ours.runtime == 0 || (ours.runtime, childs.runtime != TURN) == (TURN, true));
    }
}

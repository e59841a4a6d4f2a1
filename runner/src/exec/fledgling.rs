//! A process that has not become its program yet.
//!
//! It is made as `vfork` makes one, without a copy of our memory, but we do not wait for it. Until it runs its program it
//! uses our memory, on a stack of its own, beside us: it may not allocate, take a lock, panic, or call what keeps a value
//! for its thread, which is ours (`errno`, for one). So it only calls the system, and all that it needs was made ready.
//!
//! A signal that is meant for it must not be taken for ours: all are held back until it has no handlers of ours any more.

use std::{
    arch::asm,
    ffi::{CString, OsStr},
    io,
    os::{
        fd::RawFd,
        raw::{c_char, c_int, c_long, c_void},
        unix::ffi::OsStrExt,
    },
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
};

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow},
};
use rustix::{
    io::Errno,
    mm::{MapFlags, MprotectFlags, ProtFlags},
    process::{Pid, WaitStatus},
};

use super::command::Surroundings;

/// Far more than the few calls need.
const STACK: usize = 64 << 10;
/// At the upper end of the stack, for what could not be done.
const ERROR: usize = 64;
/// The signals that dcd and its libraries may handle, and the one that Rust's programs ignore and others expect to be ended
/// by. To ask for each that there is would take a new process some 10 us.
const HANDLED: [c_int; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGPIPE,
    // Of the standard library, for a stack that is full, and of wasmtime, for traps.
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
];
/// What the kernel means by its sets of signals.
const SET: usize = 8;
/// Stands for the current directory.
const HERE: usize = libc::AT_FDCWD.cast_unsigned() as usize;

/// Stacks that are not in use.
static SPARE: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

/// Texts as the system takes them: one after the other, each with a NUL at its end.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// Where each text begins; null at the end.
pub(super) struct Pointers {
    starts: Vec<*const c_char>,
    /// What they point to.
    _bytes: Vec<u8>,
    /// What the others among them point to.
    _others: Option<Arc<Surroundings>>,
}

/// What the process is to do.
pub(super) struct Plan {
    /// Where its program may be: the first that can be run is.
    pub(super) files: Pointers,
    pub(super) arguments: Pointers,
    pub(super) variables: Pointers,
    /// Where it starts; absolute.
    pub(super) directory: CString,
    /// What becomes its standard input, output and error.
    pub(super) streams: [RawFd; 3],
}

/// The process. What it uses is kept until it has [ended](Fledgling::ended), and for ever when nobody says that it has.
pub(super) struct Fledgling {
    pid: Pid,
    nest: NonNull<Nest>,
}

/// What the process uses of our memory.
struct Nest {
    plan: Plan,
    stack: Stack,
}

/// Memory for the stack of a process. It is shared, so that also a process that has a copy of the rest can say what it
/// could not do.
struct Stack(NonNull<c_void>);

/// What is wrong with a text that holds what ends it.
pub(super) fn nul() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is a NUL byte in its arguments or its environment")
}

impl Texts {
    /// Room for this many, of some usual length.
    pub(super) fn room_for(count: usize) -> Self {
        Texts { bytes: Vec::with_capacity(count * 64), starts: Vec::with_capacity(count) }
    }

    /// One more, of these parts.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().any(|part| memchr::memchr(0, part).is_some()) {
            return Err(nul());
        }
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        Ok(())
    }

    pub(super) fn push_variable(&mut self, name: &OsStr, value: &OsStr) -> io::Result<()> {
        self.push(&[name.as_bytes(), b"=", value.as_bytes()])
    }

    /// The text that was added as this one, counted from 0.
    pub(super) fn get(&self, number: usize) -> Option<&[u8]> {
        let next = self.starts.get(number + 1).copied().unwrap_or(self.bytes.len());
        self.starts.get(number).map(|start| &self.bytes[*start..next - 1])
    }

    fn all(&self) -> impl Iterator<Item = *const c_char> {
        self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast())
    }

    pub(super) fn pointers(self) -> Pointers {
        Pointers { starts: self.all().chain([ptr::null()]).collect(), _bytes: self.bytes, _others: None }
    }

    /// Variables, and those of their surroundings; each that has a place there is instead of the one that is.
    pub(super) fn pointers_among(
        self,
        surroundings: &Arc<Surroundings>,
        places: impl Iterator<Item = Option<usize>>,
    ) -> io::Result<Pointers> {
        let others = surroundings.texts()?;
        let mut starts = Vec::with_capacity(others.starts.len() + self.starts.len() + 1);
        starts.extend(others.all());
        for (text, place) in self.all().zip(places) {
            match place.and_then(|place| starts.get_mut(place)) {
                Some(other) => *other = text,
                None => starts.push(text),
            }
        }
        starts.push(ptr::null());
        Ok(Pointers { starts, _bytes: self.bytes, _others: Some(surroundings.clone()) })
    }
}

#[allow(unsafe_code, reason = "pointers are not known to be harmless")]
// SAFETY: it is only memory, which nobody but the process uses, and that of its owner.
unsafe impl Send for Fledgling {}

#[allow(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Send for Stack {}

impl Fledgling {
    pub(super) fn start(plan: Plan) -> io::Result<Self> {
        let nest = NonNull::from(Box::leak(Box::new(Nest { plan, stack: Stack::take()? })));
        #[allow(unsafe_code, reason = "nobody else has the pointer yet")]
        // SAFETY: it is a box's that was just made.
        let top = unsafe { nest.as_ref() }.stack.top();
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let pid = match clone(top, waiting(), nest) {
            // An emulator that knows no process with our memory knows `vfork`, which it may make a copy.
            Err(Errno::INVAL) => clone(top, libc::CLONE_VFORK, nest),
            cloned => cloned,
        };
        if let Ok(pid) = pid {
            // Whichever of us is first: what is sent to our group is not for it, and who starts it may use its own at once.
            let _ = rustix::process::setpgid(Some(pid), Some(pid));
        }
        // A mask that was in use is no wrong one.
        let _ = before.thread_set_mask();
        pid.map(|pid| Fledgling { pid, nest }).map_err(|error| {
            #[allow(unsafe_code, reason = "there is no process that uses it")]
            // SAFETY: it is a box's that was leaked above.
            drop(unsafe { Box::from_raw(nest.as_ptr()) });
            error.into()
        })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// How the process ended, which was collected with this status; an error when it never became its program.
    pub(super) fn ended(self, status: WaitStatus) -> io::Result<WaitStatus> {
        #[allow(unsafe_code, reason = "the process that used it is no more")]
        // SAFETY: it is a box's that was leaked when the process was started.
        let nest = unsafe { Box::from_raw(self.nest.as_ptr()) };
        match nest.stack.error().load(Ordering::Acquire) {
            0 => Ok(status),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A process that uses our memory and this stack.
fn clone(top: *mut c_void, more: c_int, nest: NonNull<Nest>) -> Result<Pid, Errno> {
    let flags = libc::CLONE_VM | libc::SIGCHLD | more;
    #[allow(unsafe_code, reason = "no crate wraps a process like this")]
    // SAFETY: the stack is the process's alone, and is kept with what it reads until the process has ended. What it may not
    // do is said above.
    let pid = unsafe { libc::clone(leave, top, flags, nest.as_ptr().cast()) };
    let error = || Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL);
    Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(error)
}

/// Whether to wait until the process is its program, as `vfork` does: where code is translated, it is not known that the
/// translator lets two processes use one memory at the same time. One refuses it, Apple's says nothing of it.
fn waiting() -> c_int {
    static WAITING: OnceLock<c_int> = OnceLock::new();
    *WAITING.get_or_init(|| if is_translated() { libc::CLONE_VFORK } else { 0 })
}

/// Whether the processor is the one that Apple's translator shows.
#[cfg(target_arch = "x86_64")]
fn is_translated() -> bool {
    let leaves = 0x8000_0002..=0x8000_0004_u32;
    let words =
        leaves.map(std::arch::x86_64::__cpuid).flat_map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]);
    words.flat_map(u32::to_le_bytes).collect::<Vec<_>>().starts_with(b"VirtualApple")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_translated() -> bool {
    false
}

/// In the new process.
extern "C" fn leave(nest: *mut c_void) -> c_int {
    #[allow(unsafe_code, reason = "the argument of the call above")]
    // SAFETY: it lives until this process has ended.
    let nest = unsafe { &*nest.cast::<Nest>() };
    nest.stack.error().store(nest.plan.follow(), Ordering::Release);
    call(libc::SYS_exit_group, [127, 0, 0, 0]);
    127
}

impl Plan {
    /// Comes back only with the number of an error.
    fn follow(&self) -> c_int {
        call(libc::SYS_setpgid, [0; 4]);
        for (stream, number) in self.streams.iter().zip(0..) {
            // One that has its number stays open as it is.
            if *stream != number {
                let duplicated = call(
                    libc::SYS_dup3,
                    [stream.cast_unsigned() as usize, number.cast_unsigned() as usize, 0, 0],
                );
                if duplicated < 0 {
                    return errno(duplicated);
                }
            }
        }
        let changed = call(libc::SYS_chdir, [self.directory.as_ptr().expose_provenance(), 0, 0, 0]);
        if changed < 0 {
            return errno(changed);
        }
        forget_handlers();
        let nothing = 0_u64;
        let set = libc::SIG_SETMASK.cast_unsigned() as usize;
        call(libc::SYS_rt_sigprocmask, [set, (&raw const nothing).expose_provenance(), 0, SET]);
        self.execute()
    }

    /// As `execvp` does: on to the next place, and what is there but not ours to run is said in the end.
    fn execute(&self) -> c_int {
        let mut refused = libc::ENOENT;
        let is_missing = |error| matches!(error, libc::ENOENT | libc::ENOTDIR);
        // At the end is the null.
        let is_only = self.files.starts.len() == 2;
        for file in &self.files.starts {
            if file.is_null() {
                break;
            }
            // To ask whether it is there takes less time than to try to run what is not.
            let found = || call(libc::SYS_faccessat, [HERE, file.expose_provenance(), 0, 0]);
            if !is_only && is_missing(errno(found())) {
                continue;
            }
            let [arguments, variables] =
                [&self.arguments, &self.variables].map(|texts| texts.starts.as_ptr().expose_provenance());
            match errno(call(libc::SYS_execve, [file.expose_provenance(), arguments, variables, 0])) {
                error if is_missing(error) => {}
                libc::EACCES => refused = libc::EACCES,
                other => return other,
            }
        }
        refused
    }
}

/// Signals that we handle, and the one that Rust's programs ignore and others expect to be ended by, have their usual effect.
fn forget_handlers() {
    // As in the kernel's headers: the handler, flags, what returns from it, and the signals it holds back.
    let usual = [libc::SIG_DFL, 0, 0, 0];
    for signal in HANDLED {
        let mut now = usual;
        let number = signal.cast_unsigned() as usize;
        call(libc::SYS_rt_sigaction, [number, 0, (&raw mut now).expose_provenance(), SET]);
        if now[0] != libc::SIG_DFL && (now[0] != libc::SIG_IGN || signal == libc::SIGPIPE) {
            call(libc::SYS_rt_sigaction, [number, (&raw const usual).expose_provenance(), 0, SET]);
        }
    }
}

fn errno(result: c_long) -> c_int {
    c_int::try_from(-result).unwrap_or(libc::EINVAL)
}

/// Asks the system, without a trace in the memory of the thread.
#[cfg(target_arch = "x86_64")]
fn call(number: c_long, [a, b, c, d]: [usize; 4]) -> c_long {
    let result;
    #[allow(unsafe_code, reason = "the calls of libc leave their error in the memory of the thread")]
    // SAFETY: these are the registers of the kernel's interface; the pointers among them are to what lives during the call.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Asks the system, without a trace in the memory of the thread.
#[cfg(target_arch = "aarch64")]
fn call(number: c_long, [a, b, c, d]: [usize; 4]) -> c_long {
    let result;
    #[allow(unsafe_code, reason = "the calls of libc leave their error in the memory of the thread")]
    // SAFETY: these are the registers of the kernel's interface; the pointers among them are to what lives during the call.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a.cast_signed() => result, in("x1") b, in("x2") c, in("x3") d,
            options(nostack));
    }
    result
}

impl Stack {
    /// One that nobody uses.
    fn take() -> io::Result<Self> {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let stack = match spare {
            Some(stack) => stack,
            None => Stack::map()?,
        };
        stack.error().store(0, Ordering::Release);
        Ok(stack)
    }

    fn map() -> io::Result<Self> {
        let guard = rustix::param::page_size();
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        #[allow(unsafe_code, reason = "no crate wraps the stack of a process")]
        // SAFETY: new memory, where there was none; nobody has its lowest page, which nobody may touch from now on.
        let start = unsafe {
            let start = rustix::mm::mmap_anonymous(ptr::null_mut(), guard + STACK, access, flags)?;
            rustix::mm::mprotect(start, guard, MprotectFlags::empty())?;
            start.byte_add(guard)
        };
        NonNull::new(start).map(Stack).ok_or_else(|| io::Error::other("there is no memory at address 0"))
    }

    fn error(&self) -> &AtomicI32 {
        #[allow(unsafe_code, reason = "the memory has no type")]
        // SAFETY: inside of the mapping, whose end is aligned to pages; nobody uses it as anything else.
        unsafe {
            self.0.byte_add(STACK - ERROR).cast().as_ref()
        }
    }

    /// Where it begins to grow down.
    fn top(&self) -> *mut c_void {
        self.0.as_ptr().wrapping_byte_add(STACK - ERROR)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(Stack(self.0));
    }
}

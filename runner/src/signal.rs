//! The signals that ask a build to stop.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Whether a build listens, and decides itself when to end.
static HEARD: AtomicBool = AtomicBool::new(false);

/// Gives SIGINT, SIGTERM and SIGHUP as their numbers, from now on.
pub fn interrupts() -> io::Result<mpsc::UnboundedReceiver<i32>> {
    let receiver = forwarded()?;
    HEARD.store(true, Ordering::SeqCst);
    Ok(receiver)
}

fn forwarded() -> io::Result<mpsc::UnboundedReceiver<i32>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(kind.as_raw_value()).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Makes the signals end the process, as they do by themselves in any process but a container's first one,
/// until a build asks for its [`interrupts`]. Without this, `docker stop` and Ctrl-C would wait in vain.
pub fn end_first_process() {
    if std::process::id() == 1 {
        end_when_unheard();
    }
}

/// A build listens no more: from now on the signals end the process again.
pub fn release() {
    HEARD.store(false, Ordering::SeqCst);
    if std::process::id() != 1 {
        end_when_unheard();
    }
}

fn end_when_unheard() {
    // Where no thread can be had, nothing else will work either, and will say so.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut interrupts = forwarded()?;
            while let Some(signal) = interrupts.recv().await {
                if !HEARD.load(Ordering::SeqCst) {
                    #[allow(
                        clippy::exit,
                        clippy::disallowed_methods,
                        reason = "this is what the signal asks for"
                    )]
                    std::process::exit(128 + signal);
                }
            }
            Ok::<_, io::Error>(())
        })
    });
}

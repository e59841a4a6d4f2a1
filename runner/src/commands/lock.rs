//! `dcd lock`

use std::path::Path;

use crate::{
    cli::{LockBreakArgs, LockCommand, LockListArgs},
    commands::{
        load, locking,
        output::{print, print_json, warn},
    },
    engine::ports::backend::{Backend, BackendError, Lock, LockPlace, Locks},
    error::{CommandError, Exit},
    lock::{self, LocalLock, LocalPlace},
    owner::Owner,
    plugin::{Host, backend::HistoryPlugin},
    report::{self, KnownLock, KnownPlace, Style},
    text::{harmless_line, rfc3339},
};

pub(super) fn lock(command: LockCommand) -> Result<Exit, CommandError> {
    match command {
        LockCommand::List(args) => list(&args),
        LockCommand::Break(args) => break_lock(&args),
    }
}

fn list(args: &LockListArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let mut locks = if args.local { Vec::new() } else { of_backend(&workspace, &args.file) };
    locks.extend(of_machine(&workspace)?.into_iter().map(known));
    if args.json {
        print_json(&report::lock_document(&locks))?;
    } else if locks.is_empty() {
        print("Nobody holds a lock.\n")?;
    } else {
        print(&report::lock_list(&locks, Style::of(&std::io::stdout())))?;
    }
    Ok(Exit::Success)
}

/// The locks that the pipeline's backend keeps. What is wrong with it keeps nobody from those of this machine.
fn of_backend(workspace: &Path, file: &Path) -> Vec<KnownLock> {
    const ONLY: &str = "only the locks of this machine are looked at";
    if !workspace.join(file).exists() {
        return Vec::new();
    }
    let Ok(loaded) = load::pipeline(workspace, file) else {
        warn(&format!("{} has errors (see `dcd validate`): {ONLY}", file.display()));
        return Vec::new();
    };
    let (host, mut backend) = match load::history(workspace, &loaded) {
        Ok(Some(backend)) => backend,
        Ok(None) => return Vec::new(),
        Err(error) => {
            error.print();
            warn(ONLY);
            return Vec::new();
        }
    };
    match host.block_on(backend.locks()) {
        Ok(locks) => locks.into_iter().map(|lock| KnownLock::kept(backend.name(), lock)).collect(),
        // Then all locks are the machines'.
        Err(error) if error.unsupported => Vec::new(),
        Err(error) => {
            warn(&format!("{ONLY}: {}", error.message));
            Vec::new()
        }
    }
}

fn of_machine(workspace: &Path) -> Result<Vec<LocalLock>, CommandError> {
    let directory = locking::directory(workspace);
    lock::held(&directory, Owner::of(workspace)).map_err(|error| {
        CommandError::environment(format!("the locks in {} cannot be read: {error}", directory.display()))
    })
}

fn known(lock: LocalLock) -> KnownLock {
    let place = |LocalPlace { holder, process, .. }: LocalPlace| KnownPlace {
        who: holder.who,
        build: holder.build,
        since: holder.since,
        expires: None,
        process: Some((process, holder.container)),
    };
    KnownLock { name: lock.name, by: None, queue: lock.queue.into_iter().map(place).collect() }
}

fn break_lock(args: &LockBreakArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let name = &args.name;
    let mut backend = if workspace.join(&args.file).exists() {
        load::history(&workspace, &load::pipeline(&workspace, &args.file)?)?
    } else {
        None
    };
    let mut locks = match &mut backend {
        Some((host, backend)) => match host.block_on(backend.locks()) {
            Err(error) if error.unsupported => Vec::new(),
            locks => locks.map_err(backend_error)?,
        },
        None => Vec::new(),
    };
    let held = locks.iter().position(|lock| lock.name == *name).map(|at| locks.swap_remove(at));
    let (Some(lock), Some((host, backend))) = (held, &mut backend) else {
        let here = of_machine(&workspace)?;
        return Err(match here.iter().find(|lock| lock.name == *name) {
            Some(lock) => not_here(lock),
            None => nobody(name),
        });
    };
    let place = chosen(&lock, args.ticket.as_deref())?;
    if !host.block_on(backend.release(name, &place.ticket)).map_err(backend_error)? {
        return Err(nobody(name));
    }
    let next = next(host, backend, name);
    print(&harmless_line(&broken(name, place, next.as_deref())))?;
    print("\n")?;
    Ok(Exit::Success)
}

/// The place that is to be given up: the holder's, unless a ticket is named.
fn chosen<'a>(lock: &'a Lock, ticket: Option<&str>) -> Result<&'a LockPlace, CommandError> {
    let Some(ticket) = ticket else {
        return lock.queue.first().ok_or_else(|| nobody(&lock.name));
    };
    let fits: Vec<_> = lock.queue.iter().filter(|place| place.ticket.starts_with(ticket)).collect();
    let exact = lock.queue.iter().find(|place| place.ticket == ticket);
    match (exact, fits.as_slice()) {
        (Some(place), _) => Ok(place),
        (None, [place]) => Ok(*place),
        (None, []) => Err(CommandError::usage(
            format!("`{ticket}` is not in the queue for the lock `{}`", lock.name),
            "`dcd lock list` shows who is",
        )),
        (None, _) => Err(CommandError::usage(
            format!("`{ticket}` fits several in the queue for the lock `{}`", lock.name),
            "use more of the id: `dcd lock list` shows them",
        )),
    }
}

/// Who holds the lock now.
fn next(host: &Host, backend: &mut HistoryPlugin, name: &str) -> Option<String> {
    // The lock is broken, whatever becomes of this.
    let locks = host.block_on(backend.locks()).unwrap_or_default();
    let lock = locks.into_iter().find(|lock| lock.name == name)?;
    lock.queue.into_iter().next().map(|place| place.owner)
}

fn broken(name: &str, place: &LockPlace, next: Option<&str>) -> String {
    let LockPlace { owner, .. } = place;
    match (place.held_since, next) {
        (Some(since), Some(next)) => {
            format!("Broke the lock `{name}`, which {owner} held since {}. Next: {next}.", rfc3339(since))
        }
        (Some(since), None) => {
            format!("Broke the lock `{name}`, which {owner} held since {}.", rfc3339(since))
        }
        (None, _) => {
            format!(
                "Took {owner} out of the queue for the lock `{name}`, in it since {}.",
                rfc3339(place.since)
            )
        }
    }
}

fn nobody(name: &str) -> CommandError {
    CommandError::usage(
        format!("nobody holds the lock `{name}`"),
        "`dcd lock list` shows which are held; the names are those of the pipeline's `lock`, with its params",
    )
}

/// A lock of this machine is its processes'.
fn not_here(lock: &LocalLock) -> CommandError {
    let Some(LocalPlace { holder, process, path }) = lock.queue.first() else { return nobody(&lock.name) };
    let since = rfc3339(holder.since);
    let message =
        format!("the lock `{}` is held on this machine, by {} since {since}", lock.name, holder.who);
    let path = path.display();
    let help = match &holder.container {
        Some(container) => {
            let container = container.get(..12).unwrap_or(container);
            format!(
                "it ends with its process, {process} in the container {container}: `docker stop {container}`"
            )
        }
        None => format!("it ends with its process: `kill {process}`"),
    };
    CommandError::usage(
        message,
        format!("{help}; should that be gone, with what it left running: `fuser {path}`"),
    )
}

fn backend_error(error: BackendError) -> CommandError {
    CommandError { help: error.help, ..CommandError::environment(error.message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ticket: &str, held_since: Option<u64>) -> LockPlace {
        let owner = format!("shop {ticket} of ada");
        LockPlace { ticket: ticket.into(), owner, since: 1_800_000_000_000, held_since, expires_at: 9 }
    }

    fn lock() -> Lock {
        let queue = vec![place("01a", Some(1_800_000_001_000)), place("01b", None), place("02", None)];
        Lock { name: "deploy".into(), queue, as_of: 5 }
    }

    #[test]
    fn the_holders_place_is_meant_unless_another_is_named() {
        let lock = lock();
        let chosen = |ticket| chosen(&lock, ticket).map(|place| place.ticket.as_str());
        assert_eq!(chosen(None).unwrap(), "01a");
        assert_eq!(chosen(Some("01b")).unwrap(), "01b");
        assert_eq!(chosen(Some("02")).unwrap(), "02");
        assert_eq!(chosen(Some("0")).unwrap_err().exit, Exit::Usage);
        assert!(chosen(Some("03")).unwrap_err().message.contains("`03` is not in the queue"));
    }

    #[test]
    fn it_is_said_whose_place_it_was() {
        let lock = lock();
        assert_eq!(
            broken("deploy", &lock.queue[0], Some("shop 01b of ada")),
            "Broke the lock `deploy`, which shop 01a of ada held since 2027-01-15T08:00:01.000Z. Next: shop 01b of ada."
        );
        assert_eq!(
            broken("deploy", &lock.queue[1], Some("shop 01a of ada")),
            "Took shop 01b of ada out of the queue for the lock `deploy`, in it since 2027-01-15T08:00:00.000Z."
        );
    }
}

use super::*;
use crate::{
    build::Build,
    chain::Hash,
    engine::ports::backend::{Answer, Filter, ListPage, Listed, Metadata, RecordPage},
    event::{AttemptStarted, Body, BuildFinished, Outcome, Record},
};

/// What goes wrong with the next call.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Nothing.
    None,
    /// It is not done.
    Refused,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It asks for everything again.
    Gap,
}

/// Keeps events in memory, and fails as it is told to: by a list of faults, one a call, then never.
struct Store {
    faults: Vec<Fault>,
    for_ever: Fault,
    /// How often the build was begun, each time with a lease of its own.
    leases: u64,
    events: std::sync::Arc<std::sync::Mutex<(Vec<Record>, Option<End>)>>,
}

impl Store {
    fn answer<T>(&mut self, gap: Option<T>, work: impl FnOnce(&mut Self) -> T) -> Result<T, BackendError> {
        let fault = if self.faults.is_empty() { self.for_ever } else { self.faults.remove(0) };
        let lost = BackendError { message: "lost".into(), help: None, transient: true, unsupported: false };
        match (fault, gap) {
            (Fault::Refused, _) => Err(lost),
            (Fault::AnswerLost, _) => {
                work(self);
                Err(lost)
            }
            (Fault::Gap, Some(gap)) => Ok(gap),
            (Fault::None | Fault::Gap, _) => Ok(work(self)),
        }
    }
}

impl Backend for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn check(&mut self) -> Answer<()> {
        Ok(())
    }

    async fn begin(&mut self, _: &NewBuild) -> Answer<Grant> {
        self.answer(None, |store| {
            store.leases += 1;
            let next_seq = store.events.lock().unwrap().0.len() as u64;
            Grant { number: 1, lease: store.leases.to_string(), next_seq }
        })
    }

    async fn append(&mut self, _: &str, grant: &Grant, new: Vec<Record>) -> Answer<Written> {
        self.answer(Some(Written::Gap(0)), |store| {
            if grant.lease != store.leases.to_string() {
                return Written::Fenced;
            }
            let events = &mut store.events.lock().unwrap().0;
            let tail = events.len() as u64;
            if new[0].seq > tail {
                return Written::Gap(tail);
            }
            events.extend(new.into_iter().filter(|event| event.seq >= tail));
            Written::Stored(events.len() as u64)
        })
    }

    async fn finish(&mut self, _: &str, grant: &Grant, end: &End) -> Answer<Written> {
        self.answer(Some(Written::Gap(0)), |store| {
            if grant.lease != store.leases.to_string() {
                return Written::Fenced;
            }
            store.events.lock().unwrap().1 = Some(end.clone());
            Written::Stored(end.events)
        })
    }

    async fn renew(&mut self, _: &str, grant: &Grant, _: u32) -> Answer<bool> {
        Ok(grant.lease == self.leases.to_string())
    }

    async fn get(&mut self, _: &str, _: u64) -> Answer<Option<Listed>> {
        Ok(None)
    }

    async fn list(&mut self, _: &Filter, _: usize, _: Option<String>) -> Answer<ListPage> {
        Ok(ListPage::default())
    }

    async fn read(&mut self, _: &str, _: u64, _: Option<&str>, _: u64) -> Answer<RecordPage> {
        Ok(RecordPage::default())
    }

    async fn prune(&mut self, _: &str, _: u64) -> Answer<u64> {
        Ok(0)
    }
}

struct Events(Vec<Record>, Build);

impl Tail for Events {
    /// Two at a time, so that a build takes several appends.
    fn read(&mut self, from: u64, end: u64, _: usize) -> std::io::Result<Vec<Record>> {
        let wanted = self.0.iter().filter(|event| (from..end).contains(&event.seq));
        Ok(wanted.take(2).cloned().collect())
    }

    fn build(&mut self, end: u64) -> std::io::Result<(&Build, Hash)> {
        self.1 = Build::default();
        for event in self.0.iter().filter(|event| event.seq < end) {
            self.1.apply(&event.clone().into_event());
        }
        Ok((&self.1, Hash([1; 32])))
    }
}

/// Uploads a build of six events; gives the result, what is stored, and the end that was told.
fn upload(faults: &[Fault], for_ever: Fault) -> (Result<u64, UploadError>, usize, Option<u64>) {
    upload_rest(0, faults, for_ever)
}

/// The same where so many events are stored already, by a runner that is gone.
fn upload_rest(
    stored: usize,
    faults: &[Fault],
    for_ever: Fault,
) -> (Result<u64, UploadError>, usize, Option<u64>) {
    let body = |seq| match seq {
        5 => Body::BuildFinished(BuildFinished {
            outcome: Outcome::Success,
            duration_ms: 1,
            reason: None,
            signal: None,
        }),
        _ => Body::AttemptStarted(AttemptStarted { attempt: 1 }),
    };
    let record = |seq| {
        let body = body(seq);
        let (kind, payload) = (body.kind().to_owned(), body.payload());
        Record { seq, at: 1, kind, step: None, payload, hash: Hash::default() }
    };
    let events: Vec<_> = (0..6).map(record).collect();
    let kept = (events[..stored].to_vec(), None);
    let kept = std::sync::Arc::new(std::sync::Mutex::new(kept));
    let events_kept = std::sync::Arc::clone(&kept);
    let store = Store { faults: faults.to_vec(), for_ever, leases: 0, events: events_kept };
    let build = NewBuild {
        component: "shop".into(),
        id: "id".into(),
        started_at: 1,
        lease_ms: 1000,
        metadata: Metadata::default(),
    };
    let (_progress, receiver) = watch::channel(Progress { synced: 6, closed: true });
    let (begun, _) = mpsc::unbounded_channel();
    let mut uploader = Uploader::new(store, Events(events, Build::default()), build, receiver);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let result = runtime.block_on(uploader.run(begun));
    let (events, end) = &*kept.lock().unwrap();
    assert!(events.iter().enumerate().all(|(place, event)| event.seq == place as u64), "in order, each once");
    assert!(end.as_ref().is_none_or(|end| end.brief.hash.starts_with("0101")), "the end says its hash");
    (result, events.len(), end.as_ref().map(|end| end.events))
}

#[test]
fn whatever_is_lost_on_the_way_the_whole_build_arrives() {
    use Fault::{AnswerLost, Gap, None, Refused};
    let courses: [&[Fault]; 8] = [
        &[],
        // What it has is asked for, which ends the lease, and the answer is lost.
        &[None, None, Refused, AnswerLost],
        // The last append fails, and so does asking how far it got.
        &[None, None, None, Refused, Refused],
        &[None, None, None, AnswerLost, Refused],
        &[None, Refused, Refused],
        &[None, AnswerLost, None, AnswerLost],
        &[None, None, Gap],
        &[None, None, None, None, AnswerLost],
    ];
    for (number, faults) in courses.into_iter().enumerate() {
        let (result, stored, end) = upload(faults, None);
        assert_eq!((result.ok(), stored, end), (Some(1), 6, Some(6)), "course {number}");
    }
}

#[test]
fn a_runner_that_was_killed_in_between_is_made_up_for() {
    for stored in 0..=6 {
        let (result, events, end) = upload_rest(stored, &[], Fault::None);
        assert_eq!((result.ok(), events, end), (Some(1), 6, Some(6)), "{stored} were stored");
    }
}

#[test]
fn a_backend_that_keeps_nothing_is_given_up() {
    let (result, _, end) = upload(&[Fault::None], Fault::Gap);
    assert_eq!(result.unwrap_err().to_string(), "plugin store takes events and keeps none");
    assert_eq!(end, None);
}

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, mpsc as blocking},
};

use bytes::Bytes;

use super::*;
use crate::{
    chain::Hash,
    engine::message::{StepEnd, StepStatus},
    event::{Outcome, PluginUsed, Problem, StepFinished, StepShell, StepTests},
    pipeline::Retry,
};

/// What happened, in its order, as lines.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn place(&self, line: &str) -> usize {
        let notes = self.0.lock().unwrap();
        notes.iter().position(|note| note == line).unwrap_or_else(|| panic!("no {line:?} in {notes:#?}"))
    }
}

struct Kept {
    notes: Notes,
    seq: u64,
}

impl Log for Kept {
    type Error = Infallible;

    fn append(&mut self, events: Vec<(Option<StepName>, Body)>) -> Result<Vec<Event>, Infallible> {
        let keep = |(step, body): (Option<StepName>, Body)| {
            self.notes.add(format!("keep {} {}", step.as_deref().unwrap_or("-"), body.kind()));
            self.seq += 1;
            Event { seq: self.seq - 1, at: 0, step, body, hash: Hash::default() }
        };
        Ok(events.into_iter().map(keep).collect())
    }
}

struct Shows(Notes);

impl Sink for Shows {
    fn event(&mut self, event: &Event) {
        self.0.add(format!("show {} {}", event.step.as_deref().unwrap_or("-"), event.body.kind()));
    }
}

/// Shows nothing before it is told to.
struct Stands(blocking::Receiver<()>);

impl Sink for Stands {
    fn event(&mut self, event: &Event) {
        if matches!(event.body, Body::StepShell(_)) {
            self.0.recv().unwrap();
        }
    }
}

type Act = Box<dyn FnOnce(mpsc::Sender<StepMessage>, mpsc::UnboundedReceiver<Stop>) + Send>;

/// Steps that do what the test says.
struct Acts {
    notes: Notes,
    acts: BTreeMap<StepIndex, Act>,
}

impl Steps for Acts {
    fn decide(&mut self, step: StepIndex, _statuses: &[StepStatus]) -> Result<Option<String>, Problem> {
        self.notes.add(format!("decide {step}"));
        Ok(None)
    }

    fn tested(&mut self, step: StepIndex, tests: &StepTests) {
        self.notes.add(format!("tested {step} {}", tests.cases.len()));
    }

    fn finished(&mut self, step: StepIndex, result: &StepFinished) {
        self.notes.add(format!("finished {step} {}", result.outcome));
    }

    fn start(&mut self, step: StepIndex, _: u32, messages: mpsc::Sender<StepMessage>) -> StepControl {
        self.notes.add(format!("start {step}"));
        let (sender, control) = mpsc::unbounded_channel();
        self.acts.remove(&step).unwrap()(messages, control);
        sender
    }

    fn used(&self) -> Vec<PluginUsed> {
        vec![PluginUsed { plugin: "backend".into(), ..PluginUsed::default() }]
    }
}

fn spec(name: &str, needs: &[StepIndex]) -> StepSpec {
    StepSpec {
        name: name.into(),
        needs: needs.to_vec(),
        conditions: Vec::new(),
        timeout: None,
        retry: Retry::default(),
        continue_on_error: false,
        left_out: None,
    }
}

fn end(outcome: Outcome) -> StepContent {
    StepContent::Finished(Box::new(StepEnd::new(outcome)))
}

fn ends(step: StepIndex, outcome: Outcome) -> Act {
    Box::new(move |messages, _| {
        tokio::spawn(async move { messages.send(StepMessage { step, content: end(outcome) }).await });
    })
}

async fn run(
    notes: &Notes,
    specs: Vec<StepSpec>,
    acts: Vec<Act>,
    interrupts: mpsc::UnboundedReceiver<i32>,
    more: Vec<Box<dyn Sink>>,
) -> BuildEnd {
    let (_late, late) = mpsc::unbounded_channel();
    run_with(notes, specs, acts, (interrupts, late), more).await
}

async fn run_with(
    notes: &Notes,
    specs: Vec<StepSpec>,
    acts: Vec<Act>,
    (interrupts, late): (mpsc::UnboundedReceiver<i32>, mpsc::UnboundedReceiver<Late>),
    more: Vec<Box<dyn Sink>>,
) -> BuildEnd {
    let steps = Acts { notes: notes.clone(), acts: acts.into_iter().enumerate().collect() };
    let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(Shows(notes.clone()))];
    sinks.extend(more);
    let log = Kept { notes: notes.clone(), seq: 0 };
    let dispatcher = Dispatcher::new(log, steps, Redactor::default(), sinks).unwrap();
    let options = Options { jobs: 2, fail_fast: false, timeout: None };
    dispatcher.run(specs, options, Vec::new(), interrupts, late).await.unwrap().0
}

#[tokio::test]
async fn an_end_is_handed_on_before_anything_builds_on_it() {
    let notes = Notes::default();
    let (_keep, interrupts) = mpsc::unbounded_channel();
    let asks = StepSpec { conditions: vec![None], ..spec("b", &[0]) };
    let acts = vec![ends(0, Outcome::Success), ends(1, Outcome::Failure)];
    let ended = run(&notes, vec![spec("a", &[]), asks], acts, interrupts, Vec::new()).await;
    assert_eq!(ended, BuildEnd { outcome: Outcome::Failure, signal: None });
    let kept: Vec<_> =
        notes.0.lock().unwrap().iter().filter(|note| !note.starts_with("show")).cloned().collect();
    assert_eq!(
        kept,
        [
            "keep a attempt.started",
            "start 0",
            "finished 0 success",
            "decide 1",
            "keep a attempt.finished",
            "keep a step.finished",
            "keep b attempt.started",
            "start 1",
            "finished 1 failure",
            "keep b attempt.finished",
            "keep b step.finished",
            "keep - plugin.used",
            "keep - build.finished",
        ]
    );
    assert!(notes.place("keep b step.finished") < notes.place("show b step.finished"));
}

#[tokio::test]
async fn a_shell_waits_until_all_sinks_are_out_of_its_way() {
    let notes = Notes::default();
    let (_keep, interrupts) = mpsc::unbounded_channel();
    let (go, gate) = blocking::channel();
    let noted = notes.clone();
    let opens: Act = Box::new(move |messages, _| {
        tokio::spawn(async move {
            let (shown, mut is_shown) = oneshot::channel();
            let event = StepShell { directory: "/".into(), duration_ms: None };
            let _ =
                messages.send(StepMessage { step: 0, content: StepContent::Shell { event, shown } }).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(is_shown.try_recv().is_err(), "a sink holds the event still");
            go.send(()).unwrap();
            is_shown.await.unwrap();
            noted.add("the shell opens");
            let _ = messages.send(StepMessage { step: 0, content: end(Outcome::Success) }).await;
        });
    });
    let ended =
        run(&notes, vec![spec("a", &[])], vec![opens], interrupts, vec![Box::new(Stands(gate))]).await;
    assert_eq!(ended.outcome, Outcome::Success);
    assert!(notes.place("show a step.shell") < notes.place("the shell opens"));
}

/// Prints until it is stopped.
fn floods(step: StepIndex) -> Act {
    Box::new(move |messages, mut control| {
        let content = || StepContent::Output(Bytes::from_static(b"and on\n"));
        tokio::spawn(async move {
            while control.try_recv().is_err() {
                let _ = messages.send(StepMessage { step, content: content() }).await;
            }
            let _ = messages.send(StepMessage { step, content: end(Outcome::Failure) }).await;
        });
    })
}

#[tokio::test]
async fn a_step_that_floods_keeps_neither_others_nor_a_signal_waiting() {
    let notes = Notes::default();
    let (interrupt, interrupts) = mpsc::unbounded_channel();
    let interrupts_then_ends: Act = Box::new(move |messages, mut control| {
        tokio::spawn(async move {
            interrupt.send(2).unwrap();
            assert_eq!(control.recv().await, Some(Stop::Grace));
            let _ = messages.send(StepMessage { step: 2, content: end(Outcome::Success) }).await;
        });
    });
    let specs = vec![spec("flood", &[]), spec("a", &[]), spec("b", &[1])];
    let acts = vec![floods(0), ends(1, Outcome::Success), interrupts_then_ends];
    let ended = run(&notes, specs, acts, interrupts, Vec::new()).await;
    assert_eq!(ended, BuildEnd { outcome: Outcome::Cancellation, signal: Some(2) });
    assert!(notes.place("finished 1 success") < notes.place("finished 0 cancellation"));
    notes.place("finished 2 cancellation");
}

#[tokio::test]
async fn a_lock_that_is_lost_stops_a_step_that_floods() {
    let notes = Notes::default();
    let (_keep, interrupts) = mpsc::unbounded_channel();
    let (sender, late) = mpsc::unbounded_channel();
    let loses: Act = Box::new(move |messages, mut control| {
        tokio::spawn(async move {
            sender.send(Late::Cancel("the lock is lost".into())).unwrap();
            assert_eq!(control.recv().await, Some(Stop::Grace));
            let _ = messages.send(StepMessage { step: 1, content: end(Outcome::Success) }).await;
        });
    });
    let specs = vec![spec("flood", &[]), spec("a", &[]), spec("b", &[1])];
    let ended = run_with(&notes, specs, vec![floods(0), loses], (interrupts, late), Vec::new()).await;
    assert_eq!(ended, BuildEnd { outcome: Outcome::Error, signal: None });
    assert!(notes.place("keep - build.cancelling") < notes.place("finished 0 cancellation"));
    notes.place("finished 2 skip");
}

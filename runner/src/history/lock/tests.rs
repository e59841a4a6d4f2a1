use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use super::*;

const LONG: Duration = Duration::from_mins(5);
/// Nothing waits, and nothing runs out.
const QUICK: Pace = Pace {
    ttl: LONG,
    look: Duration::from_millis(1),
    renew: Duration::from_millis(1),
    again: Duration::from_millis(1),
    patience: LONG,
};

fn place(ticket: &str) -> LockPlace {
    LockPlace {
        ticket: ticket.into(),
        owner: format!("build {ticket}"),
        since: 5,
        held_since: None,
        expires_at: 9,
    }
}

fn queue(tickets: &[&str]) -> Lock {
    Lock { name: "deploy".into(), queue: tickets.iter().copied().map(place).collect(), as_of: 7 }
}

fn away(message: &str) -> BackendError {
    BackendError { message: message.into(), help: None, transient: true, unsupported: false }
}

#[test]
fn who_is_first_holds_the_lock() {
    let lock = queue(&["a", "b", "c"]);
    assert_eq!(Standing::of("a", &lock), Standing::Holds);
    assert_eq!(Standing::of("b", &lock), Standing::Waits { holder: &place("a"), ahead: 1 });
    assert_eq!(Standing::of("c", &lock), Standing::Waits { holder: &place("a"), ahead: 2 });
    assert_eq!(Standing::of("d", &lock), Standing::Gone);
    assert_eq!(Standing::of("d", &queue(&[])), Standing::Gone);
}

#[test]
fn a_lock_is_lost_when_the_queue_says_so() {
    let lock = queue(&["a", "b"]);
    let why = |ticket, seconds| lost(&Standing::of(ticket, &lock), Duration::from_secs(seconds), LOCK_TTL);
    assert_eq!(why("a", 99), None);
    assert_eq!(why("b", 15).unwrap(), "build a holds it now");
    assert_eq!(why("c", 15).unwrap(), "somebody broke it (`dcd lock break`)");
    assert_eq!(why("c", 50).unwrap(), "it was not renewed for 50.0s, and ran out");
}

#[test]
fn only_another_holder_is_news_to_who_waits() {
    let waiting =
        |ticket, since, ahead| LockNews::Waiting { holder: LockPlace { since, ..place(ticket) }, ahead };
    let unanswered = |why: &str| LockNews::Unanswered(why.into());
    assert!(is_new(None, &waiting("a", 1, 2)));
    assert!(!is_new(Some(&waiting("a", 1, 2)), &waiting("a", 1, 1)));
    assert!(is_new(Some(&waiting("a", 1, 2)), &waiting("b", 1, 1)));
    assert!(is_new(Some(&waiting("a", 1, 2)), &unanswered("x")));
    assert!(!is_new(Some(&unanswered("x")), &unanswered("y")));
    assert!(is_new(Some(&unanswered("x")), &waiting("a", 1, 2)));
}

/// Answers what it is told to, one a call, and the last of it for ever.
struct Script {
    answers: VecDeque<Answer<Option<Lock>>>,
    /// The first letters of the calls: acquire, renew, give back.
    calls: Arc<Mutex<String>>,
}

impl Script {
    fn answer(&mut self, call: char, name: &str, ticket: &str) -> Answer<Option<Lock>> {
        assert_eq!((name, ticket), ("deploy", "b"));
        self.calls.lock().unwrap().push(call);
        if self.answers.len() > 1 { self.answers.pop_front().unwrap() } else { self.answers[0].clone() }
    }
}

impl Locks for Script {
    async fn acquire(&mut self, name: &str, ticket: &str, owner: &str, _: u32) -> Answer<Lock> {
        assert_eq!(owner, "build b");
        self.answer('a', name, ticket).map(Option::unwrap)
    }

    async fn renew_lock(&mut self, name: &str, ticket: &str, _: u32) -> Answer<Option<Lock>> {
        self.answer('r', name, ticket)
    }

    async fn release(&mut self, name: &str, ticket: &str) -> Answer<bool> {
        assert_eq!((name, ticket), ("deploy", "b"));
        self.calls.lock().unwrap().push('g');
        Ok(true)
    }

    async fn locks(&mut self) -> Answer<Vec<Lock>> {
        Ok(Vec::new())
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as a backend answers")]
fn is_at(tickets: &[&str]) -> Answer<Option<Lock>> {
    Ok(Some(queue(tickets)))
}

/// Keeps a lock until this news comes; gives all news, and the calls.
fn keep(
    pace: Pace,
    answers: impl IntoIterator<Item = Answer<Option<Lock>>>,
    until: fn(&LockNews) -> bool,
) -> (Vec<LockNews>, String) {
    let calls = Arc::default();
    let script = Script { answers: answers.into_iter().collect(), calls: Arc::clone(&calls) };
    let wanted = WantedLock {
        name: "deploy".into(),
        ticket: "b".into(),
        owner: "build b".into(),
        stopping: Duration::ZERO,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let all = runtime.block_on(async {
        let (sender, mut news) = mpsc::unbounded_channel();
        let (over, is_over) = watch::channel(false);
        let mut keeper = LockKeeper::new("store".into(), script, wanted, sender, is_over);
        keeper.pace = pace;
        let keeping = tokio::spawn(keeper.run());
        let mut all = Vec::new();
        while let Some(one) = news.recv().await {
            all.push(one);
            if until(all.last().unwrap()) {
                break;
            }
        }
        over.send_replace(true);
        keeping.await.unwrap().unwrap();
        all
    });
    let calls = calls.lock().unwrap().clone();
    (all, calls)
}

fn is_refused(news: &LockNews) -> bool {
    matches!(news, LockNews::Refused(_))
}

fn is_lost(news: &LockNews) -> bool {
    matches!(news, LockNews::Lost(_))
}

#[test]
fn a_build_waits_for_its_turn_and_leaves_when_it_is_over() {
    let answers = [
        Err(away("down")),
        is_at(&["x", "a", "b"]),
        is_at(&["x", "a", "b"]),
        Err(away("down")),
        Err(away("still down")),
        is_at(&["a", "b"]),
        is_at(&["b", "c"]),
    ];
    let (news, calls) = keep(QUICK, answers, |news| *news == LockNews::Held);
    assert_eq!(
        news,
        [
            LockNews::Unanswered("down".into()),
            LockNews::Waiting { holder: place("x"), ahead: 2 },
            LockNews::Unanswered("down".into()),
            LockNews::Waiting { holder: place("a"), ahead: 1 },
            LockNews::Held,
        ]
    );
    assert!(calls.starts_with("aarrrrr") && calls.ends_with('g'), "{calls}");
    // Who gives up waiting leaves, too.
    let (_, calls) = keep(QUICK, [is_at(&["a", "b"])], |news| matches!(news, LockNews::Waiting { .. }));
    assert!(calls.ends_with('g'), "{calls}");
}

#[test]
fn who_is_taken_out_of_the_queue_stays_out_and_who_slept_asks_anew() {
    let (news, calls) = keep(QUICK, [is_at(&["a", "b"]), Ok(None)], is_refused);
    let why = broken("somebody took this build out of the queue (`dcd lock break`)".into());
    assert_eq!(news[1..], [LockNews::Refused(why)]);
    assert_eq!(calls, "arg");

    let asleep = Pace { ttl: Duration::ZERO, ..QUICK };
    let (news, calls) =
        keep(asleep, [is_at(&["a", "b"]), Ok(None), is_at(&["b"])], |news| *news == LockNews::Held);
    assert_eq!(news[1..], [LockNews::Held]);
    assert!(calls.starts_with("ara"), "{calls}");
}

#[test]
fn errors_are_borne_while_the_place_is_safe() {
    let held = || is_at(&["b"]);
    let down = || Err(away("down"));
    let (news, calls) = keep(QUICK, [held(), held(), down(), down(), held(), Ok(None)], is_lost);
    let why = "the lock `deploy` is lost: somebody broke it (`dcd lock break`)";
    assert_eq!(news, [LockNews::Held, LockNews::Lost(why.into())]);
    assert_eq!(calls, "arrrrrg");

    let pace = Pace { ttl: Duration::from_millis(50), ..QUICK };
    let (news, _) = keep(pace, [held(), down()], is_lost);
    let [LockNews::Held, LockNews::Lost(why)] = news.as_slice() else { panic!("{news:?}") };
    assert!(why.contains("history backend store has not renewed it for") && why.ends_with(": down"), "{why}");
}

#[test]
fn what_will_not_come_is_refused_before_anything_runs() {
    let pace = Pace { patience: Duration::from_millis(50), ..QUICK };
    let (news, calls) = keep(pace, [Err(away("down"))], is_refused);
    assert_eq!(news, [LockNews::Unanswered("down".into()), LockNews::Refused(away("down"))]);
    assert!(calls.ends_with("ag"), "the answer may have been lost on its way: {calls}");

    let denied = BackendError { transient: false, ..away("denied") };
    let (news, _) = keep(QUICK, [Err(denied.clone())], is_refused);
    assert_eq!(news, [LockNews::Refused(denied)]);

    let none = BackendError { transient: false, unsupported: true, ..away("no locks") };
    let (news, calls) = keep(QUICK, [Err(none.clone())], is_refused);
    assert_eq!((news, calls.as_str()), (vec![LockNews::Refused(none)], "a"));

    let (news, _) = keep(QUICK, [is_at(&["a"])], is_refused);
    assert_eq!(news, [LockNews::Refused(broken("plugin store gives no place in the queue".into()))]);
}

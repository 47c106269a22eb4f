//! Moments of answers: where they lie in their window, and what is in an answer at its moment.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tributary_proto::v1::AnswerWindow;

use super::*;
use crate::agent::environment::Environment;
use crate::agent::options::{AgentOptions, SessionMode};
use crate::state::hardware::Hardware;
use crate::state::identity::{Identity, Token};
use crate::training::data::{DataError, DataForm, Examples, LocalData, Purpose};

const WINDOW: AnswerWindow = AnswerWindow {
    from_ms: 200,
    until_ms: 400,
};
/// Drawn moments.
const DRAWN: usize = 20_000;
/// Probability of a false alarm of one comparison; there are four.
const ALARM: f64 = 2e-7;

struct NoData;

impl LocalData for NoData {
    fn form(&self, task: &str) -> Result<DataForm, DataError> {
        let task = task.to_owned();
        Err(DataError::UnknownTask { task })
    }

    fn examples(&self, task: &str, _: &Purpose) -> Result<Examples, DataError> {
        let task = task.to_owned();
        Err(DataError::UnknownTask { task })
    }
}

/// The state of a device that is not simulated, with randomness from the operating system.
fn core() -> Arc<Core> {
    let connections = crate::Connections::new("http://127.0.0.1:1", 1).unwrap();
    let options = AgentOptions {
        identity: Identity {
            device_id: "d-1".parse().unwrap(),
            token: Token::from_bytes([1; 32]),
            region: "eu".parse().unwrap(),
            profile: Hardware::int8("watch", "cortex-m4", 1 << 20, 1 << 20),
            tasks: vec!["watch".to_owned()],
        },
        data: Arc::new(NoData),
        slots: Box::new(crate::MemorySlots::default()),
        memory: Arc::new(crate::VolatileMemory::default()),
        record: Arc::new(crate::VolatileRecord::default()),
        tickets: Arc::new(crate::VolatileTickets::default()),
        simulated: false,
        conduct: Arc::new(crate::NoHooks),
        mode: SessionMode::Stream,
        jitter_seed: None,
        number: 0,
    };
    let environment = Arc::new(Environment::new(connections, 1));
    Arc::new(Core::open(options, environment).unwrap())
}

fn drawn(core: &Core, window: AnswerWindow) -> Duration {
    match core.draw_moment(Some(window), &[]) {
        Moment::After(wait) => wait,
        Moment::AsTrained => panic!("a moment is drawn"),
    }
}

#[tokio::test]
async fn invariant_11_moments_are_uniform_in_their_window_up_to_both_of_its_ends() {
    let core = core();
    let place = |wait: Duration| {
        let from = Duration::from_millis(WINDOW.from_ms);
        let width = Duration::from_millis(WINDOW.until_ms) - from;
        assert!(wait >= from && wait <= from + width, "{wait:?}");
        (wait - from).as_secs_f64() / width.as_secs_f64()
    };
    let mut places: Vec<f64> = (0..DRAWN).map(|_| place(drawn(&core, WINDOW))).collect();
    places.sort_by(f64::total_cmp);
    let n = DRAWN as f64;
    // the largest distance to the uniform distribution: above this with less than ALARM (Massart's bound)
    let most = ((2.0 / ALARM).ln() / (2.0 * n)).sqrt();
    for (index, place) in places.iter().enumerate() {
        let below = (index as f64 / n - place).abs();
        let above = ((index + 1) as f64 / n - place).abs();
        assert!(
            below.max(above) < most,
            "{place} is number {index} of {DRAWN}"
        );
    }
    // the least and the greatest: an end of this width stays empty with less than ALARM, and moments are
    // whole microseconds
    let end = -ALARM.ln() / n + 1e-5;
    assert!(
        places[0] < end && places[DRAWN - 1] > 1.0 - end,
        "{places:?}"
    );
    // one after the other are independent of each other as well: no pair is missing
    let halves: Vec<bool> = (0..DRAWN)
        .map(|_| place(drawn(&core, WINDOW)) < 0.5)
        .collect();
    let pairs = halves.chunks_exact(2).filter(|pair| pair[0] == pair[1]);
    let (equal, of) = (pairs.count() as f64, (DRAWN / 2) as f64);
    let spread = ((2.0 / ALARM).ln() / (2.0 * of)).sqrt();
    assert!((equal / of - 0.5).abs() < spread, "{equal} of {of}");
}

#[tokio::test]
async fn invariant_11_what_is_not_trained_at_its_moment_is_not_in_the_answer_and_nothing_is_earlier()
 {
    let core = core();
    let short = AnswerWindow {
        from_ms: 20,
        until_ms: 40,
    };
    for _ in 0..8 {
        let wait = drawn(&core, short);
        let due = tokio::time::Instant::now() + wait;
        // trained at once
        let at_once = core.in_time(Moment::After(wait), |_| async { 7 }).await;
        assert_eq!(at_once, Some(7));
        assert!(tokio::time::Instant::now() >= due, "sent before its moment");

        // trained only when the answer is gone: the call would never return if it waited for it
        let (mut finish, finished) = oneshot::channel::<()>();
        let due = tokio::time::Instant::now() + wait;
        let slot = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&slot);
        let late = core.in_time(Moment::After(wait), move |slot| {
            *seen.lock().unwrap() = Some(slot);
            async move { finished.await.is_ok() }
        });
        assert_eq!(late.await, None);
        assert!(tokio::time::Instant::now() >= due, "sent before its moment");
        let slot = slot.lock().unwrap().take().unwrap();
        assert!(slot.is_over(), "whatever goes on is for nothing");
        // nobody trains any more
        finish.closed().await;
    }
}

#[tokio::test]
async fn invariant_11_a_training_that_panics_is_answered_at_its_moment_too() {
    let core = core();
    let wait = Duration::from_millis(20);
    let due = tokio::time::Instant::now() + wait;
    let answered = core
        .in_time(Moment::After(wait), |_| async {
            assert!(std::hint::black_box(false), "a test's training panics");
        })
        .await;
    assert_eq!(answered, None);
    assert!(tokio::time::Instant::now() >= due, "sent before its moment");
}

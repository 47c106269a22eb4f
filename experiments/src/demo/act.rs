//! The demo's course: training, drift, retraining, builds. Everything goes over the wire.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tributary_model::quant::Int8Model;
use tributary_proto::v1::{self, DriftWindow, GetPrivacyResponse};

use super::cast::Judges;
use super::config::{DRIFTING, INJECTED_WINDOW, MISSED_AFTER, SEEDED_WINDOWS, WINDOWS_AFTER};
use crate::runner::{Operator, Progress, RunResult, RunnerError, WindowNews, follow_run};

/// How often the monitor is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// Longest wait for the next window, or for a region's builds to be installed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Verdict words of the monitor.
const DRIFT: &str = "drift";
const MITIGATING: &str = "mitigating";

/// Everything that was seen.
pub(super) struct Story {
    pub(super) training: RunResult,
    /// Accuracy of the trained model where the arm has changed.
    pub(super) drifted: f64,
    pub(super) watch: Watched,
    pub(super) builds: Vec<BuildResult>,
    pub(super) privacy: GetPrivacyResponse,
}

/// What the monitor saw and did.
pub(super) struct Watched {
    /// The windows up to the last one that was waited for.
    pub(super) windows: Vec<DriftWindow>,
    pub(super) retraining: RunResult,
}

/// A build and what its bytes score.
pub(super) struct BuildResult {
    pub(super) build: v1::Build,
    pub(super) accuracy: f64,
}

impl Watched {
    /// First window of the drifting region, from the injection on, with a verdict of drift.
    pub(super) fn detected_window(&self) -> Option<u64> {
        self.windows
            .iter()
            .find(|window| is_detection(window))
            .map(|window| window.window)
    }

    /// Verdicts of drift in other regions, or before there was any.
    pub(super) fn false_alarms(&self) -> u64 {
        let alarms = self.windows.iter().filter(|window| window.verdict == DRIFT);
        alarms.filter(|window| !is_detection(window)).count() as u64
    }
}

fn is_detection(window: &DriftWindow) -> bool {
    window.verdict == DRIFT && window.region == DRIFTING && window.window >= INJECTED_WINDOW
}

/// Plays the whole story.
///
/// # Errors
/// [`RunnerError`] when a run ends early, or drift, retraining or builds do not come.
pub(super) async fn play(
    operator: &mut Operator,
    recipe: String,
    judges: &Judges,
    seeded: bool,
    progress: &dyn Progress,
) -> Result<Story, RunnerError> {
    progress.stage("training in three regions");
    let run_id = operator.start_run(recipe).await?;
    let training = Box::pin(follow_run(operator, &run_id, &judges.right, progress)).await?;
    let trained = operator.model_file(&training.run.model_digest).await?;
    let drifted = judges.left.score(&trained)?.overall;

    progress.stage("watching the regions");
    let watch = Box::pin(watch(operator, &run_id, judges, seeded, progress)).await?;
    let builds = judge_builds(operator, &watch.retraining.run.model_digest, judges).await?;
    let privacy = operator.privacy().await?;
    Ok(Story {
        training,
        drifted,
        watch,
        builds,
        privacy,
    })
}

async fn watch(
    operator: &mut Operator,
    run_id: &str,
    judges: &Judges,
    seeded: bool,
    progress: &dyn Progress,
) -> Result<Watched, RunnerError> {
    let mut retraining = None;
    let mut windows: Vec<DriftWindow> = Vec::new();
    let mut last_news = Instant::now();
    loop {
        let monitor = operator.monitor(run_id).await?.unwrap_or_default();
        for window in monitor.windows.iter().skip(windows.len()) {
            progress.window(&news(window));
            windows.push(window.clone());
            last_news = Instant::now();
        }
        let west = monitor
            .regions
            .into_iter()
            .find(|region| region.region == DRIFTING);
        let west = west.unwrap_or_default();
        match retraining.take() {
            None if !west.mitigation_run_id.is_empty() => {
                progress.stage("retraining west");
                let (run, judge) = (&west.mitigation_run_id, &judges.left);
                retraining = Some(follow_run(operator, run, judge, progress).await?);
                progress.stage("building for the devices of west");
                last_news = Instant::now();
            }
            None => give_up_when_missed(&windows)?,
            Some(retraining) if west.verdict != MITIGATING && is_over(&windows, seeded) => {
                return Ok(Watched {
                    windows: cut(windows, seeded),
                    retraining,
                });
            }
            not_yet => retraining = not_yet,
        }
        if last_news.elapsed() > PATIENCE {
            return Err(RunnerError::Late {
                what: "the next window of the monitor".to_owned(),
                seconds: PATIENCE.as_secs(),
                state: format!("{DRIFTING} is at verdict {:?}", west.verdict),
            });
        }
        sleep(EVERY).await;
    }
}

fn news(window: &DriftWindow) -> WindowNews {
    let share = |statistic: f64, threshold: f64| {
        if threshold > 0.0 {
            statistic / threshold
        } else {
            0.0
        }
    };
    let shares = window.streams.iter().map(|stream| {
        let ewma = share(stream.ewma, stream.ewma_threshold);
        share(stream.statistic, stream.threshold).max(ewma)
    });
    WindowNews {
        window: window.window,
        region: window.region.clone(),
        verdict: window.verdict.clone(),
        share_of_threshold: shares.fold(0.0, f64::max),
        playbook: window.playbook.clone(),
    }
}

fn give_up_when_missed(windows: &[DriftWindow]) -> Result<(), RunnerError> {
    let last = windows.last().map_or(0, |window| window.window);
    if last <= INJECTED_WINDOW + MISSED_AFTER {
        return Ok(());
    }
    let here = windows.iter().filter(|window| window.region == DRIFTING);
    let verdicts: Vec<&str> = here.map(|window| window.verdict.as_str()).collect();
    Err(RunnerError::Answer {
        call: "GetDrift",
        problem: format!(
            "shows no playbook for the drift of {DRIFTING} in window {INJECTED_WINDOW}; its \
             verdicts are {}",
            verdicts.join(", ")
        ),
    })
}

/// Windows of the drifting region after the one that started the playbook.
fn after_playbook(windows: &[DriftWindow]) -> impl Iterator<Item = &DriftWindow> {
    let begun = windows
        .iter()
        .find(|window| is_detection(window) && !window.playbook.is_empty());
    let begun = begun.map_or(u64::MAX, |window| window.window);
    windows
        .iter()
        .filter(move |window| window.region == DRIFTING && window.window > begun)
}

/// Whether all windows that are waited for are there. A seeded run waits for a fixed number, so
/// that what it reports does not depend on the machine's speed.
fn is_over(windows: &[DriftWindow], seeded: bool) -> bool {
    let enough = after_playbook(windows).count() >= WINDOWS_AFTER;
    if !seeded {
        return enough;
    }
    windows
        .iter()
        .any(|window| window.region == DRIFTING && window.window >= SEEDED_WINDOWS)
}

/// The windows up to the last one that was waited for.
fn cut(mut windows: Vec<DriftWindow>, seeded: bool) -> Vec<DriftWindow> {
    let last = after_playbook(&windows)
        .nth(WINDOWS_AFTER - 1)
        .map(|window| window.window);
    let last = if seeded {
        SEEDED_WINDOWS
    } else {
        last.unwrap_or(u64::MAX)
    };
    windows.retain(|window| window.window <= last);
    windows
}

async fn judge_builds(
    operator: &mut Operator,
    model_digest: &str,
    judges: &Judges,
) -> Result<Vec<BuildResult>, RunnerError> {
    let mut results = Vec::new();
    for build in operator.model(model_digest).await?.builds {
        let bytes = operator.download(&build.digest).await?;
        let model = Int8Model::from_bytes(&bytes).map_err(|error| RunnerError::Answer {
            call: "Download",
            problem: format!("is no build that runs: {error}"),
        })?;
        let accuracy = judges.left.score_int8(&model)?.overall;
        results.push(BuildResult { build, accuracy });
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(window: u64, region: &str, verdict: &str) -> DriftWindow {
        let (region, verdict) = (region.to_owned(), verdict.to_owned());
        DriftWindow {
            window,
            region,
            verdict,
            ..DriftWindow::default()
        }
    }

    fn watched(windows: Vec<DriftWindow>) -> Watched {
        let (run, first_digest) = (v1::Run::default(), String::new());
        let first_score = crate::runner::Score::default();
        let retraining = RunResult {
            run,
            first_digest,
            first_score,
            rounds: Vec::new(),
        };
        Watched {
            windows,
            retraining,
        }
    }

    #[test]
    fn drift_elsewhere_or_too_early_is_a_false_alarm() {
        let seen = watched(vec![
            window(8, "west", "drift"),
            window(9, "east", "drift"),
            window(9, "west", "warning"),
            window(10, "west", "drift"),
        ]);
        assert_eq!((seen.detected_window(), seen.false_alarms()), (Some(10), 2));
        assert_eq!(watched(Vec::new()).detected_window(), None);
    }

    #[test]
    fn a_missed_drift_ends_the_wait_with_the_verdicts() {
        let windows = |last| {
            (1..=last)
                .map(|number| window(number, "west", "ok"))
                .collect()
        };
        let few: Vec<_> = windows(INJECTED_WINDOW + MISSED_AFTER);
        assert!(give_up_when_missed(&few).is_ok());
        let many: Vec<_> = windows(INJECTED_WINDOW + MISSED_AFTER + 1);
        let error = give_up_when_missed(&many).unwrap_err();
        assert!(error.to_string().contains("ok, ok"), "{error}");
    }

    #[test]
    fn a_seeded_story_ends_at_a_fixed_window_and_another_after_the_installation() {
        let mut windows: Vec<_> = (1..=9).map(|number| window(number, "west", "ok")).collect();
        let mut begun = window(10, "west", "drift");
        begun.playbook = "retrain-region".to_owned();
        windows.push(begun);
        windows.extend((40..45).map(|number| window(number, "west", "validating")));
        assert!(!is_over(&windows, false));
        windows.push(window(45, "west", "cooldown"));
        assert!(is_over(&windows, false) && is_over(&windows, true));
        windows.push(window(46, "east", "drift"));
        assert_eq!(
            cut(windows.clone(), false).last().map(|last| last.window),
            Some(45)
        );
        assert_eq!(cut(windows, true).last().map(|last| last.window), Some(10));
    }
}

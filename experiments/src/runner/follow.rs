//! Following a run to its end, scoring every version that it publishes.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tributary_proto::v1::{self, RunState};

use super::{HeldOut, Operator, Progress, RoundNews, RunnerError, Score};

/// How often the coordinator is asked.
const EVERY: Duration = Duration::from_millis(100);
/// Longest wait for the next round.
const PATIENCE: Duration = Duration::from_secs(150);

/// One published round.
#[derive(Clone, Debug)]
pub struct RoundResult {
    /// The round as the coordinator shows it.
    pub round: v1::Round,
    /// What its version scores.
    pub score: Score,
}

/// A run that completed.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// The run as the coordinator shows it.
    pub run: v1::Run,
    /// Digest of the version that training started from.
    pub first_digest: String,
    /// What that version scores.
    pub first_score: Score,
    /// Its published rounds, oldest first.
    pub rounds: Vec<RoundResult>,
}

impl RunResult {
    /// What the last version scores.
    pub fn last_score(&self) -> &Score {
        self.rounds
            .last()
            .map_or(&self.first_score, |last| &last.score)
    }
}

/// Follows a run until it is completed, or until `progress` asks to end: then the rounds that are there
/// are given.
///
/// # Errors
/// [`RunnerError::RunEnded`] when it stops or fails, [`RunnerError::Late`] when no round comes,
/// [`RunnerError::Interrupted`] when it is asked to end before the first.
pub async fn follow_run(
    operator: &mut Operator,
    run_id: &str,
    held_out: &HeldOut,
    progress: &dyn Progress,
) -> Result<RunResult, RunnerError> {
    let mut results: Vec<RoundResult> = Vec::new();
    let mut last_news = Instant::now();
    let interrupt = progress.interrupt();
    loop {
        let answer = operator.run(run_id).await?;
        let run = answer.run.unwrap_or_default();
        let published = answer
            .rounds
            .into_iter()
            .filter(|round| !round.model_digest.is_empty());
        for round in published.skip(results.len()).collect::<Vec<_>>() {
            results.push(score_round(operator, &run, round, held_out, progress).await?);
            last_news = Instant::now();
        }
        match run.state() {
            RunState::Running | RunState::Unspecified => {}
            RunState::Completed => return finish(operator, run, results, held_out).await,
            RunState::Stopped | RunState::Failed | RunState::Quarantined => {
                let (run, round, reason) = (run.run_id, run.round, run.reason);
                return Err(RunnerError::RunEnded { run, round, reason });
            }
        }
        if interrupt.is_set() {
            return match results.is_empty() {
                true => Err(RunnerError::Interrupted),
                false => finish(operator, run, results, held_out).await,
            };
        }
        if last_news.elapsed() > PATIENCE {
            return Err(RunnerError::Late {
                what: format!("round {} of run {run_id}", results.len() + 1),
                seconds: PATIENCE.as_secs(),
                state: format!("{} {}", run.phase, run.reason),
            });
        }
        sleep(EVERY).await;
    }
}

async fn score_round(
    operator: &mut Operator,
    run: &v1::Run,
    round: v1::Round,
    held_out: &HeldOut,
    progress: &dyn Progress,
) -> Result<RoundResult, RunnerError> {
    let score = held_out.score(&operator.model_file(&round.model_digest).await?)?;
    let spent = round.privacy.clone().unwrap_or_default();
    progress.round(&RoundNews {
        run_id: run.run_id.clone(),
        round: round.round,
        rounds: run.rounds,
        contributions: round.counted,
        accuracy: score.overall,
        epsilon: spent.epsilon,
        delta: spent.delta,
        adjacency: spent.adjacency,
        mechanism: spent.mechanism,
    });
    Ok(RoundResult { round, score })
}

async fn finish(
    operator: &mut Operator,
    run: v1::Run,
    rounds: Vec<RoundResult>,
    held_out: &HeldOut,
) -> Result<RunResult, RunnerError> {
    let Some(first) = rounds.first() else {
        let reason = "it published no round".to_owned();
        return Err(RunnerError::RunEnded {
            run: run.run_id,
            round: run.round,
            reason,
        });
    };
    let model = operator
        .model(&first.round.model_digest)
        .await?
        .model
        .unwrap_or_default();
    let first_score = held_out.score(&operator.model_file(&model.parent).await?)?;
    Ok(RunResult {
        run,
        first_digest: model.parent,
        first_score,
        rounds,
    })
}

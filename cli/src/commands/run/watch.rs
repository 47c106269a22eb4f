//! Following a run until it ends, through restarts of the coordinator.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tonic::Streaming;
use tributary_proto::v1::watch_response::Event;
use tributary_proto::v1::{GetRunRequest, WatchRequest, WatchResponse};

use super::line;
use crate::client::{Coordinator, is_unreachable};
use crate::exit::{self, Exit};
use crate::output::{Output, Palette, Tone, fitting_stderr, printable};
use crate::text::model::build_line;
use crate::text::monitor::window_line;
use crate::view::{BuildView, RoundView, RunSummary, RunView, WindowView};

/// How often the run is read as well: an event that was lost is made up for.
const REFRESH: Duration = Duration::from_secs(5);
/// First and longest pause between attempts to reach the coordinator again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// One line of `run watch --format json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    /// The run changed.
    Run(&'a RunSummary),
    /// A round ended.
    Round(&'a RoundView),
    /// A drift window was judged.
    Window(&'a WindowView),
    /// Devices installed a build.
    Build(&'a BuildView),
}

/// Follows the run; the exit code reflects how it ended.
pub async fn watch(
    coordinator: &Coordinator,
    run_id: &str,
    patience: Duration,
    output: Output,
) -> Result<Exit> {
    let mut watcher = Watcher {
        coordinator,
        run_id,
        output,
        bar: bar(output),
        printed: BTreeSet::new(),
        meaning: None,
        clip: None,
        last: None,
    };
    match watcher.until_the_end(patience).await {
        // whoever stopped reading did not see how the run ended
        Err(error) if exit::is_broken_pipe(&error) => Ok(Exit::Unread),
        ended => ended,
    }
}

enum Followed {
    Ended(Exit),
    Lost(tonic::Status),
}

struct Watcher<'a> {
    coordinator: &'a Coordinator,
    run_id: &'a str,
    output: Output,
    bar: ProgressBar,
    /// Rounds that were printed, with their attempts: a round that is published after an attempt was
    /// given up is two lines.
    printed: BTreeSet<(u32, u32)>,
    /// What the epsilon of the last line means, and the clip of its round.
    meaning: Option<String>,
    clip: Option<f32>,
    last: Option<RunSummary>,
}

impl Watcher<'_> {
    /// Follows through restarts of the coordinator.
    async fn until_the_end(&mut self, patience: Duration) -> Result<Exit> {
        let mut away: Option<(Instant, Duration)> = None;
        loop {
            let status = match self.follow(&mut away).await? {
                Followed::Ended(exit) => return Ok(exit),
                Followed::Lost(status) => status,
            };
            // the first contact must succeed: a wrong address should not wait for minutes
            let fell_behind = status.code() == tonic::Code::DataLoss;
            let comes_back = is_unreachable(&status) || fell_behind;
            if !comes_back || self.last.is_none() {
                return Err(self.coordinator.failure(&status).into());
            }
            let (since, pause) = away.unwrap_or((Instant::now(), PAUSES.0));
            if since.elapsed() > patience {
                return Err(self.coordinator.failure(&status).into());
            }
            self.bar.set_message(below("waiting for the coordinator"));
            tokio::time::sleep(pause).await;
            away = Some((since, (pause * 2).min(PAUSES.1)));
        }
    }

    /// Follows over one connection. `away` is cleared once the coordinator answers.
    async fn follow(&mut self, away: &mut Option<(Instant, Duration)>) -> Result<Followed> {
        let request = WatchRequest {
            run_id: self.run_id.to_owned(),
        };
        // events first, then the state: nothing that happens in between is missed
        let mut events = match self.coordinator.control().watch(request).await {
            Ok(events) => events.into_inner(),
            Err(status) => return Ok(Followed::Lost(status)),
        };
        let mut refresh = tokio::time::interval(REFRESH);
        loop {
            tokio::select! {
                _ = refresh.tick() => match self.read().await {
                    Ok(view) => {
                        *away = None;
                        if let Some(exit) = self.take_in(&view)? {
                            return Ok(Followed::Ended(exit));
                        }
                    }
                    Err(status) => return Ok(Followed::Lost(status)),
                },
                event = next(&mut events) => match event {
                    Ok(event) => self.event(event)?,
                    Err(status) => return Ok(Followed::Lost(status)),
                },
            }
            // every round is printed before the end is, so the rounds are read once more
            if self.last.as_ref().is_some_and(|run| end(run).is_some()) {
                refresh.reset_immediately();
            }
        }
    }

    async fn read(&self) -> Result<RunView, tonic::Status> {
        let request = GetRunRequest {
            run_id: self.run_id.to_owned(),
            ..GetRunRequest::default()
        };
        Ok(self
            .coordinator
            .control()
            .get_run(request)
            .await?
            .into_inner()
            .into())
    }

    /// Prints what is new in a run; gives the exit code when the run has ended.
    fn take_in(&mut self, view: &RunView) -> Result<Option<Exit>> {
        for round in &view.round_log {
            self.round(round, view.run.rounds)?;
        }
        self.progress(&view.run);
        let Some(exit) = end(&view.run) else {
            return Ok(None);
        };
        self.bar.finish_and_clear();
        let line = |colours| line::last_line(&view.run, colours);
        self.output.event(&Line::Run(&view.run), line)?;
        Ok(Some(exit))
    }

    fn event(&mut self, event: WatchResponse) -> Result<()> {
        match event.event {
            Some(Event::Run(run)) if run.run_id == self.run_id => self.progress(&run.into()),
            Some(Event::Round(change)) if change.run_id == self.run_id => {
                let rounds = self.last.as_ref().map_or(0, |run| run.rounds);
                let round = change.round.unwrap_or_default().into();
                // before the run is known a round can't be told apart from its total
                if rounds > 0 {
                    self.round(&round, rounds)?;
                }
            }
            Some(Event::Window(window)) => {
                let window = WindowView::from(window);
                self.print(&Line::Window(&window), |colours| {
                    window_line(&window, colours)
                })?;
            }
            Some(Event::Build(change)) => {
                let build = BuildView::from(change.build.unwrap_or_default());
                self.print(&Line::Build(&build), |colours| build_line(&build, colours))?;
            }
            Some(Event::Run(_) | Event::Round(_)) | None => {}
        }
        Ok(())
    }

    fn round(&mut self, round: &RoundView, rounds: u32) -> Result<()> {
        if !round.has_ended() || !self.printed.insert((round.round, round.attempt)) {
            return Ok(());
        }
        let meaning = line::epsilon_meaning(round).filter(|now| self.meaning.as_ref() != Some(now));
        let has_moved = self.clip.is_some_and(|clip| clip != round.clip);
        self.print(&Line::Round(round), |colours| {
            let line = line::round_line(round, rounds, has_moved, colours);
            match &meaning {
                Some(meaning) => format!("{}\n{line}", colours.paint(Tone::Dim, meaning)),
                None => line,
            }
        })?;
        self.clip = Some(round.clip);
        self.meaning = meaning.or_else(|| self.meaning.take());
        Ok(())
    }

    fn progress(&mut self, run: &RunSummary) {
        let finished = if run.state == "completed" {
            run.rounds
        } else {
            run.round.max(1) - 1
        };
        if self.last.is_none() && self.output.shows_progress() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(run.rounds.into());
        self.bar.set_position(finished.into());
        let why = if run.reason.is_empty() {
            &run.phase
        } else {
            &run.reason
        };
        self.bar.set_message(below(&printable(why)));
        self.last = Some(run.clone());
    }

    /// Prints above the progress bar.
    fn print(&self, line: &Line<'_>, human: impl FnOnce(Palette) -> String) -> Result<()> {
        self.bar.suspend(|| self.output.event(line, human))
    }
}

async fn next(events: &mut Streaming<WatchResponse>) -> Result<WatchResponse, tonic::Status> {
    let ended = || tonic::Status::unavailable("the coordinator ended the stream");
    events.message().await?.ok_or_else(ended)
}

/// The exit code of a run that has ended.
fn end(run: &RunSummary) -> Option<Exit> {
    match run.state {
        "completed" => Some(Exit::Done),
        // it does not go on by itself either
        "failed" | "quarantined" => Some(Exit::Failed),
        "stopped" => Some(Exit::Incomplete),
        _ => None,
    }
}

/// What the run waits for, on lines of its own: it is never cut.
fn below(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("\n{}", fitting_stderr(text)),
    }
}

fn bar(output: Output) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    // drawn once the run is known
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    let dim = output.errors.paint(Tone::Dim, "{elapsed}{msg}");
    let template = format!("{{bar:20}} round {{pos}}/{{len}} {dim}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

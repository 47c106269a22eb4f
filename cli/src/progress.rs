//! Progress of long work on standard error: bars on a terminal, lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tributary_experiments::runner::{Interrupt, Progress, RoundNews, WindowNews, remove_leftovers};

use crate::exit::Exit;
use crate::output::{self, Output, Palette, Tone, count, decimal, percent, printable};
use crate::signals::stop_signal;
use crate::text::monitor::tone;
use crate::text::spend::words;

/// One line, cut where the terminal ends.
const SPINNER: &str = "{spinner:.cyan} {wide_msg}";
/// On a log every so many rounds get a line.
const ROUNDS_PER_LINE: u32 = 10;

/// Tells how the demo or an experiment goes on.
pub struct ProgressReporter {
    bar: ProgressBar,
    is_drawn: bool,
    colours: Palette,
    began: Instant,
    run: Mutex<String>,
    /// What the epsilons of the lines below mean.
    meaning: Mutex<String>,
    interrupt: Interrupt,
}

impl ProgressReporter {
    /// Starts the clock.
    pub fn new(output: Output) -> Self {
        let is_drawn = output.shows_progress();
        let bar = if is_drawn {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(Duration::from_millis(120));
        let narrator = Self {
            bar,
            is_drawn,
            colours: output.errors,
            began: Instant::now(),
            run: Mutex::default(),
            meaning: Mutex::default(),
            interrupt: on_signal(),
        };
        narrator.style(SPINNER);
        narrator
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("━╸─"));
        }
    }

    /// A line that stays, with the seconds since the start.
    fn line(&self, text: &str) {
        let seconds = format!("{:>6.1} s  ", self.began.elapsed().as_secs_f64());
        let line = format!("{}{text}", self.colours.paint(Tone::Dim, &seconds));
        self.bar.suspend(|| output::to_stderr(&line));
    }

    /// What a round spent, after a line that says what it means where that is not known from a line above.
    fn spent(&self, news: &RoundNews) -> String {
        if !news.epsilon.is_finite() {
            return printable(&news.mechanism);
        }
        let (adjacency, mechanism) = (words(&news.adjacency), printable(&news.mechanism));
        let meaning = format!(
            "epsilon at delta {:e}, {adjacency}; {mechanism}",
            news.delta
        );
        if is_new(&self.meaning, &meaning) {
            self.line(&self.colours.paint(Tone::Dim, &meaning));
        }
        format!("epsilon {} in this run", decimal(news.epsilon))
    }
}

/// Whether a text differs from the last one, which it becomes.
fn is_new(last: &Mutex<String>, text: &str) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = *last != text;
    text.clone_into(&mut last);
    is_new
}

/// Ends the work in good order at the first Ctrl-C, SIGTERM or SIGHUP, and the process at the second.
fn on_signal() -> Interrupt {
    let (interrupter, interrupt) = Interrupt::pair();
    tokio::spawn(async move {
        if stop_signal().await.is_err() {
            return; // without handlers a signal ends the process by itself
        }
        output::to_stderr("stopping in good order; once more ends at once");
        interrupter.interrupt();
        if stop_signal().await.is_ok() {
            remove_leftovers();
            std::process::exit(Exit::Incomplete as i32);
        }
    });
    interrupt
}

impl Progress for ProgressReporter {
    fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    fn stage(&self, name: &str) {
        self.style(SPINNER);
        self.bar.set_message(name.to_owned());
        self.line(&self.colours.paint(Tone::Strong, name));
    }

    fn connected(&self, devices: usize, all: usize) {
        let devices = count(devices as u64);
        self.bar.set_message(format!(
            "{devices} of {} devices connected",
            count(all as u64)
        ));
    }

    fn round(&self, news: &RoundNews) {
        if is_new(&self.run, &news.run_id) {
            self.style("{spinner:.cyan} {bar:12} round {pos}/{len}  {wide_msg}");
        }
        self.bar.set_length(news.rounds.into());
        self.bar.set_position(news.round.into());
        let spent = self.spent(news);
        let measured = format!(
            "accuracy {}, {} contributions, {spent}",
            percent(news.accuracy),
            count(news.contributions),
        );
        let is_last = news.round == news.rounds;
        if is_last || (!self.is_drawn && news.round.is_multiple_of(ROUNDS_PER_LINE)) {
            self.line(&format!("round {}/{}: {measured}", news.round, news.rounds));
        }
        self.bar.set_message(measured);
    }

    fn window(&self, news: &WindowNews) {
        let verdict = self.colours.paint(tone(&news.verdict), &news.verdict);
        let text = format!("window {} in {}: {verdict}", news.window, news.region);
        let is_quiet = matches!(
            news.verdict.as_str(),
            "ok" | "warm-up" | "insufficient-data"
        );
        if !news.playbook.is_empty() {
            self.line(&format!("{text} -> {}", news.playbook));
        } else if !is_quiet {
            let share = decimal(news.share_of_threshold);
            self.line(&format!("{text} ({share} of the threshold)"));
        }
        self.style(SPINNER);
        self.bar.set_message(text);
    }
}

//! What a run shows: a line that moves on a terminal, lines from time to time elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::ranks::Ranks;
use crate::checkpoint::{Progress, Record, State};

/// Between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// The progress of a run.
pub(super) struct Display {
    /// Of several ranks one speaks.
    silent: bool,
    bar: Option<ProgressBar>,
    line: Instant,
    steps: u64,
    /// Recent losses and speeds, older ones fading.
    loss: Option<f64>,
    speed: Option<f64>,
    seconds: Option<f64>,
}

impl Display {
    pub(super) fn new(state: &State, steps: u64, ranks: &Ranks) -> Self {
        let silent = !ranks.leads();
        let bar = (std::io::stderr().is_terminal() && !silent).then(|| {
            let style = ProgressStyle::with_template("{pos}/{len} {wide_bar} {msg}");
            let bar = ProgressBar::new(steps);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(state.progress.step);
            bar
        });
        let display = Self {
            silent,
            bar,
            line: Instant::now(),
            steps,
            loss: None,
            speed: None,
            seconds: None,
        };
        display.say(&format!(
            "{}: {} parameters, {} steps{}",
            state.config.model_name,
            state.architecture.parameters(),
            steps,
            match ranks.count() {
                1 => String::new(),
                count => format!(", {count} ranks"),
            }
        ));
        display
    }

    pub(super) fn step(
        &mut self,
        progress: &Progress,
        loss: Option<f64>,
        tokens: usize,
        took: Duration,
    ) {
        let seconds = took.as_secs_f64();
        fade(&mut self.seconds, seconds);
        fade(&mut self.speed, tokens as f64 / seconds.max(1e-9));
        match loss {
            Some(loss) => fade(&mut self.loss, loss),
            None => self.say(&format!("step {}: not finite, skipped", progress.step)),
        }
        let left = self.steps.saturating_sub(progress.step) as f64 * self.seconds.unwrap_or(0.0);
        let message = format!(
            "loss {:.3}, {:.0} tokens/s, {} left",
            self.loss.unwrap_or(f64::NAN),
            self.speed.unwrap_or(0.0),
            duration(left)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.step);
                bar.set_message(message);
            }
            None if self.line.elapsed() >= BETWEEN_LINES => {
                self.line = Instant::now();
                self.say(&format!("step {}/{}: {message}", progress.step, self.steps));
            }
            None => {}
        }
    }

    pub(super) fn validation(&self, record: &Record, best: bool) {
        self.say(&format!(
            "step {} ({:.1} M tokens, {}): training loss {:.4}, validation loss {:.4}{}; right: {}",
            record.step,
            record.tokens as f64 / 1e6,
            duration(record.seconds),
            record.training_loss,
            record.validation_loss,
            if best { ", the best" } else { "" },
            accuracy(record)
        ));
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.silent => {}
            None => eprintln!("{line}"),
        }
    }
}

/// Shares by kind of token, in per cent.
fn accuracy(record: &Record) -> String {
    let shares = record.accuracy.iter();
    let shares = shares.map(|(kind, share)| format!("{kind} {:.0} %", 100.0 * share));
    shares.collect::<Vec<_>>().join(", ")
}

fn fade(mean: &mut Option<f64>, new: f64) {
    *mean = Some(mean.map_or(new, |mean| mean + 0.05 * (new - mean)));
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as u64;
    match minutes {
        0 => format!("{seconds:.0} s"),
        1..60 => format!("{minutes} min"),
        _ => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

//! How far the embedding has come: a bar on a terminal, now and then a line anywhere else.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Progress over a known number of pictures; may be shared between threads.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    done: u64,
    failed: u64,
    last_line: Instant,
}

impl Progress {
    /// Progress that starts now.
    pub fn new(total: usize) -> Self {
        let total = total as u64;
        let bar = io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stdout());
            let style = ProgressStyle::with_template("  {bar:40} {pos}/{len}, {per_sec:0}, {eta} left{msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let start = Instant::now();
        Self { bar, total, start, state: Mutex::new(State { done: 0, failed: 0, last_line: start }) }
    }

    /// One more picture is done, well or not.
    pub fn advance(&self, succeeded: bool) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.done += 1;
        state.failed += u64::from(!succeeded);
        if let Some(bar) = &self.bar {
            if !succeeded {
                bar.set_message(format!(", {} failed", state.failed));
            }
            bar.set_position(state.done);
        } else if state.last_line.elapsed() >= LINE_INTERVAL {
            state.last_line = Instant::now();
            println!("  {}", line(state.done, self.total, state.failed, self.start.elapsed()));
        }
    }

    /// Removes the bar; returns how long it took.
    pub fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.start.elapsed()
    }
}

fn line(done: u64, total: u64, failed: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64();
    let left = (total - done) as f64 / rate;
    format!("{done}/{total}, {rate:.0} pictures/s, {left:.0} s left, {failed} failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_time_and_failures() {
        assert_eq!(line(300, 1000, 2, Duration::from_secs(3)), "300/1000, 100 pictures/s, 7 s left, 2 failed");
    }
}

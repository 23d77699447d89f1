//! A contest of several ways to compute the same: which is the fastest, on a machine that is never quiet.
//!
//! The contestants run in turn, one run each in a round, so that a slow spell of the machine falls on all of them. A first
//! series finds those that can win at all; a second one, of new times, decides between these and the first contestant,
//! which stays unless another is faster by a clear margin. Deciding by new times matters: the best of many noisy ones is
//! mostly one that was lucky.
//!
//! Each run starts as in a network: what was just computed, the input, lies in the caches, and weights that were last used
//! an inference ago don't.

use std::hint::black_box;
use std::time::{Duration, Instant};

use avocet_ir::Tensor;

use crate::jit::{Compiled, RunError, Session};
use crate::measure::Timing;

/// Least part of its time that a contestant must save to take the first one's place.
const MARGIN: f64 = 0.02;
/// Rounds of the first series and of the second: at least, and at most.
const QUALIFYING: [usize; 2] = [4, 40];
const FINAL: [usize; 2] = [5, 150];
/// Part of the time for the first series.
const QUALIFYING_TIME: f64 = 0.4;
/// Rivals in the second series.
const FINALISTS: usize = 4;
/// After every so many rounds of the first series, contestants that are slower than the best by this factor leave.
const LEAVE: usize = 3;
const HOPELESS: f64 = 1.3;

/// The outcome.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Number of the winner.
    pub(crate) winner: usize,
    /// Times of the first contestant.
    pub(crate) first: Timing,
    /// The winner's part of the first contestant's time: median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// Median times of all contestants in the first series, in milliseconds; of those that left early it is that of few.
    pub(crate) medians_ms: Vec<f64>,
}

/// Memory that drives out of a core's own caches what was there.
pub(crate) struct Eviction(Vec<u64>);

impl Eviction {
    /// For a second cache of so many bytes.
    pub(crate) fn new(cache: usize) -> Self {
        const MOST: usize = 64 << 20;
        Eviction((0..cache.min(MOST) as u64 * 3 / 16).collect())
    }

    /// Empties the caches, and fills them with these tensors.
    fn before(&self, inputs: &[Tensor]) {
        /// Elements of a line.
        const LINE: usize = 16;
        black_box(self.0.iter().fold(0, |all, word| all ^ word));
        for data in inputs.iter().filter_map(Tensor::as_f32) {
            black_box(data.iter().step_by(LINE).fold(0, |all, value| all ^ value.to_bits()));
        }
    }
}

/// Runs a contest for about so long.
pub(crate) fn contest(
    contestants: &[Compiled],
    inputs: &[Tensor],
    eviction: &Eviction,
    time: Duration,
) -> Result<Outcome, RunError> {
    let sessions = contestants.iter().map(Compiled::session).collect::<Result<Vec<_>, _>>()?;
    let mut series = Series { sessions, inputs, eviction };
    let start = Instant::now();
    let deadline = start + time.mul_f64(QUALIFYING_TIME);
    let times = series.run((0..contestants.len()).collect(), QUALIFYING, deadline, true)?;
    let medians_ms: Vec<f64> = times.iter().map(|times| Timing::new(times).median_ms).collect();
    let times = series.run(finalists(&medians_ms), FINAL, start + time, false)?;
    Ok(Outcome { medians_ms, ..decide(&times) })
}

struct Series<'a> {
    sessions: Vec<Session<'a>>,
    inputs: &'a [Tensor],
    eviction: &'a Eviction,
}

impl Series<'_> {
    /// Times of all contestants, of the rounds in which all that are left took part; none of those that are not.
    fn run(
        &mut self,
        mut left: Vec<usize>,
        [least, most]: [usize; 2],
        deadline: Instant,
        may_leave: bool,
    ) -> Result<Vec<Vec<Duration>>, RunError> {
        let mut times = vec![Vec::new(); self.sessions.len()];
        for &number in &left {
            self.sessions[number].run(self.inputs)?;
        }
        let mut rounds = 0;
        while rounds < most && (rounds < least || Instant::now() < deadline) {
            // Nobody always follows the same neighbour.
            if left.len() > 1 {
                left.rotate_left(1 + rounds % 2);
            }
            for &number in &left {
                self.eviction.before(self.inputs);
                let start = Instant::now();
                self.sessions[number].run(self.inputs)?;
                times[number].push(start.elapsed());
            }
            rounds += 1;
            if may_leave && rounds % LEAVE == 0 {
                let shortest = |number: usize| times[number].iter().min().copied().unwrap_or(Duration::MAX);
                let best = left.iter().map(|&number| shortest(number)).min().unwrap_or(Duration::MAX);
                left.retain(|&number| number == 0 || shortest(number) <= best.mul_f64(HOPELESS));
            }
        }
        Ok(times)
    }
}

/// The first contestant and the fastest others.
fn finalists(medians: &[f64]) -> Vec<usize> {
    let mut rivals: Vec<usize> = (1..medians.len()).collect();
    rivals.sort_by(|&a, &b| medians[a].total_cmp(&medians[b]));
    std::iter::once(0).chain(rivals.into_iter().take(FINALISTS)).collect()
}

/// The winner by times of the same rounds; those without times took no part.
fn decide(times: &[Vec<Duration>]) -> Outcome {
    let first = Timing::new(&times[0]);
    let mut best = Outcome { winner: 0, first: first.clone(), ratio: 1.0, medians_ms: Vec::new() };
    for (number, own) in times.iter().enumerate().skip(1).filter(|(_, own)| !own.is_empty()) {
        let mut ratios: Vec<f64> = own
            .iter()
            .zip(&times[0])
            .map(|(own, first)| own.as_secs_f64() / first.as_secs_f64().max(1e-9))
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let clear = ratio <= 1.0 - MARGIN && Timing::new(own).min_ms <= first.min_ms * (1.0 - MARGIN);
        if clear && ratio < best.ratio {
            best = Outcome { winner: number, ratio, ..best };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: &[u64]) -> Vec<Duration> {
        milliseconds.iter().map(|&ms| Duration::from_millis(ms)).collect()
    }

    #[test]
    fn the_first_stays_unless_another_is_clearly_faster() {
        let first = times(&[100, 200, 100, 100, 104]);
        let close = times(&[99, 198, 99, 99, 103]);
        let faster = times(&[80, 160, 80, 80, 83]);
        // Lucky once, slower otherwise; and faster mostly, but not at its best.
        let (lucky, unlucky) = (times(&[50, 300, 150, 150, 156]), times(&[200, 100, 100, 99, 99]));
        let winner = |all: &[Vec<Duration>]| decide(all).winner;
        assert_eq!(winner(std::slice::from_ref(&first)), 0);
        assert_eq!(winner(&[first.clone(), close.clone(), lucky, Vec::new(), unlucky]), 0);
        let outcome = decide(&[first, close, faster, Vec::new()]);
        assert_eq!((outcome.winner, (outcome.ratio * 1e6).round()), (2, 800_000.0));
        assert_eq!(outcome.first.median_ms, 100.0);
    }

    #[test]
    fn the_fastest_meet_again() {
        let all = [9.0, 3.0, 8.0, 1.0, 7.0, 2.0, 6.0];
        assert_eq!(finalists(&all), [0, 3, 5, 1, 6]);
        assert_eq!(finalists(&all[..1]), [0]);
    }
}

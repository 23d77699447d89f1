//! Which bytes of a buffer a kernel touches, exactly: what tells columns of a matrix that lie between each other apart.

use std::ops::Range;

use crate::kernel::{Address, BufferId, Expression, Kernel, Statement};

/// More runs of neighbouring elements than this are not listed: the whole buffer is taken to be touched.
const MOST_RUNS: usize = 1 << 20;

impl Kernel {
    /// Ranges of bytes of a buffer that the kernel loads from or stores to: sorted, disjoint, not adjacent. Where that would be
    /// too long a list, or depends on data, the one range of the whole buffer, which is right but not exact.
    pub fn touched(&self, buffer: BufferId) -> Vec<Range<usize>> {
        let mut walk = Walk { buffer, counts: Vec::new(), runs: Vec::new() };
        let element = self.buffers[buffer.0].element.bytes();
        if walk.block(&self.body).is_none() {
            return std::iter::once(0..self.buffers[buffer.0].bytes()).collect();
        }
        let mut runs = walk.runs;
        runs.sort_unstable_by_key(|run| run.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for run in runs {
            let run = run.start * element..run.end * element;
            match merged.last_mut() {
                Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
                _ => merged.push(run),
            }
        }
        merged
    }
}

/// Whether two lists of sorted, disjoint ranges, each moved by an offset, have a byte in common.
pub(super) fn meet(one: (&[Range<usize>], usize), other: (&[Range<usize>], usize)) -> bool {
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (one.0.get(i), other.0.get(j)) {
        let (a, b) = (a.start + one.1..a.end + one.1, b.start + other.1..b.end + other.1);
        if a.start < b.end && b.start < a.end {
            return true;
        }
        if a.end <= b.end {
            i += 1;
        } else {
            j += 1;
        }
    }
    false
}

struct Walk {
    buffer: BufferId,
    /// Iterations of the loop of each variable.
    counts: Vec<usize>,
    /// Runs of elements.
    runs: Vec<Range<usize>>,
}

impl Walk {
    /// `None` when the list grows too long, or can't be told.
    fn block(&mut self, statements: &[Statement]) -> Option<()> {
        for statement in statements {
            match statement {
                Statement::Let(_, Expression::Load { address, valid }) => self.access(address, *valid)?,
                Statement::Let(_, Expression::LoadBroadcast(address)) => self.access(address, 1)?,
                // Any of the buffer's elements.
                Statement::Let(_, Expression::LoadAt(buffer, _)) | Statement::StoreAt { buffer, .. } => {
                    if *buffer == self.buffer {
                        return None;
                    }
                }
                Statement::Let(..) => {}
                Statement::Store { address, valid, .. } => self.access(address, *valid)?,
                Statement::For { variable, count, body, .. } => {
                    if self.counts.len() <= variable.0 {
                        self.counts.resize(variable.0 + 1, 1);
                    }
                    self.counts[variable.0] = *count;
                    self.block(body)?;
                }
            }
        }
        Some(())
    }

    fn access(&mut self, address: &Address, valid: usize) -> Option<()> {
        if address.buffer != self.buffer {
            return Some(());
        }
        let mut start = address.index.constant;
        let mut terms: Vec<(i64, usize)> = Vec::new();
        for &(variable, coefficient) in address.index.terms() {
            let count = self.counts.get(variable.0).copied().unwrap_or(1);
            // Backwards is forwards from the other end.
            start += coefficient.min(0) * (count as i64 - 1);
            terms.push((coefficient.abs(), count));
        }
        terms.sort_unstable();
        // Steps no longer than what is touched at each make one longer run.
        let mut length = valid as i64;
        let mut apart: Vec<(i64, usize)> = Vec::new();
        for (step, count) in terms {
            if apart.is_empty() && step <= length {
                length += step * (count as i64 - 1);
            } else {
                apart.push((step, count));
            }
        }
        let runs = apart.iter().try_fold(1usize, |product, &(_, count)| product.checked_mul(count))?;
        if self.runs.len().checked_add(runs)? > MOST_RUNS {
            return None;
        }
        let mut starts = vec![start];
        for (step, count) in apart {
            starts = starts.iter().flat_map(|&s| (0..count as i64).map(move |i| s + i * step)).collect();
        }
        for start in starts {
            self.runs.push(usize::try_from(start).ok()?..usize::try_from(start + length).ok()?);
        }
        Some(())
    }
}

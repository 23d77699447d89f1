//! Work on the chunks of one result, divided among the processor's cores.

use std::thread;

/// Calls `f(i, chunk)` for each chunk of `chunk` elements of `out` (the last may be shorter), each exactly once.
///
/// `work` is the number of steps that the whole takes, roughly; small work stays on the calling thread. The result does
/// not depend on the number of threads, because no chunk sees another.
pub(super) fn for_each_chunk(
    out: &mut [f32],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) {
    /// Below this, starting threads costs more than it gains.
    const WORTH_THREADS: usize = 1 << 18;
    let chunk = chunk.max(1);
    let chunks = out.len().div_ceil(chunk);
    let threads = match work < WORTH_THREADS {
        true => 1,
        false => thread::available_parallelism().map_or(1, |n| n.get()).min(chunks).max(1),
    };
    let per_thread = chunks.div_ceil(threads).max(1);
    if threads == 1 {
        out.chunks_mut(chunk).enumerate().for_each(|(i, part)| f(i, part));
        return;
    }
    thread::scope(|scope| {
        for (t, share) in out.chunks_mut(per_thread.saturating_mul(chunk)).enumerate() {
            let f = &f;
            scope.spawn(move || {
                for (i, part) in share.chunks_mut(chunk).enumerate() {
                    f(t * per_thread + i, part);
                }
            });
        }
    });
}

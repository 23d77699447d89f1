//! A pool of threads that runs the parts of a model's steps.
//!
//! An inference has some sixty short regions, a few microseconds apart. So threads that have nothing to do wait awake for
//! a moment before they sleep, a region allocates nothing and takes no lock, and the caller works too: it never waits for
//! a sleeping thread to begin, only for parts that have begun to end.
//!
//! The whole state of a region is one number, its ticket: which region it is, how many parts it has, how many are taken
//! from the first on and from the last on. A thread takes a part by counting the ticket up, which fails when the region is
//! over. Whoever has taken a part keeps its region from ending, so what the region runs can be read after that without a
//! race.
//!
//! The caller begins at the first part, the next thread at the last, and so on in turn: so a thread has the same rows in
//! one region as in the one before, and finds what it wrote in its own cache. Whoever is early takes from the others.

use core::ffi::c_void;
use core::hint;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::io;
use std::thread::{self, JoinHandle};

use crate::{Body, ParallelFor};

/// Looks at the ticket before a thread goes to sleep: a few hundred microseconds, longer than the steps of one part that a
/// network has between others. Waking a thread takes tens of microseconds, more on a virtual machine.
const SPINS: u32 = 15_000;
/// Looks of the caller at parts that others still run before it gives its core away, in case theirs has been taken.
const SPINS_BEFORE_YIELD: u32 = 10_000;

/// Where a thread begins to take parts.
#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}

/// Which region, how many parts, how many of them are taken from the first on and from the last on: 31 bits, and 11 bits
/// each.
#[derive(Clone, Copy)]
struct Ticket(u64);

impl Ticket {
    const BITS: u32 = 11;
    const MOST_PARTS: usize = (1 << Self::BITS) - 1;

    fn new(region: u32, parts: usize) -> Self {
        Ticket(u64::from(region) << (3 * Self::BITS) | (parts as u64) << (2 * Self::BITS))
    }

    /// The number of the region that comes after this one.
    fn next_region(self) -> u32 {
        ((self.0 >> (3 * Self::BITS)) as u32).wrapping_add(1) & (u32::MAX >> 1)
    }

    /// The next part that nobody has taken, and the ticket once it is taken.
    fn take(self, side: Side) -> Option<(usize, Ticket)> {
        let field = |number: u32| (self.0 >> (number * Self::BITS)) as usize & Self::MOST_PARTS;
        let (parts, first, last) = (field(2), field(1), field(0));
        if first + last >= parts {
            return None;
        }
        Some(match side {
            Side::First => (first, Ticket(self.0 + (1 << Self::BITS))),
            Side::Last => (parts - 1 - last, Ticket(self.0 + 1)),
        })
    }
}

/// What the threads share. All fields are atomic; the ticket orders access to the others.
struct Shared {
    ticket: AtomicU64,
    /// Parts of the region that have ended.
    done: AtomicU32,
    /// The region's [`Body`] as a pointer, and its argument.
    body: AtomicPtr<()>,
    argument: AtomicPtr<c_void>,
    /// Threads that are asleep or about to be.
    sleepers: AtomicUsize,
    /// Whether a region is running: one at a time.
    busy: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    /// Takes a part of the region at hand and runs it; false when there is none left.
    fn run_part(&self, side: Side) -> bool {
        let mut ticket = Ticket(self.ticket.load(Ordering::Acquire));
        let index = loop {
            let Some((index, taken)) = ticket.take(side) else { return false };
            match self.ticket.compare_exchange_weak(ticket.0, taken.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break index,
                Err(now) => ticket = Ticket(now),
            }
        };
        let (body, argument) = (self.body.load(Ordering::Relaxed), self.argument.load(Ordering::Relaxed));
        // SAFETY: `body` was made from a `Body` by `run`, whose store of the ticket came after that of `body` and before
        // this thread took a part; it does not return, nor store another, before this part counts as done. That the body
        // may be called with this argument and index on any thread is the promise of `run`'s caller.
        unsafe {
            let body = core::mem::transmute::<*mut (), Body>(body);
            body(argument, index);
        }
        self.done.fetch_add(1, Ordering::Release);
        true
    }

    /// What each thread of the pool does.
    fn work(&self, side: Side) {
        let mut idle = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.run_part(side) {
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                hint::spin_loop();
            } else {
                self.sleepers.fetch_add(1, Ordering::SeqCst);
                // Whoever opens a region looks for sleepers afterwards: it sees this one, or this one sees the region.
                let ticket = Ticket(self.ticket.load(Ordering::SeqCst));
                if ticket.take(side).is_none() && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
                idle = 0;
            }
        }
    }
}

/// A pool of threads; dropping it ends them.
///
/// One region runs at a time. A caller that finds the pool at work for another runs its parts itself, so sharing a pool
/// between concurrent inferences is correct, but of no use.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Pool({} threads)", self.threads())
    }
}

impl Pool {
    /// A pool for this many threads, of which the caller's is one: with 1 (or 0) there are no others.
    pub fn new(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            done: AtomicU32::new(0),
            body: AtomicPtr::new(core::ptr::null_mut()),
            argument: AtomicPtr::new(core::ptr::null_mut()),
            sleepers: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        // Made first, so that dropping it ends the threads that there are when one can't be started.
        let mut pool = Pool { shared, threads: Vec::new() };
        for number in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = thread::Builder::new().name("avocet".into());
            let side = if number.is_multiple_of(2) { Side::First } else { Side::Last };
            pool.threads.push(builder.spawn(move || shared.work(side))?);
        }
        Ok(pool)
    }

    /// Threads that work in a region, the caller's among them.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// The function and the pointer for a [`crate::Context`]; valid as long as the pool lives.
    pub fn parallel_for(&self) -> (ParallelFor, *mut c_void) {
        (parallel_for, core::ptr::from_ref(self).cast_mut().cast())
    }

    /// Runs `body(argument, index)` for each index below `count`.
    ///
    /// # Safety
    /// The body must be safe to call with this argument and each of these indices once, on any thread and at the same
    /// time.
    pub unsafe fn run(&self, count: usize, body: Body, argument: *mut c_void) {
        let shared = &*self.shared;
        let alone = self.threads.is_empty() || !(2..=Ticket::MOST_PARTS).contains(&count);
        if alone || shared.busy.swap(true, Ordering::Acquire) {
            for index in 0..count {
                // SAFETY: the promise of this function's caller.
                unsafe { body(argument, index) }
            }
            return;
        }
        shared.body.store(body as *mut (), Ordering::Relaxed);
        shared.argument.store(argument, Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        let region = Ticket(shared.ticket.load(Ordering::Relaxed)).next_region();
        shared.ticket.store(Ticket::new(region, count).0, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            self.threads.iter().for_each(|worker| worker.thread().unpark());
        }
        while shared.run_part(Side::First) {}
        let mut looks = 0u32;
        // Acquire: what the other threads wrote in their parts is there when this returns.
        while (shared.done.load(Ordering::Acquire) as usize) < count {
            looks += 1;
            if looks < SPINS_BEFORE_YIELD {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        shared.busy.store(false, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.threads.drain(..) {
            worker.thread().unpark();
            // Threads run nothing that panics but what a body does, which has to answer for that itself.
            let _ = worker.join();
        }
    }
}

/// [`Pool::run`] as C sees it.
unsafe extern "C" fn parallel_for(pool: *mut c_void, count: usize, body: Body, argument: *mut c_void) {
    // SAFETY: the pointer is that of a pool which outlives the context, and the rest the promise of compiled code: parts
    // of a step are independent of each other (the program's verifier proved it).
    unsafe { (*pool.cast::<Pool>()).run(count, body, argument) }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};
    use std::vec::Vec;

    use super::*;

    /// Counts how often each index came.
    unsafe extern "C" fn count(argument: *mut c_void, index: usize) {
        // SAFETY: the tests pass a vector that is longer than any index and outlives the region.
        let counts = unsafe { &*argument.cast::<Vec<AtomicUsize>>() };
        counts[index].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(length: usize) -> Vec<AtomicUsize> {
        (0..length).map(|_| AtomicUsize::new(0)).collect()
    }

    fn run(pool: &Pool, parts: usize, counts: &Vec<AtomicUsize>) {
        // SAFETY: see `count`.
        unsafe { pool.run(parts, count, core::ptr::from_ref(counts).cast_mut().cast()) }
    }

    #[test]
    fn every_part_runs_once() {
        for threads in 0..5 {
            let pool = Pool::new(threads).expect("threads");
            assert_eq!(pool.threads(), threads.max(1));
            for parts in [0, 1, 2, 3, 7, 64] {
                let counts = counts(64);
                (0..200).for_each(|_| run(&pool, parts, &counts));
                let got: Vec<usize> = counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
                assert!(got[..parts].iter().all(|&n| n == 200), "{threads} {parts} {got:?}");
                assert!(got[parts..].iter().all(|&n| n == 0), "{threads} {parts} {got:?}");
            }
        }
    }

    #[test]
    fn sleeping_threads_wake_and_end() {
        let pool = Pool::new(3).expect("threads");
        let counts = counts(4);
        for _ in 0..3 {
            run(&pool, 4, &counts);
            // Long enough for all to fall asleep, unless the machine is very busy; it is right in either case.
            thread::sleep(Duration::from_millis(5));
        }
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 3));
        drop(pool);
    }

    #[test]
    fn more_parts_than_a_ticket_counts() {
        let (pool, counts) = (Pool::new(2).expect("threads"), counts(Ticket::MOST_PARTS + 5));
        run(&pool, counts.len(), &counts);
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn concurrent_callers_share_a_pool() {
        let (pool, counts) = (Pool::new(2).expect("threads"), counts(3));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..500).for_each(|_| run(&pool, 3, &counts)));
            }
        });
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1500));
    }

    #[test]
    fn writes_of_parts_are_seen_after_the_region() {
        // Not atomic additions: each part has a cell of its own, read by the caller after each region.
        unsafe extern "C" fn write(argument: *mut c_void, index: usize) {
            // SAFETY: cells of different parts are apart; the vector outlives the region.
            unsafe { *argument.cast::<u64>().add(index) += index as u64 + 1 }
        }
        let pool = Pool::new(2).expect("threads");
        let mut cells = std::vec![0u64; 8];
        let start = Instant::now();
        for round in 1..=2000u64 {
            // SAFETY: see `write`.
            unsafe { pool.run(8, write, cells.as_mut_ptr().cast()) };
            assert!(cells.iter().enumerate().all(|(i, &cell)| cell == round * (i as u64 + 1)));
        }
        std::eprintln!("{:?} a region", start.elapsed() / 2000);
    }
}

//! What this machine can do at best, measured by kernels of our own through the same back end as any model's: multiply-adds
//! that wait for nothing, and reading memory of a size that each cache holds.
//!
//! A machine that others use too is never at its best for long. So limits are sampled in turn with what is held against
//! them, and the best sample counts.

use std::time::Instant;

use avocet_ir::backend::Backend;
use avocet_ir::kernel::{Access, Element, Kernel, KernelBuilder, ValueId};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_ir::{Tensor, TensorType};
use avocet_target_cranelift::emit::compile_kernels;
use avocet_target_cranelift::jit::Code;
use avocet_target_spec::Target;
use serde::Serialize;

use crate::backends::Backends;
use crate::error::Error;
use crate::jit::Compiled;

/// A level of memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// `L1`, `L2`, `L3` or `memory`.
    pub name: &'static str,
    /// Bytes that it holds; none for memory, which holds everything.
    pub bytes: Option<u64>,
    /// Reading from it, by one thread.
    pub gigabytes_per_second: f64,
}

/// The measured limits of one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Bits of the vectors that they were measured with: the widest of the back end.
    pub vector_bits: usize,
    /// Bits of the widest vectors that the processor has.
    pub processor_vector_bits: usize,
    /// Billions of floating-point operations in a second, two for each multiply-add.
    pub gflops: f64,
    /// Levels of memory, the nearest first; the last one is memory.
    pub levels: Vec<Level>,
}

impl Limits {
    /// The level that holds so many bytes.
    pub fn level(&self, bytes: u64) -> Option<&Level> {
        self.levels.iter().find(|level| level.bytes.is_none_or(|holds| bytes <= holds))
    }

    /// Least time in seconds to read or write so many bytes which lie among `footprint` bytes that are in use.
    pub fn transfer(&self, bytes: u64, footprint: u64) -> f64 {
        let speed = self.level(footprint).map_or(f64::INFINITY, |level| level.gigabytes_per_second);
        bytes as f64 / (speed * 1e9)
    }

    /// Least time in seconds for so many floating-point operations.
    pub fn compute(&self, operations: u64) -> f64 {
        operations as f64 / (self.gflops * 1e9)
    }
}

/// A kernel that does nothing but keep one part of the machine busy.
#[derive(Debug)]
struct Probe {
    compiled: Compiled,
    input: Tensor,
    /// Billions of operations or bytes of one run.
    giga: f64,
    /// Most of them in a second so far.
    best: f64,
}

/// Measures the limits, a sample at a time.
#[derive(Debug)]
pub struct Meter {
    vector_bits: usize,
    processor_vector_bits: usize,
    compute: Probe,
    levels: Vec<(&'static str, Option<u64>, Probe)>,
}

/// Bytes and operations of one try: a fraction of a millisecond, shorter than the time that an operating system gives to
/// one program before it turns to another.
const BYTES: usize = 8 << 20;
const OPERATIONS: usize = 10_000_000;
/// Tries in a sample, of all that is as short: one of them at least should be undisturbed.
const TRIES: usize = 10;
/// Size of the block that memory is measured on, within these bounds four times the last cache's.
const LARGE: std::ops::RangeInclusive<usize> = 64 << 20..=256 << 20;

impl Meter {
    /// Kernels for a target, which must be what this process runs on.
    pub fn new(target: &Target) -> Result<Self, Error> {
        let backend = Backends::new(target)?;
        let lanes = backend.lanes(Element::F32);
        let caches = &target.caches;
        let [l1, l2, l3] = [caches.l1d, caches.l2, caches.l3].map(|bytes| bytes as usize);
        let large = (4 * l3.max(l2)).clamp(*LARGE.start(), *LARGE.end());
        // Half of a core's own caches; a part of the last one, which others use too, that the one before can't hold.
        let sizes = [
            ("L1", l1, l1 / 2),
            ("L2", l2, (l2 / 2).max(l1 + l1 / 2)),
            ("L3", l3, (l3 / 4).max(l2 + l2 / 2)),
        ];
        let mut levels = Vec::new();
        for (name, holds, size) in sizes {
            if holds > 0 && size <= holds {
                levels.push((name, Some(holds as u64), Probe::stream(target, &backend, lanes, size)?));
            }
        }
        levels.push(("memory", None, Probe::stream(target, &backend, lanes, large)?));
        Ok(Meter {
            vector_bits: lanes * 32,
            processor_vector_bits: target.vector.bits.iter().max().map_or(0, |&bits| bits as usize),
            compute: Probe::multiply_adds(target, &backend, lanes)?,
            levels,
        })
    }

    /// Takes a sample of each limit.
    pub fn sample(&mut self) -> Result<(), Error> {
        self.compute.sample(TRIES)?;
        for (_, bytes, probe) in &mut self.levels {
            // Reading all of a large block takes so long that once has to do.
            probe.sample(if bytes.is_some() { TRIES } else { 1 })?;
        }
        Ok(())
    }

    /// The best samples so far.
    pub fn limits(&self) -> Limits {
        let level = |(name, bytes, probe): &(&'static str, Option<u64>, Probe)| Level {
            name,
            bytes: *bytes,
            gigabytes_per_second: probe.best,
        };
        Limits {
            vector_bits: self.vector_bits,
            processor_vector_bits: self.processor_vector_bits,
            gflops: self.compute.best,
            levels: self.levels.iter().map(level).collect(),
        }
    }
}

/// Billions of operations in a second, as [`Limits::gflops`], without measuring anything else. Best of a few samples.
pub(crate) fn compute(target: &Target) -> Result<f64, Error> {
    let backend = Backends::new(target)?;
    let mut probe = Probe::multiply_adds(target, &backend, backend.lanes(Element::F32))?;
    probe.sample(5 * TRIES)?;
    Ok(probe.best)
}

impl Probe {
    fn new(
        target: &Target,
        backend: &dyn Backend,
        kernel: Kernel,
        elements: usize,
        work: usize,
    ) -> Result<Self, Error> {
        let program = program(kernel, elements)?;
        let code = compile_kernels(&program, backend, &|_| {})?;
        let compiled = Compiled::new(Code::new(&program, &code, target)?, Vec::new(), &program);
        // Ones: sums of them stay normal numbers, on which every processor is as fast as it can be.
        let input = Tensor::f32([elements], vec![1.0; elements]).map_err(|_| Error::Probe)?;
        Ok(Probe { compiled, input, giga: work as f64 / 1e9, best: 0.0 })
    }

    /// Multiply-adds with as many sums as hide how long one takes.
    fn multiply_adds(target: &Target, backend: &dyn Backend, lanes: usize) -> Result<Self, Error> {
        const UNROLL: usize = 4;
        let sums = backend.vector_registers().saturating_sub(4).clamp(4, 16);
        let count = OPERATIONS / (2 * lanes * sums * UNROLL);
        let kernel = kernel(lanes, lanes, sums, |b, x, zeros| {
            let one = b.load_broadcast(lanes, x, 0usize);
            b.repeat_carrying(count, zeros, |b, _, sums| {
                (0..UNROLL).fold(sums.to_vec(), |sums, _| {
                    sums.into_iter().map(|sum| b.mul_add(one, one, sum)).collect()
                })
            })
        });
        Probe::new(target, backend, kernel, lanes, count * 2 * lanes * sums * UNROLL)
    }

    /// Reads a block of this size, as often as it takes.
    fn stream(target: &Target, backend: &dyn Backend, lanes: usize, bytes: usize) -> Result<Self, Error> {
        const SUMS: usize = 8;
        let blocks = bytes / (4 * lanes * SUMS);
        let elements = blocks * lanes * SUMS;
        let passes = (BYTES / bytes).max(1);
        let kernel = kernel(lanes, elements, SUMS, |b, x, zeros| {
            b.repeat_carrying(passes, zeros, |b, _, sums| {
                b.repeat_carrying(blocks, sums, |b, block, sums| {
                    let mut next = Vec::new();
                    for (number, &sum) in sums.iter().enumerate() {
                        let value = b.load(lanes, x, &block * (lanes * SUMS) + number * lanes);
                        next.push(b.add(sum, value));
                    }
                    next
                })
            })
        });
        Probe::new(target, backend, kernel, elements, passes * elements * 4)
    }

    fn sample(&mut self, tries: usize) -> Result<(), Error> {
        let mut session = self.compiled.session()?;
        for _ in 0..tries {
            let start = Instant::now();
            session.run(std::slice::from_ref(&self.input))?;
            self.best = self.best.max(self.giga / start.elapsed().as_secs_f64());
        }
        Ok(())
    }
}

/// A kernel that makes sums of its input and stores them.
fn kernel(
    lanes: usize,
    elements: usize,
    sums: usize,
    body: impl FnOnce(&mut KernelBuilder, avocet_ir::kernel::BufferId, &[ValueId]) -> Vec<ValueId>,
) -> Kernel {
    let mut b = KernelBuilder::new("probe");
    let x = b.buffer("x", Element::F32, elements, Access::Read);
    let y = b.buffer("y", Element::F32, lanes, Access::Write);
    let zero = b.f32(lanes, 0.0);
    let results = body(&mut b, x, &vec![zero; sums]);
    let sum = results.into_iter().reduce(|a, c| b.add(a, c)).unwrap_or(zero);
    b.store(y, 0usize, sum);
    b.finish()
}

/// A program of one kernel from an input to an output.
fn program(kernel: Kernel, elements: usize) -> Result<Program, Error> {
    let port = |name: &str, elements| {
        let ty = TensorType::f32([elements]).map_err(|_| Error::Probe)?;
        Ok::<_, Error>(Port { name: name.into(), ty })
    };
    let outputs = vec![port("y", kernel.buffers[1].length)?];
    let arguments = vec![Storage::Input(0).into(), Storage::Output(0).into()];
    let program = Program {
        name: "probe".into(),
        inputs: vec![port("x", elements)?],
        outputs,
        kernels: vec![kernel],
        steps: vec![Step::sequential(vec![Call {
            kernel: 0,
            arguments,
            in_place: Vec::new(),
            node: "probe".into(),
        }])],
        controls: Vec::new(),
        sizes: None,
        temporaries: Vec::new(),
        constants: Vec::new(),
        plan: Some(MemoryPlan { offsets: Vec::new(), bytes: 0, lower_bound: 0 }),
    };
    program.verify().map_err(|_| Error::Probe)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_this_machine() {
        let mut meter = Meter::new(&Target::host()).expect("the host");
        (0..3).for_each(|_| meter.sample().expect("a sample"));
        let limits = meter.limits();
        // A slow processor of twenty years ago, and more than any core will do.
        assert!((0.5..5000.0).contains(&limits.gflops), "{limits:?}");
        assert_eq!(limits.levels.last().map(|l| (l.name, l.bytes)), Some(("memory", None)));
        assert!(limits.levels.iter().all(|l| (0.1..20000.0).contains(&l.gigabytes_per_second)), "{limits:?}");
        let holds: Vec<_> = limits.levels.iter().filter_map(|l| l.bytes).collect();
        assert!(holds.is_sorted(), "{limits:?}");
    }

    #[test]
    fn the_level_that_holds_a_tensor_says_how_fast_it_is() {
        let level = |name, bytes, gigabytes_per_second| Level { name, bytes, gigabytes_per_second };
        let limits = Limits {
            vector_bits: 256,
            processor_vector_bits: 256,
            gflops: 100.0,
            levels: vec![level("L2", Some(1000), 50.0), level("memory", None, 10.0)],
        };
        assert_eq!(limits.transfer(500, 1000), 1e-8);
        assert_eq!(limits.transfer(500, 1001), 5e-8);
        assert_eq!(limits.compute(1_000), 1e-8);
    }
}

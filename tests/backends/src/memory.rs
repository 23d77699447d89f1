//! Buffers between pages that fault, and the call of compiled code on them: all `unsafe` code of the suite.
//!
//! A kernel that reads or writes one byte beyond its buffer on the side of the guard ends the test with a fault; on the
//! other side a write changes the margin, which is looked at afterwards.

use avocet_runtime::Context;
use avocet_target_cranelift::jit::Code;
use region::{Allocation, Protection};

/// Which end of a buffer touches a page that faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first byte.
    Start,
    /// The last byte.
    End,
}

/// What the bytes around a buffer hold.
const MARGIN: u8 = 0xa5;

/// Memory between guards; the bytes in use are one range, or two that are far apart.
pub struct Guarded {
    allocation: Allocation,
    /// Ranges of the contents, and the ranges of accessible pages around them, as offsets in the allocation.
    parts: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
}

impl Guarded {
    /// A buffer with these contents.
    pub fn new(contents: &[u8], edge: Edge) -> Self {
        let page = region::page::size();
        // A page more than needed, so that there is a margin even where the contents fill their pages.
        let pages = contents.len().next_multiple_of(page) + page;
        let mut memory = Guarded { allocation: reserve(pages + 2 * page), parts: Vec::new() };
        memory.open(page, pages);
        memory.place(contents, page..page + pages, edge);
        memory
    }

    /// A buffer of which only the start and, `distance` bytes further, the end exist.
    pub fn sparse(start: &[u8], end: &[u8], distance: usize) -> Self {
        let page = region::page::size();
        assert!(start.len() <= page && end.len() <= page && distance.is_multiple_of(page));
        let mut memory = Guarded { allocation: reserve(distance + 2 * page), parts: Vec::new() };
        for (contents, offset) in [(start, 0), (end, distance)] {
            memory.open(offset, page);
            memory.place(contents, offset..offset + page, Edge::Start);
        }
        memory
    }

    fn open(&mut self, offset: usize, bytes: usize) {
        let start = self.allocation.as_mut_ptr::<u8>().wrapping_add(offset);
        // SAFETY: the pages are in our own allocation, which nothing else refers to.
        unsafe { region::protect(start, bytes, Protection::READ_WRITE) }.expect("pages can be opened");
        // SAFETY: the pages were just made writable, and are in the allocation.
        unsafe { start.write_bytes(MARGIN, bytes) }
    }

    fn place(&mut self, contents: &[u8], pages: std::ops::Range<usize>, edge: Edge) {
        let start = match edge {
            Edge::Start => pages.start,
            Edge::End => pages.end - contents.len(),
        };
        let to = self.allocation.as_mut_ptr::<u8>().wrapping_add(start);
        // SAFETY: the range is in pages that `open` made writable.
        unsafe { to.copy_from_nonoverlapping(contents.as_ptr(), contents.len()) }
        self.parts.push((start..start + contents.len(), pages));
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        let start = self.allocation.as_ptr::<u8>().wrapping_add(range.start);
        // SAFETY: only ranges of accessible, initialized pages are asked for; kernels run only while `call` borrows
        // the memory exclusively.
        unsafe { std::slice::from_raw_parts(start, range.len()) }
    }

    /// Address of the buffer.
    pub fn pointer(&mut self) -> *mut u8 {
        self.allocation.as_mut_ptr::<u8>().wrapping_add(self.parts[0].0.start)
    }

    /// The contents; of a sparse buffer both parts, one after the other.
    pub fn contents(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|(contents, _)| self.bytes(contents.clone()).to_vec()).collect()
    }

    /// Whether the bytes around the contents are as they were.
    pub fn margin_is_intact(&self) -> bool {
        let is_margin = |range| self.bytes(range).iter().all(|&byte| byte == MARGIN);
        self.parts.iter().all(|(contents, pages)| {
            is_margin(pages.start..contents.start) && is_margin(contents.end..pages.end)
        })
    }
}

/// Address space that faults.
fn reserve(bytes: usize) -> Allocation {
    region::alloc(bytes, Protection::NONE).expect("address space")
}

/// Calls a program on buffers of the sizes that it declares; sparse ones only where it touches what exists.
pub fn call(code: &Code, inputs: &mut [Guarded], outputs: &mut [Guarded]) -> i32 {
    let inputs: Vec<_> = inputs.iter_mut().map(|m| m.pointer().cast_const().cast()).collect();
    let outputs: Vec<_> = outputs.iter_mut().map(|m| m.pointer().cast()).collect();
    let context = Context::new(std::ptr::null_mut(), std::ptr::null());
    // SAFETY: the buffers are borrowed exclusively and have the sizes that the program says, which the callers in this
    // crate derive from it; what a wrong kernel does beyond them is what the guards are for.
    unsafe { code.invoke(&inputs, &outputs, &context) }
}

//! The way back to the caller, from every instruction of compiled code.
//!
//! The processor stops after each instruction, and this process's unwinder is asked for the caller: wherever it stops, it
//! must find the same stack pointer and the same values of the registers that functions preserve.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use avocet_backend_tests::back_ends::{BackEnd, back_ends};
use avocet_backend_tests::check::program;
use avocet_backend_tests::memory::{Edge, Guarded, call};
use avocet_ir::kernel::{Access, Element, Kernel, KernelBuilder, ValueId};
use avocet_ir::program::{Program, Step, Storage};
use avocet_target_cranelift::jit::Code;

// libgcc's unwinder, which Rust's standard library links here.
unsafe extern "C" {
    fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    fn _Unwind_GetCFA(frame: *mut c_void) -> usize;
    fn _Unwind_GetGR(frame: *mut c_void, register: c_int) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

type Visit = extern "C" fn(frame: *mut c_void, argument: *mut c_void) -> c_int;

/// The stack pointer in [`stepping`], and its RBX, RBP, R12 to R15.
type Found = [usize; 7];
const PRESERVED: [c_int; 6] = [3, 6, 12, 13, 14, 15];

/// Where compiled code is: start and end.
static COMPILED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Instructions of compiled code, and the addresses of the first and of the first that does not lead back.
static STEPS: AtomicUsize = AtomicUsize::new(0);
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicUsize = AtomicUsize::new(0);
/// What the first instruction leads to.
static EXPECTED: [AtomicUsize; 7] = [const { AtomicUsize::new(0) }; 7];

extern "C" fn visit(frame: *mut c_void, found: *mut c_void) -> c_int {
    // SAFETY: the unwinder calls this with a frame of its own, and with what `way_back` hands over.
    let (address, found) = unsafe { (_Unwind_GetIP(frame), &mut *found.cast::<Found>()) };
    if enclosing(address.wrapping_sub(1)) != stepping as *const () as usize {
        return 0;
    }
    // SAFETY: as above; these registers are known in every frame, since the processor's state was saved by a signal.
    found[0] = unsafe { _Unwind_GetCFA(frame) };
    for (slot, register) in found[1..].iter_mut().zip(PRESERVED) {
        // SAFETY: as above.
        *slot = unsafe { _Unwind_GetGR(frame, register) };
    }
    // Any other value than 0 ends the walk.
    4
}

/// The function around an address, by its frame's description; 0 if there is none.
fn enclosing(address: usize) -> usize {
    // SAFETY: the address is only looked up.
    unsafe { _Unwind_FindEnclosingFunction(address as *mut c_void) as usize }
}

/// What the unwinder finds in [`stepping`]'s frame; zeros if it does not get there.
#[inline(never)]
fn way_back() -> Found {
    let mut found: Found = [0; 7];
    // SAFETY: `visit` takes the pointer as what it is, while it is borrowed here.
    unsafe { _Unwind_Backtrace(visit, (&raw mut found).cast()) };
    found
}

/// Called after each instruction.
extern "C" fn step(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system hands the state of the processor to a handler that asks for it.
    let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let address = registers[libc::REG_RIP as usize] as usize;
    let [start, end] = [0, 1].map(|i| COMPILED[i].load(Ordering::Relaxed));
    if !(start..end).contains(&address) {
        return;
    }
    let found = way_back();
    if STEPS.fetch_add(1, Ordering::Relaxed) == 0 {
        FIRST.store(address, Ordering::Relaxed);
        EXPECTED.iter().zip(found).for_each(|(slot, value)| slot.store(value, Ordering::Relaxed));
    } else if EXPECTED.iter().zip(found).any(|(slot, value)| slot.load(Ordering::Relaxed) != value) {
        let _ = LOST.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Runs code with a stop after each instruction; the frame that must be found, and the code's result.
#[inline(never)]
fn stepping(code: &Code, inputs: &mut [Guarded], outputs: &mut [Guarded]) -> (Found, i32) {
    let here = way_back();
    // SAFETY: sets the trap flag, for which there is a handler.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    let status = call(code, inputs, outputs);
    // SAFETY: clears it.
    unsafe { asm!("pushfq", "and qword ptr [rsp], -0x101", "popfq") };
    (here, status)
}

fn handle_traps() {
    // SAFETY: zeros are a valid `sigaction`, and the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = step;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()), 0);
    }
}

/// A kernel of more pointers and values than there are registers.
fn kernel(lanes: usize) -> Kernel {
    let mut b = KernelBuilder::new("test");
    let inputs: Vec<_> =
        (0..14).map(|i| b.buffer(format!("x{i}"), Element::F32, 3 * lanes, Access::Read)).collect();
    let y = b.buffer("y", Element::F32, 40 * lanes, Access::Write);
    let zero = b.f32(lanes, 0.5);
    let sums = b.repeat_carrying(3, &[zero; 40], |b, i, sums| {
        let mut next: Vec<ValueId> = Vec::new();
        for (number, &sum) in sums.iter().enumerate() {
            let value = b.load(lanes, inputs[number % inputs.len()], &i * lanes);
            next.push(b.mul_add(sum, value, sum));
        }
        next
    });
    for (i, &sum) in sums.iter().enumerate() {
        b.store(y, i * lanes, sum);
    }
    b.finish()
}

/// The program with its call twice, in two parts of one step, so that there is a function for the step.
fn in_parts(mut program: Program) -> Program {
    let first = program.steps[0].parts[0].clone();
    let mut second = first.clone();
    program.outputs.push(program.outputs[0].clone());
    if let Some(argument) = second[0].arguments.last_mut() {
        *argument = Storage::Output(1).into();
    }
    program.steps = vec![Step { parts: vec![first, second] }];
    program.verify().expect("valid");
    program
}

/// The pages of this process that are executable and belong to no file.
fn anonymous_code() -> Vec<[usize; 2]> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let fields = maps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ranges = fields.filter(|fields| fields.len() == 5 && fields[1].contains('x')).map(|fields| {
        let (start, end) = fields[0].split_once('-').expect("a range");
        [start, end].map(|text| usize::from_str_radix(text, 16).expect("an address"))
    });
    ranges.collect()
}

fn check(back_end: &BackEnd, kernel: &Kernel, program: &Program) {
    let name = back_end.name();
    let compiled = back_end.backend.compile(kernel).unwrap_or_else(|e| panic!("{name}: {e}"));
    let code = Code::new(program, &[compiled], &back_end.target).unwrap_or_else(|e| panic!("{name}: {e}"));
    let ranges = anonymous_code();
    let (first, last) = (ranges.first().expect("code"), ranges.last().expect("code"));
    COMPILED.iter().zip([first[0], last[1]]).for_each(|(slot, value)| slot.store(value, Ordering::Relaxed));
    for slot in [&STEPS, &FIRST, &LOST] {
        slot.store(0, Ordering::Relaxed);
    }
    let guarded = |bytes: usize| Guarded::new(&vec![0; bytes], Edge::End);
    let size = |number: usize| kernel.buffers[number].length * 4;
    let last = kernel.buffers.len() - 1;
    let mut inputs: Vec<Guarded> = (0..last).map(|number| guarded(size(number))).collect();
    let mut outputs: Vec<Guarded> = program.outputs.iter().map(|_| guarded(size(last))).collect();
    let (here, status) = stepping(&code, &mut inputs, &mut outputs);
    assert_eq!(status, 0, "{name}");
    let (steps, lost) = (STEPS.load(Ordering::Relaxed), LOST.load(Ordering::Relaxed));
    assert!(steps > 300, "{name}: {steps} instructions");
    assert_ne!(here[0], 0);
    assert_eq!(
        EXPECTED[0].load(Ordering::Relaxed),
        here[0],
        "{name}: the entry function's first instruction"
    );
    let function = enclosing(lost);
    let offset = lost.wrapping_sub(function);
    assert_eq!(lost, 0, "{name}: no way back from offset {offset:#x} of a function\n{kernel}");
    // With the code goes what is known of it.
    let first = FIRST.load(Ordering::Relaxed);
    assert_ne!(enclosing(first), 0, "{name}");
    drop(code);
    assert_eq!(enclosing(first), 0, "{name}");
}

#[test]
fn every_instruction_leads_back_to_the_caller() {
    handle_traps();
    // What this process runs itself: an emulator can't be stepped through from here.
    for back_end in back_ends().iter().filter(|back_end| back_end.emulator.is_none()) {
        let kernel = kernel(back_end.backend.lanes(Element::F32));
        kernel.verify().expect("valid");
        let program = program(&kernel);
        check(back_end, &kernel, &program);
        check(back_end, &kernel, &in_parts(program));
    }
}

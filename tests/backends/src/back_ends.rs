//! The back ends under test: each target that this machine can run, itself or by emulation, by each back end that it has.

use std::sync::OnceLock;

use avocet_ir::backend::Backend;
use avocet_ir::kernel::Element;
use avocet_target_cranelift::Cranelift;
use avocet_target_spec::Target;
use avocet_target_x86::X86;
use target_lexicon::Triple;

use crate::emulator::{EMULATORS, Emulator};

/// A back end for one target, with what it promises.
pub struct BackEnd {
    /// The back end.
    pub backend: Box<dyn Backend + Send>,
    /// The target, with this machine's operating system.
    pub target: Target,
    /// Whether it takes every power of two up to [`Backend::lanes`]; otherwise scalars and the widest vector only.
    pub all_lanes: bool,
    /// What runs the code where this process can't.
    pub emulator: Option<Emulator>,
}

impl BackEnd {
    /// Name for messages.
    pub fn name(&self) -> String {
        format!("{} for {}", self.backend.name(), self.target.name)
    }

    /// The numbers of lanes of this element that the back end must take; none for elements that it refuses.
    pub fn lanes(&self, element: Element) -> Vec<usize> {
        let widest = self.backend.lanes(element);
        match element {
            Element::F32 | Element::I32 if self.all_lanes => {
                (0..).map(|bits| 1 << bits).take_while(|&lanes| lanes <= widest).collect()
            }
            _ if self.all_lanes => Vec::new(),
            _ if widest == 1 => vec![1],
            // RISC-V takes all in between. Every length is tested on some target; scalars on those that have few others.
            Element::F32 | Element::I32 if widest > 4 => vec![widest / 4, widest],
            _ => vec![1, widest],
        }
    }
}

/// A built-in target with this machine's operating system, so that the calling convention is this process's.
pub fn target(name: &str) -> Target {
    let target = Target::by_name(name).expect("a built-in target");
    Target { triple: Triple::host(), ..target }
}

/// All back ends whose code this machine can run or emulate; which instruction sets it has is found out at run time.
pub fn back_ends() -> &'static [BackEnd] {
    static FOUND: OnceLock<Vec<BackEnd>> = OnceLock::new();
    FOUND.get_or_init(find)
}

fn find() -> Vec<BackEnd> {
    let host = Target::host();
    let mut found = Vec::new();
    let built_in = ["x86-64", "x86-64-v3", "x86-64-v4"].map(|name| Target::by_name(name).expect("built in"));
    for target in built_in.iter().filter(|t| t.triple.architecture == host.triple.architecture) {
        if target.features.iter().all(|feature| host.has_feature(feature)) {
            let target = self::target(&target.name);
            if let Ok(x86) = X86::new(&target) {
                found.push(BackEnd {
                    backend: Box::new(x86),
                    target: target.clone(),
                    all_lanes: true,
                    emulator: None,
                });
            }
            let cranelift = Cranelift::new(&target).expect("Cranelift has every built-in target");
            found.push(BackEnd { backend: Box::new(cranelift), target, all_lanes: false, emulator: None });
        }
    }
    if found.is_empty() {
        // Another architecture: Cranelift alone.
        let cranelift = Cranelift::new(&host).expect("Cranelift has this machine");
        found.push(BackEnd { backend: Box::new(cranelift), target: host, all_lanes: false, emulator: None });
    }
    for emulator in EMULATORS {
        let target = emulator.target();
        let cranelift = Cranelift::new(&target).expect("Cranelift has every built-in target");
        found.push(BackEnd {
            backend: Box::new(cranelift),
            target,
            all_lanes: false,
            emulator: Some(emulator),
        });
    }
    found
}

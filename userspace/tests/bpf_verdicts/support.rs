//! What the tests of all programs need: counters to compare with, and the same
//! random frames in every run.

use ringtun::bpf::testrun::TestRunOutcome;
use ringtun::bpf::{BpfError, Counts, LanProgram, WanProgram};
use ringtun_common::class::Class;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::{Action, Verdict};

pub const XDP_PASS: u32 = 2;
pub const XDP_REDIRECT: u32 = 4;

/// The kernel runs no program on less than an Ethernet header; the host parser
/// sees those fixtures.
pub const SHORTEST_FRAME: usize = 14;

/// The kernel says of every test run that its frame came in by queue 0 of this.
pub const LOOPBACK: u32 = 1;

/// A program that was loaded.
pub trait Program {
    fn test_run(&self, frame: &[u8]) -> Result<TestRunOutcome, BpfError>;
    fn verdict(&self, verdict: Verdict) -> Result<Counter, BpfError>;
    fn class(&self, class: Class) -> Result<Counter, BpfError>;
    fn counts(&self) -> Result<Counts, BpfError>;
}

macro_rules! program {
    ($name:ident) => {
        impl Program for $name {
            fn test_run(&self, frame: &[u8]) -> Result<TestRunOutcome, BpfError> {
                self.test_run(frame, 1)
            }
            fn verdict(&self, verdict: Verdict) -> Result<Counter, BpfError> {
                self.verdict(verdict)
            }
            fn class(&self, class: Class) -> Result<Counter, BpfError> {
                self.class(class)
            }
            fn counts(&self) -> Result<Counts, BpfError> {
                self.counts()
            }
        }
    };
}
program!(WanProgram);
program!(LanProgram);

/// The object that `$RINGTUN_TEST_BPF` names, one that was broken on purpose;
/// `None` for the embedded one.
pub fn object() -> Option<Vec<u8>> {
    std::env::var_os("RINGTUN_TEST_BPF").map(|object| std::fs::read(object).unwrap())
}

fn action(verdict: Verdict) -> u32 {
    match verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Redirect => XDP_REDIRECT,
    }
}

/// A program in the kernel, and what it must have counted.
pub struct Kernel<P> {
    pub program: P,
    verdicts: [Counter; Verdict::COUNT],
    classes: [Counter; Class::COUNT],
}

impl<P: Program> Kernel<P> {
    pub fn new(program: P) -> Self {
        Self {
            program,
            verdicts: [Counter::default(); Verdict::COUNT],
            classes: [Counter::default(); Class::COUNT],
        }
    }

    /// Runs the program once on a frame that must become `after`. Had it said
    /// anything else, the counters of what was expected would not have grown.
    #[track_caller]
    pub fn run(
        &mut self,
        frame: &[u8],
        (class, verdict): (Class, Verdict),
        after: &[u8],
        name: &str,
    ) {
        let outcome = self.program.test_run(frame).unwrap();
        let of_verdict = &mut self.verdicts[verdict.index() as usize];
        let of_class = &mut self.classes[class.index() as usize];
        for counter in [&mut *of_verdict, &mut *of_class] {
            counter.packets += 1;
            counter.bytes += frame.len() as u64;
        }
        let counted = self.program.verdict(verdict).unwrap();
        assert_eq!(counted, *of_verdict, "{name}: {verdict:?} of {frame:02x?}");
        let counted = self.program.class(class).unwrap();
        assert_eq!(counted, *of_class, "{name}: {class:?} of {frame:02x?}");
        assert_eq!(outcome.action, action(verdict), "{name}");
        assert!(
            outcome.frame == after,
            "{name}: {frame:02x?}\nbecame {:02x?}\nnot    {after:02x?}",
            outcome.frame
        );
    }

    /// Nothing was counted besides.
    #[track_caller]
    pub fn finish(&self) {
        let counts = self.program.counts().unwrap();
        for verdict in Verdict::ALL {
            let expected = self.verdicts[verdict.index() as usize];
            assert_eq!(counts.verdict(*verdict), expected, "{}", verdict.label());
        }
        for class in Class::ALL {
            let expected = self.classes[class.index() as usize];
            assert_eq!(counts.class(*class), expected, "{}", class.label());
        }
    }

    /// Whether a frame got this verdict.
    pub fn has_seen(&self, verdict: Verdict) -> bool {
        self.verdicts[verdict.index() as usize].packets > 0
    }

    /// Whether a frame of every class was there.
    pub fn has_seen_every_class(&self) -> bool {
        self.classes.iter().all(|counter| counter.packets > 0)
    }
}

/// One of `frames` with bytes changed, parts exchanged and its end cut off.
pub fn mutated(random: &mut Random, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = frames[random.below(frames.len())].clone();
    frame.truncate(400);
    for _ in 0..random.below(4) {
        // Headers are what decides.
        let at = random.below(frame.len().min(80));
        let other = &frames[random.below(frames.len())];
        frame[at] = match random.below(3) {
            0 => random.below(256) as u8,
            1 => frame[at] ^ 1 << random.below(8),
            _ => other.get(at).copied().unwrap_or(0xff),
        };
    }
    if random.below(4) == 0 {
        frame.truncate(SHORTEST_FRAME + random.below(frame.len() - SHORTEST_FRAME + 1));
    }
    frame
}

/// SplitMix64: the same frames in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

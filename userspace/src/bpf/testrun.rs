//! Programs run on frames without any interface (`BPF_PROG_TEST_RUN`).

use super::BpfError;
use super::object::Object;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use ringtun_common::tables::PASS_PROGRAM;
use std::time::Duration;

/// What came of running a program on one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunOutcome {
    /// The XDP action, as in `enum xdp_action` of the kernel.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean duration of one run.
    pub duration: Duration,
}

/// The program that passes everything unseen: what the kernel's own part of a
/// test run takes.
#[derive(Debug)]
pub struct PassProgram(Object);

impl PassProgram {
    /// Loads the embedded program.
    ///
    /// # Errors
    /// [`BpfError::NotEmbedded`] in a build without it; otherwise what the
    /// kernel says.
    pub fn load() -> Result<Self, BpfError> {
        Ok(Self(Object::load(PASS_PROGRAM)?))
    }

    /// Runs it `repeat` times on a frame of at least 14 bytes.
    ///
    /// # Errors
    /// As [`WanProgram::test_run`](super::WanProgram::test_run).
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, BpfError> {
        self.0.test_run(frame, repeat)
    }
}

pub(super) fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, BpfError> {
    let mut out = vec![0; frame.len()];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        repeat,
        ..TestRunOptions::default()
    })?;
    out.truncate(result.data_size_out as usize);
    Ok(TestRunOutcome {
        action: result.return_value,
        frame: out,
        duration: result.duration,
    })
}

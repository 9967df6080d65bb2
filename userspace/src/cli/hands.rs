//! The thread that sets up.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::sync::oneshot;

/// A thread with the rights that the process began with, for hooks and whatever else
/// setting up starts. It ends with this value, which waits for what it is at.
pub struct Hands {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Hands {
    /// Before rights are given up.
    pub fn start() -> Result<Self> {
        let (jobs, work) = mpsc::channel::<Job>();
        let thread = thread::Builder::new()
            .name("set-up".to_owned())
            .spawn(move || work.into_iter().for_each(|job| job()))
            .context("cannot start a thread")?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Does it there; there is no result if it panics.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = tell.send(work());
        });
        // Without the thread there is no result either.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
        told
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

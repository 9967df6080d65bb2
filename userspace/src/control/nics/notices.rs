//! What the program on the cards logs, in the agent's log.

use std::future::poll_fn;
use std::task::{Poll, ready};

use super::Nics;
use crate::bpf::WanProgram;

impl Nics {
    /// Lines of this program are told from now on.
    pub(super) fn follow_notices(&self, program: &mut WanProgram) {
        // It has said why there are none.
        let Some(notices) = program.take_notices() else {
            return;
        };
        match notices.follow() {
            Ok(notices) => {
                self.notices.replace(Some(notices));
            }
            Err(error) => {
                tracing::warn!(event = "xdp_log_unread", %error, "what the XDP program logs is not read")
            }
        }
    }

    /// Waits until lines were told: for ever while there are none to wait for.
    pub(super) async fn notices_told(&self) {
        poll_fn(|context| {
            let mut notices = self.notices.borrow_mut();
            let Some(followed) = &mut *notices else {
                return Poll::Pending;
            };
            if let Err(error) = ready!(followed.poll_tell(context)) {
                tracing::warn!(event = "xdp_log_ended", %error, "what the XDP program logs is not read any more");
                *notices = None;
            }
            Poll::Ready(())
        })
        .await;
    }
}

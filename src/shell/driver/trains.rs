//! What trains of probes need of the world: moments, the transport's counts, signatures.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::latency::train::PathCount;
use crate::membership::roster::Unverified;
use crate::node::input::Input;
use crate::node::output::{Job, Outbox, Output};
use crate::shell::driver::{Driver, Hands, Next};
use crate::shell::identity::Identity;
use crate::shell::machine;
use crate::shell::open::is_dcc;
use crate::shell::pacer::{Pacer, Waiting};

/// Jobs beside the core. Full: the job is not done, and what waits for it gives up in time.
const WORKS_MAX: usize = 64;

/// The end of the queue at which jobs are done, and the key they are done with.
pub(in crate::shell) struct Jobs {
    works: mpsc::Receiver<Work>,
    identity: Arc<Identity>,
    config: PathBuf,
}

impl Jobs {
    /// Makes a queue of jobs.
    pub(in crate::shell) fn new(
        identity: Arc<Identity>,
        config: PathBuf,
    ) -> (mpsc::Sender<Work>, Self) {
        let (sender, works) = mpsc::channel(WORKS_MAX);
        let jobs = Self {
            works,
            identity,
            config,
        };
        (sender, jobs)
    }
}

/// One job.
pub(in crate::shell) struct Work {
    number: u64,
    job: Job,
    bytes: Vec<u8>,
}

impl Driver {
    /// Does what the node asks for in order to measure; what follows at once goes to `backlog`.
    pub(super) fn act_on_trains(
        &self,
        hands: &Hands,
        output: Output,
        outbox: &Outbox,
        backlog: &mut impl Extend<Next>,
    ) {
        match output {
            Output::Pace {
                train,
                first,
                interval,
                slots,
            } => hands.pacer.begin(train, first, interval, slots),
            Output::PaceOver { train } => {
                let late = hands.pacer.end(train);
                backlog.extend([Next::PaceOver(train, late)]);
            }
            Output::Probe {
                link,
                train,
                number,
                bytes,
            } => {
                if is_dcc(link) {
                    return self.send_datagram(hands, link, bytes, outbox);
                }
                let is_idle = hands.mesh.is_idle(link);
                let sent = is_idle.then(|| hands.mesh.send_datagram(link, outbox.read(bytes)));
                if !matches!(sent, Some(Ok(()))) {
                    backlog.extend([Next::ProbeRefused(train, number)]);
                }
            }
            Output::CountPath { link, train } => {
                if let Some(count) = hands.mesh.path_count(link) {
                    let at = self.clock.now();
                    backlog.extend([Next::PathCounted(train, PathCount { at, ..count })]);
                }
            }
            Output::Work { work, job, bytes } => {
                let work = Work {
                    number: work,
                    job,
                    bytes: outbox.read(bytes).to_vec(),
                };
                if hands.works.try_send(work).is_err() {
                    tracing::debug!(node = self.name, "too many jobs beside the core");
                }
            }
            Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::Forget { .. }
            | Output::Standing { .. }
            | Output::Announce { .. }
            | Output::Speaker { .. }
            | Output::Roster { .. }
            | Output::RosterHeard { .. }
            | Output::LinkStream { .. }
            | Output::LinkDatagram { .. }
            | Output::VenueFrame { .. }
            | Output::VenueReconnect { .. }
            | Output::VenueRequest { .. }
            | Output::Journal { .. }
            | Output::Answer { .. }
            | Output::Transfer { .. }
            | Output::Notice { .. } => (),
        }
    }

    /// Calls the node at the moments that the pacing thread keeps.
    pub(super) async fn follow_pacer(self: Rc<Self>, waiting: Waiting) {
        while !self.is_stopped() {
            for train in Pacer::due(&waiting).await {
                self.step(Input::Paced { train });
            }
        }
    }

    /// Does jobs one after another on another thread, so that the core does not wait for them.
    pub(super) async fn follow_works(self: Rc<Self>, mut jobs: Jobs) {
        let key = jobs.identity.node_key();
        while let Some(Work { number, job, bytes }) = jobs.works.recv().await {
            let (identity, config) = (Arc::clone(&jobs.identity), jobs.config.clone());
            let done = spawn_blocking(move || match job {
                Job::Sign => identity.sign(&bytes).to_vec(),
                Job::VerifyRoster => match Unverified::read(&bytes).map(Unverified::verify) {
                    Ok(Ok(_)) => bytes,
                    Ok(Err(_)) | Err(_) => Vec::new(),
                },
                Job::Report => machine::report_of_lines(&identity, &config, &bytes)
                    .map_or_else(Vec::new, String::into_bytes),
            });
            if let Ok(bytes) = done.await {
                self.step(Input::Worked {
                    work: number,
                    key,
                    bytes: &bytes,
                });
            }
        }
    }
}

//! One link over DCC: frames each way, at the pace that its peer is allowed.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::model::ids::LinkNo;
use crate::shell::frames::{Allowance, Frames, framed};
use crate::shell::open::Told;
use crate::shell::socket::Socket;

/// What stands before a message that may be lost, where a stream's frames have their kind.
pub(super) const DATAGRAM: u8 = 5;
/// Frames that wait for a peer that reads slowly. Full: its link is closed.
pub(super) const WAITING_MAX: usize = 512;
/// How long nothing may come: the node probes twice a second.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long one write may take.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1_024;
/// Frames of a stranger at once, and in a millisecond.
pub(super) const STRANGER: (u32, u32) = (2_000, 1);

/// Why a link ended.
#[derive(Debug, Error)]
pub(super) enum LinkEnd {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the peer closed it")]
    Ended,
    #[error("closed by this node")]
    Closed,
    #[error("a frame of {0} bytes")]
    Frame(u32),
    #[error("the peer sends more than its allowance")]
    Flood,
    #[error("nothing came for 15 s")]
    Silent,
    #[error("the peer does not read")]
    Slow,
}

/// Carries a link until it ends; `rest` is what was read already.
pub(super) async fn carry(
    link: LinkNo,
    socket: Box<dyn Socket>,
    rest: Vec<u8>,
    allowance: Allowance,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    told: mpsc::Sender<Told>,
) -> LinkEnd {
    let (read, write) = split(socket);
    tokio::select! {
        end = hear(link, read, rest, allowance, &told) => end,
        end = say(write, &mut waiting) => end,
    }
}

async fn hear(
    link: LinkNo,
    mut read: ReadHalf<Box<dyn Socket>>,
    rest: Vec<u8>,
    allowance: Allowance,
    told: &mpsc::Sender<Told>,
) -> LinkEnd {
    let mut frames = Frames::default();
    frames.buffer.extend_from_slice(&rest);
    loop {
        loop {
            let bytes = match frames.next() {
                Ok(Some(frame)) => frame.to_vec(),
                Ok(None) => break,
                Err(length) => return LinkEnd::Frame(length),
            };
            if !allowance.take() {
                return LinkEnd::Flood;
            }
            // Where the core has much to do, this peer waits, and nobody else does.
            if told.send(Told::Frame { link, bytes }).await.is_err() {
                return LinkEnd::Closed;
            }
        }
        frames.buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            read = read.read_buf(&mut frames.buffer) => read,
            () = sleep(SILENCE_MAX) => return LinkEnd::Silent,
        };
        match read {
            Ok(0) => return LinkEnd::Ended,
            Ok(_) => (),
            Err(error) => return error.into(),
        }
    }
}

async fn say(
    mut write: WriteHalf<Box<dyn Socket>>,
    waiting: &mut mpsc::Receiver<Vec<u8>>,
) -> LinkEnd {
    while let Some(first) = waiting.recv().await {
        let written = timeout(WRITE_MAX, async {
            write.write_all(&framed(&first)).await?;
            // What waits behind it leaves with it.
            while let Ok(next) = waiting.try_recv() {
                write.write_all(&framed(&next)).await?;
            }
            write.flush().await
        });
        match written.await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => return error.into(),
            Err(_) => return LinkEnd::Slow,
        }
    }
    // A good-bye that cannot be said changes nothing.
    write.shutdown().await.ok();
    LinkEnd::Closed
}

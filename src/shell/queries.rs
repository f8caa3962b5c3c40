//! Questions to one venue, apart from its orders: few at a time, each with a deadline and a limit.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::model::ids::RequestNo;
use crate::model::instrument::VenueId;
use crate::node::input::Outcome;
use crate::shell::VenueSink;
use crate::venue::Asked;
use crate::venue::http::{BODY_BYTES_MAX, USER_AGENT, parse_request};

/// A question as its dialect wrote it.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) request: RequestNo,
    pub(super) asked: Asked,
    pub(super) bytes: Vec<u8>,
}

/// Asks the questions of one venue.
pub(super) struct Queries {
    venue: VenueId,
    /// `http://host:port` or `https://host`.
    http: String,
    client: reqwest::Client,
    sink: Rc<dyn VenueSink>,
}

impl Queries {
    /// Questions that wait; one more is not sent.
    const WAITING_MAX: usize = 32;
    /// Questions in flight.
    const IN_FLIGHT_MAX: usize = 4;
    /// How long an answer may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(super) fn start(
        venue: VenueId,
        http: String,
        ca_pem: Option<&[u8]>,
        sink: Rc<dyn VenueSink>,
    ) -> Result<mpsc::Sender<Query>, reqwest::Error> {
        let client = client(ca_pem)?;
        let queries = Rc::new(Self {
            venue,
            http,
            client,
            sink,
        });
        let (sender, waiting) = mpsc::channel(Self::WAITING_MAX);
        spawn_local(queries.run(waiting));
        Ok(sender)
    }

    async fn run(self: Rc<Self>, mut waiting: mpsc::Receiver<Query>) {
        let permits = Arc::new(Semaphore::new(Self::IN_FLIGHT_MAX));
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let Some(query) = waiting.recv().await else {
                return;
            };
            spawn_local(Rc::clone(&self).answer(query, permit));
        }
    }

    async fn answer(self: Rc<Self>, query: Query, permit: OwnedSemaphorePermit) {
        let asked = timeout(Self::PATIENCE, self.ask(&query.bytes)).await;
        drop(permit);
        let outcome = match &asked {
            Ok(Ok((status, body))) => Outcome::Reply {
                status: *status,
                body,
            },
            Ok(Err(AskError::NotSent)) => Outcome::NotSent,
            Ok(Err(AskError::Lost)) | Err(_) => Outcome::Lost,
        };
        self.sink
            .reply(self.venue, query.request, query.asked, outcome);
    }

    async fn ask(&self, bytes: &[u8]) -> Result<(u16, Vec<u8>), AskError> {
        let parsed = parse_request(bytes, BODY_BYTES_MAX).map_err(|_| AskError::NotSent)?;
        let request = parsed.ok_or(AskError::NotSent)?;
        let method: reqwest::Method = request.method.parse().map_err(|_| AskError::NotSent)?;
        let url = format!("{}{}", self.http, request.target);
        let mut builder = self
            .client
            .request(method, url)
            .body(request.body.into_owned());
        for (name, value) in request.headers {
            let is_ours = ["host", "content-length", "connection"]
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours));
            if !is_ours {
                builder = builder.header(name, value);
            }
        }
        let mut response = builder.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                AskError::NotSent
            } else {
                AskError::Lost
            }
        })?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| AskError::Lost)? {
            if chunk.len() > BODY_BYTES_MAX - body.len() {
                return Err(AskError::Lost);
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

fn client(ca_pem: Option<&[u8]>) -> Result<reqwest::Client, reqwest::Error> {
    // Another provider may be installed already; either serves.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Queries::PATIENCE);
    match ca_pem {
        Some(pem) => builder
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?)
            .build(),
        None => builder.build(),
    }
}

/// Fetches one small document.
pub(super) async fn get(url: &str) -> Result<Vec<u8>, reqwest::Error> {
    const DOCUMENT_BYTES_MAX: usize = 4_096;
    get_at_most(url, None, DOCUMENT_BYTES_MAX).await
}

/// Fetches a document of the public; it ends where it gets longer than what is read of a reply.
pub(super) async fn get_document(
    url: &str,
    ca_pem: Option<&[u8]>,
) -> Result<Vec<u8>, reqwest::Error> {
    get_at_most(url, ca_pem, BODY_BYTES_MAX).await
}

async fn get_at_most(
    url: &str,
    ca_pem: Option<&[u8]>,
    bytes_max: usize,
) -> Result<Vec<u8>, reqwest::Error> {
    let request = client(ca_pem)?.get(url);
    let request = request.header(reqwest::header::USER_AGENT, USER_AGENT);
    let mut response = request.send().await?.error_for_status()?;
    let mut body = Vec::new();
    while body.len() < bytes_max
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why there is no answer.
enum AskError {
    NotSent,
    Lost,
}

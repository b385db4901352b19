//! Reports through NATS JetStream: acknowledged when the stream has them, written to the store by whichever node gets them.
//!
//! One stream keeps what no store has yet (a work queue: what is acknowledged goes), on three servers where there are three. Reports are spread
//! over partitions by their agent; each partition has one durable consumer that all nodes pull from, so that nodes share the work and one
//! that dies leaves nothing behind: what it did not acknowledge is delivered to another. All partitions of a node feed its one writer, which
//! makes few and large transactions of them. A delivery is acknowledged after the store's commit; one that comes twice is a duplicate there.
//!
//! Configuration stays in the database, and is not copied to a key-value bucket: agents' rows, keys and schedules are changed by people in
//! transactions there, agents get theirs with the answer to a report, and a second copy could only be older.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, AckKind, Context, Message};
use async_nats::{Client, ConnectOptions, Event};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Away, Bus, message};
use crate::api::News;
use crate::clock::random;
use crate::ingest::writer::{WriteError, Writer};
use crate::store::{Outcome, Record, Summary, Tenant};

/// The stream.
const STREAM: &str = "GREENROOM_REPORTS";

/// Subjects of reports: behind it the partition.
const SUBJECT: &str = "greenroom.report";

/// Subject on which nodes tell each other what is new. Not kept.
const LIVE: &str = "greenroom.live";

/// Partitions. More would make each fetch smaller; fewer, fewer consumers to share a large fleet's work.
const PARTITIONS: u64 = 8;

/// Deliveries of one partition that are not acknowledged yet, over all nodes.
const PENDING: i64 = 128;

/// Deliveries that one node works on: each takes some 100 kB.
const AT_ONCE: usize = 512;

/// Messages asked for at a time, and how long that stands.
const FETCH: usize = 64;
const FETCH_LASTS: Duration = Duration::from_secs(2);

/// After so long without an acknowledgement a message is delivered again, to any node. The store is given 20 s.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How long an answer of the servers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Within this the servers themselves know a report that is handed over again. Beyond, the store does.
const KNOWN_FOR: Duration = Duration::from_secs(120);

/// How long to wait before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// After how long a message is delivered again that this version cannot read: a newer node may.
const NOT_OURS: Duration = Duration::from_secs(30);

/// How long a cluster that begins may take to choose who leads.
const BEGINS: u32 = 40;

/// News for other nodes that wait to be told; beyond that some are not.
const NEWS: usize = 1_024;

/// Where the servers are, and what lets in there.
#[derive(Clone)]
pub struct NatsConfig {
    /// `nats://` or `tls://` and host, several with commas between. May hold a password.
    pub servers: String,
    /// File with credentials (JWT and nkey).
    pub credentials: Option<PathBuf>,
    /// Certificates in PEM of the authority that the servers' are checked by; `None`: what the system trusts.
    pub authority: Option<PathBuf>,
}

impl std::fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsConfig").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The credentials or certificates cannot be read.
    #[error("cannot read {}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The address is none.
    #[error("write nats://HOST:4222 or tls://HOST:4222, several with commas between ({0})")]
    Address(String),
    /// The servers do not answer, or do not let in.
    #[error("the NATS servers cannot be reached: {0}")]
    Connect(String),
    /// They have no JetStream, or it does not make the stream.
    #[error("NATS JetStream does not keep the stream {STREAM}: {0}")]
    Stream(String),
}

/// A stream of reports on NATS servers.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    context: Context,
    stream: Stream,
    replicas: usize,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects, and makes the stream where there is none.
    ///
    /// # Errors
    /// When the servers cannot be reached, or do not keep streams.
    pub async fn connect(config: &NatsConfig) -> Result<Self, NatsError> {
        let servers: Result<Vec<async_nats::ServerAddr>, _> =
            config.servers.split(',').map(|server| server.trim().parse()).collect();
        // The text is not repeated: it may hold a password.
        let servers =
            servers.map_err(|error: std::io::Error| NatsError::Address(error.kind().to_string()))?;
        let mut options = ConnectOptions::new()
            .name("greenroom")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(Duration::from_secs(10))
            .event_callback(|event| async move { told(&event) });
        if let Some(path) = &config.authority {
            options = options.add_root_certificates(path.clone());
        }
        if let Some(path) = &config.credentials {
            let read = options.credentials_file(path).await;
            options =
                read.map_err(|error| NatsError::File { path: path.clone(), problem: error.to_string() })?;
        }
        let client = options.connect(servers).await.map_err(|error| NatsError::Connect(error.to_string()))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(PATIENCE);
        let stream = stream(&context, client.server_info().cluster.is_some()).await?;
        let replicas = stream.cached_info().config.num_replicas;
        Ok(Self { client, context, stream, replicas })
    }

    /// On how many servers each report is kept.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// How many reports wait in the stream; `None` when the servers do not say.
    pub async fn waiting(&self) -> Option<u64> {
        let info = self.stream.get_info().await.ok()?;
        Some(info.state.messages)
    }

    /// Starts to take reports from the stream to the store, and to tell other nodes what is new.
    pub(crate) fn start(&self, node: Node, tasks: &TaskTracker) -> Arc<dyn Bus> {
        let node = Arc::new(node);
        for partition in 0..PARTITIONS {
            tasks.spawn(consume(self.clone(), Arc::clone(&node), partition));
        }
        let own = Uuid::from_bytes(random());
        let (news, outward) = mpsc::channel(NEWS);
        node.news.also_to(news);
        tasks.spawn(tell_others(self.client.clone(), own, outward, node.stop.clone()));
        tasks.spawn(hear_others(self.client.clone(), own, node.news.clone(), node.stop.clone()));
        Arc::new(Through { nats: self.clone(), writer: node.writer.clone() })
    }
}

fn told(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; trying to connect again"),
        other => tracing::info!("NATS: {other}"),
    }
}

/// The stream, made where there is none: on three servers where there are three.
async fn stream(context: &Context, is_cluster: bool) -> Result<Stream, NatsError> {
    let mut replicas = if is_cluster { 3 } else { 1 };
    let mut last = String::new();
    for attempt in 0..BEGINS {
        if let Ok(found) = context.get_stream(STREAM).await {
            return Ok(found);
        }
        let config = StreamConfig {
            name: STREAM.to_owned(),
            description: Some("reports that no store has yet".to_owned()),
            subjects: vec![format!("{SUBJECT}.*")],
            retention: RetentionPolicy::WorkQueue,
            // What does not fit is refused, and its sender keeps it: the oldest was acknowledged and must stay.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: replicas,
            duplicate_window: KNOWN_FOR,
            ..StreamConfig::default()
        };
        match context.create_stream(config).await {
            Ok(made) => return Ok(made),
            Err(error) => {
                // A cluster of fewer than three says so; one that is just beginning may say so, too, and is given half of the time.
                if let (CreateStreamErrorKind::JetStream(said), 3) = (error.kind(), replicas)
                    && attempt >= BEGINS / 2
                {
                    tracing::warn!("the NATS servers keep one copy of each report alone: {said}");
                    replicas = 1;
                }
                last = match error.kind() {
                    CreateStreamErrorKind::JetStream(said) => said.to_string(),
                    other => other.to_string(),
                };
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(NatsError::Stream(last))
}

/// What a node has that takes reports to the store.
pub(crate) struct Node {
    pub(crate) writer: Writer,
    pub(crate) news: News,
    pub(crate) away: Away,
    pub(crate) stop: CancellationToken,
}

/// Hands reports to the stream.
#[derive(Debug)]
struct Through {
    nats: Nats,
    writer: Writer,
}

#[async_trait]
impl Bus for Through {
    async fn hand_over(&self, record: Record) -> Result<Outcome, WriteError> {
        let subject = format!("{SUBJECT}.{}", partition(&record));
        let id = format!("{}.{}", record.tenant.0, record.summary.id);
        let packed = tokio::task::spawn_blocking(move || (message::encode(&record), record)).await;
        let (packed, record) = packed.map_err(|_| WriteError::Bus("a report cannot be packed".to_owned()))?;
        let packed = packed.map_err(|error| WriteError::Bus(error.to_string()))?;
        if packed.len() + 1_024 > self.nats.client.server_info().max_payload {
            // Larger than the servers take: a report with many samples. The store takes it, if it is there.
            return self.writer.write(record).await;
        }
        drop(record);
        let message = PublishMessage::build().payload(packed.into()).message_id(&id);
        let sent = self.nats.context.send_publish(subject, message).await.map_err(|error| refused(&error))?;
        let acknowledged = sent.await.map_err(|error| refused(&error))?;
        Ok(if acknowledged.duplicate { Outcome::Duplicate } else { Outcome::Accepted })
    }

    fn buffers(&self) -> bool {
        true
    }

    fn is_there(&self) -> bool {
        self.nats.client.connection_state() == State::Connected
    }

    async fn waiting(&self) -> Option<u64> {
        self.nats.waiting().await
    }
}

fn refused(error: &jetstream::context::PublishError) -> WriteError {
    match error.kind() {
        PublishErrorKind::MaxAckPending => WriteError::Busy,
        _ => WriteError::Bus(error.to_string()),
    }
}

/// An agent's reports are all of one partition.
fn partition(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.tenant.0.hash(&mut hasher);
    match &record.summary.agent {
        Some(agent) => agent.hash(&mut hasher),
        None => record.summary.id.hash(&mut hasher),
    }
    hasher.finish() % PARTITIONS
}

/// Takes a partition's reports to the store until stopped.
async fn consume(nats: Nats, node: Arc<Node>, partition: u64) {
    let room = Arc::new(Semaphore::new(AT_ONCE / usize::try_from(PARTITIONS).unwrap_or(1)));
    while !node.stop.is_cancelled() {
        if !node.away.is_set()
            && let Err(error) = pull(&nats, &node, partition, &room).await
            && !node.stop.is_cancelled()
        {
            tracing::warn!(partition, %error, "reports cannot be taken from the stream now");
        }
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Takes reports until the store is away, or the servers are.
async fn pull(
    nats: &Nats,
    node: &Arc<Node>,
    partition: u64,
    room: &Arc<Semaphore>,
) -> Result<(), async_nats::Error> {
    let name = format!("store-{partition}");
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: format!("{SUBJECT}.{partition}"),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: PENDING,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = nats.stream.get_or_create_consumer(&name, config).await?;
    while !node.away.is_set() {
        // Room first: what is delivered and not read soon is given up by the client, and comes again only after a while.
        let mut turns = vec![Arc::clone(room).acquire_owned().await?];
        while turns.len() < FETCH
            && let Ok(turn) = Arc::clone(room).try_acquire_owned()
        {
            turns.push(turn);
        }
        let mut batch = consumer.batch().max_messages(turns.len()).expires(FETCH_LASTS).messages().await?;
        while let Some(turn) = turns.pop() {
            let next = tokio::select! {
                () = node.stop.cancelled() => return Ok(()),
                next = batch.next() => next,
            };
            let Some(next) = next else { break };
            tokio::spawn(keep(Arc::clone(node), next?, turn));
        }
    }
    Ok(())
}

/// Takes one report to the store, and acknowledges it once it is there.
async fn keep(node: Arc<Node>, message: Message, _turn: OwnedSemaphorePermit) {
    let payload = message.payload.clone();
    let read = tokio::task::spawn_blocking(move || message::decode(&payload)).await;
    let answer = match read {
        Ok(Ok(record)) => match node.writer.write(record).await {
            Ok(_) => AckKind::Ack,
            Err(WriteError::Busy) => AckKind::Nak(Some(PAUSE)),
            Err(WriteError::Store(_) | WriteError::Bus(_)) => {
                node.away.set();
                AckKind::Nak(Some(PAUSE))
            }
        },
        Ok(Err(error)) => {
            // It was acknowledged to its sender, and stays.
            tracing::error!(%error, "a report in the stream cannot be read; it stays there");
            AckKind::Nak(Some(NOT_OURS))
        }
        Err(_) => AckKind::Nak(Some(NOT_OURS)),
    };
    if let Err(error) = message.ack_with(answer).await {
        // It is delivered again, and is a duplicate then.
        tracing::debug!(%error, "a report cannot be acknowledged to the stream");
    }
}

/// What is new, for other nodes.
#[derive(Serialize, Deserialize)]
struct LiveNews {
    node: Uuid,
    tenant: i64,
    summary: Summary,
}

async fn tell_others(
    client: Client,
    node: Uuid,
    mut news: mpsc::Receiver<Arc<(Tenant, Summary)>>,
    stop: CancellationToken,
) {
    loop {
        let one = tokio::select! {
            () = stop.cancelled() => return,
            one = news.recv() => one,
        };
        let Some(one) = one else { return };
        let told = LiveNews { node, tenant: one.0.0, summary: one.1.clone() };
        let Ok(json) = serde_json::to_vec(&told) else { continue };
        // News that is lost is shown at the next look.
        if client.connection_state() == State::Connected {
            let _ = client.publish(LIVE, json.into()).await;
        }
    }
}

async fn hear_others(client: Client, own: Uuid, news: News, stop: CancellationToken) {
    loop {
        if let Ok(mut heard) = client.subscribe(LIVE).await {
            loop {
                let next = tokio::select! {
                    () = stop.cancelled() => return,
                    next = heard.next() => next,
                };
                let Some(next) = next else { break };
                if let Ok(told) = serde_json::from_slice::<LiveNews>(&next.payload)
                    && told.node != own
                {
                    news.heard_of(Tenant(told.tenant), told.summary);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

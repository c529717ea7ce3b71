//! Notifies other processes of changes with Redis's publish and subscribe.
//!
//! Redis does not store messages. When messages may have been lost, all streams reload their content.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use services::Services;
use services::events::Change;
use services::live::Peers;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::WorkerError;
use crate::queue::open;
use crate::runner::unique_name;

/// The maximum number of batches that wait to be sent.
const QUEUE_LIMIT: usize = 1024;
/// Changes within this period are sent as one message, up to a limit. Each message costs every process some work, and a
/// busy order desk makes a thousand changes per second.
const BATCH_DELAY: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 512;
/// A sender without changes sends an empty message after this time.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// A receiver that gets no message for this time has lost its connection, because senders send at least every
/// [`HEARTBEAT_INTERVAL`].
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(16);
const PAUSE: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize)]
struct Message {
    /// The process that sent it.
    from: String,
    changes: Vec<Change>,
    /// Whether earlier messages may have been lost.
    lost: bool,
}

/// A received message. Its changes are parsed only if a stream needs them.
#[derive(Debug, Deserialize)]
struct ReceivedMessage<'a> {
    from: String,
    #[serde(borrow)]
    changes: &'a RawValue,
    lost: bool,
}

struct Outgoing {
    queue: mpsc::Sender<Vec<Change>>,
    lost: Arc<AtomicBool>,
}

impl Peers for Outgoing {
    fn send_changes(&self, changes: Vec<Change>) {
        if self.queue.try_send(changes).is_err() {
            self.lost.store(true, Ordering::Release);
        }
    }
}

/// Sends changes of this process to the other processes, and their changes to the streams of this process, until
/// `shutdown`. Without Redis it keeps trying; streams then show only the changes of this process.
///
/// `queue` is the prefix of the channel's name, like that of all keys in Redis.
///
/// # Errors
/// Only for an invalid address.
pub async fn relay(
    services: Services,
    redis_url: &SecretString,
    queue: &str,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let client = open(redis_url.expose_secret())?;
    // Unlike keys, channels are shared by all databases of a Redis.
    let channel = format!("{queue}:changes:{}", client.get_connection_info().redis_settings().db());
    let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
    let lost = Arc::new(AtomicBool::new(false));
    services.live().connect_peers(Arc::new(Outgoing { queue: sender, lost: lost.clone() }));
    let from = unique_name();
    tokio::select! {
        () = send(&client, &channel, &from, receiver, &lost) => {}
        () = receive(&client, &channel, &from, &services) => {}
        () = shutdown => {}
    }
    Ok(())
}

async fn send(
    client: &Client,
    channel: &str,
    from: &str,
    mut queue: mpsc::Receiver<Vec<Change>>,
    lost: &AtomicBool,
) {
    let mut connection: Option<ConnectionManager> = None;
    let mut failing = false;
    loop {
        let mut changes = match timeout(HEARTBEAT_INTERVAL, queue.recv()).await {
            Ok(Some(changes)) => {
                tokio::time::sleep(BATCH_DELAY).await;
                changes
            }
            Ok(None) => return,
            Err(_) => Vec::new(),
        };
        while changes.len() < AT_ONCE
            && let Ok(more) = queue.try_recv()
        {
            changes.extend(more);
        }
        // `lost` is sent again until a message with it was published.
        let mut message =
            Message { from: from.to_owned(), changes, lost: lost.swap(false, Ordering::AcqRel) };
        while let Err(error) = publish(client, &mut connection, channel, &message).await {
            if !failing {
                failing = true;
                tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    "other processes cannot be notified of changes; retrying"
                );
            }
            message.changes.clear();
            message.lost = true;
            tokio::time::sleep(PAUSE).await;
        }
        if failing {
            failing = false;
            tracing::info!("other processes are notified of changes again");
        }
    }
}

async fn publish(
    client: &Client,
    connection: &mut Option<ConnectionManager>,
    channel: &str,
    message: &Message,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let text = serde_json::to_string(message)?;
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(1)
                .set_connection_timeout(Some(RESPONSE_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT));
            connection.insert(client.get_connection_manager_with_config(config).await?)
        }
    };
    redis::cmd("PUBLISH").arg(channel).arg(text).query_async::<()>(connection).await?;
    Ok(())
}

async fn receive(client: &Client, channel: &str, from: &str, services: &Services) {
    let mut failing = false;
    loop {
        let why = match timeout(RESPONSE_TIMEOUT, subscribe(client, channel)).await {
            Ok(Ok(mut messages)) => {
                if failing {
                    failing = false;
                    tracing::info!("changes of other processes are received again");
                }
                // All changes before the connection were missed.
                services.live().missed_changes();
                loop {
                    match timeout(HEARTBEAT_TIMEOUT, messages.next()).await {
                        Ok(Some(message)) => take(&message, from, services),
                        Ok(None) => break "the connection has ended".to_owned(),
                        Err(_) => break "the connection is silent".to_owned(),
                    }
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if !failing {
            failing = true;
            tracing::warn!(why, "changes of other processes are not received; retrying");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(client: &Client, channel: &str) -> redis::RedisResult<redis::aio::PubSubStream> {
    let mut connection = client.get_async_pubsub().await?;
    connection.subscribe(channel).await?;
    Ok(connection.into_on_message())
}

fn take(message: &redis::Msg, from: &str, services: &Services) {
    let received: serde_json::Result<ReceivedMessage<'_>> =
        serde_json::from_slice(message.get_payload_bytes());
    let changes: serde_json::Result<Vec<Change>> = match received {
        Ok(received) if received.from == from => return,
        Ok(received) => {
            if received.lost {
                services.live().missed_changes();
            }
            if !services.live().has_streams() {
                return;
            }
            serde_json::from_str(received.changes.get())
        }
        Err(error) => Err(error),
    };
    match changes {
        Ok(changes) => services.live().receive_changes(&changes),
        Err(error) => {
            // A message from another version of Stockyard, whose changes cannot be read.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a change of another process cannot be read"
            );
            services.live().missed_changes();
        }
    }
}

//! An address whose server can be exchanged while other processes try to connect.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::installation::free_port;

/// The program that answers a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Nothing listens: connections are refused.
    Nothing,
    /// Connections are accepted, but nothing is ever sent.
    Silence,
    /// A PostgreSQL server that does not accept sessions yet.
    StartingPostgres,
    /// A Redis that is loading its data.
    LoadingRedis,
    /// The real server.
    Server,
}

/// How often the thread checks whether it should end.
const LOOK: Duration = Duration::from_millis(20);

pub struct Door {
    pub port: u16,
    /// `host:port` of the server.
    server: String,
    open: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Door {
    /// A door to `server` with nothing behind it.
    pub fn to(server: &str) -> Self {
        Self { port: free_port(), server: server.to_owned(), open: None, streams: Arc::default() }
    }

    /// Closes all connections and changes what answers the next ones.
    pub fn set(&mut self, behind: Behind) {
        if let Some((closing, thread)) = self.open.take() {
            closing.store(true, Ordering::Relaxed);
            thread.join().unwrap();
        }
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if behind == Behind::Nothing {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let closing = Arc::new(AtomicBool::new(false));
        let (closes, streams, server) = (closing.clone(), self.streams.clone(), self.server.clone());
        let thread = std::thread::spawn(move || {
            while !closes.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        streams.lock().unwrap().push(stream.try_clone().unwrap());
                        let server = server.clone();
                        std::thread::spawn(move || answer(behind, stream, &server));
                    }
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        self.open = Some((closing, thread));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.set(Behind::Nothing);
    }
}

/// Errors mean that one side has closed the connection.
fn answer(behind: Behind, mut stream: TcpStream, server: &str) {
    match behind {
        Behind::Nothing | Behind::Silence => {}
        Behind::StartingPostgres => drop(refuse_sessions(&mut stream)),
        Behind::LoadingRedis => {
            let mut request = [0; 4096];
            while matches!(stream.read(&mut request), Ok(length) if length > 0)
                && stream.write_all(b"-LOADING Redis is loading the dataset in memory\r\n").is_ok()
            {
            }
        }
        Behind::Server => {
            let Ok(there) = TcpStream::connect(server) else { return };
            let (mut from, mut to) = (stream.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let (mut from, mut to) = (there, stream);
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}

/// Answers like PostgreSQL during recovery: error 57P03 at the start of a session. A client first asks for encryption,
/// with a code in place of the version, which is declined.
fn refuse_sessions(stream: &mut TcpStream) -> std::io::Result<()> {
    const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [length, code] = [0, 4].map(|at| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()));
        let mut rest = vec![0; usize::try_from(length).unwrap().saturating_sub(8)];
        stream.read_exact(&mut rest)?;
        if ENCRYPTION.contains(&code) {
            stream.write_all(b"N")?;
            continue;
        }
        let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap();
        stream.write_all(&[b"E".as_slice(), &length.to_be_bytes(), fields].concat())?;
        return stream.shutdown(Shutdown::Both);
    }
}

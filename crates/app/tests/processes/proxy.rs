//! A proxy whose connections can be cut, or become silent as after a failover.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a silent connection checks whether it should transfer data again.
const LOOK: Duration = Duration::from_millis(20);

/// Forwards connections to its port. Its threads end with the test's process.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    opened: AtomicUsize,
    /// Connections with a lower number are silent: they stay open but transfer nothing.
    silent_below: AtomicUsize,
    /// Whether new connections are closed at once.
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            opened: AtomicUsize::new(0),
            silent_below: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if !accepting.closed.load(Ordering::Relaxed) {
                    accepting.forward(client);
                }
            }
        });
        Self { port, shared }
    }

    /// Makes existing connections silent. New ones still work.
    pub fn silence(&self) {
        self.shared.silent_below.store(self.shared.opened.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Makes silent connections transfer their data again.
    pub fn speak(&self) {
        self.shared.silent_below.store(0, Ordering::Relaxed);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Sets whether new connections are accepted.
    pub fn let_in(&self, open: bool) {
        self.shared.closed.store(!open, Ordering::Relaxed);
    }
}

impl Shared {
    fn forward(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            self.open.lock().unwrap().push(to.try_clone().unwrap());
            let shared = self.clone();
            std::thread::spawn(move || shared.copy(number, from, to));
        }
    }

    fn copy(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length) = from.read(&mut bytes) {
            while number < self.silent_below.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            if length == 0 || to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

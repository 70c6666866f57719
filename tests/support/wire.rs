//! A network cable between a browser and the appliance, that can be cut.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Connections to one address, from an address of its own.
pub struct Wire {
    pub address: String,
    /// Nowhere while it is cut.
    to: Arc<Mutex<Option<SocketAddr>>>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub fn to(address: &str) -> Wire {
        let to = Arc::new(Mutex::new(Some(address.parse().expect("an address"))));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let ends = Arc::<Mutex<Vec<_>>>::default();
        let (led, known) = (Arc::clone(&to), Arc::clone(&ends));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Some(to) = *led.lock().unwrap() else { continue };
                let Ok(far) = TcpStream::connect(to) else { continue };
                let doubled = |one: &TcpStream| one.try_clone().expect("a socket can be doubled");
                known.lock().unwrap().extend([doubled(&near), doubled(&far)]);
                let (back, forth) = ((doubled(&far), doubled(&near)), (near, far));
                for (mut from, mut into) in [back, forth] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut into);
                        let _ = into.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Wire { address, to, ends }
    }

    /// Ends every connection, and lets no new one through.
    pub fn cut(&self) {
        *self.to.lock().unwrap() = None;
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Leads to an address from now on.
    pub fn mend(&self, address: &str) {
        *self.to.lock().unwrap() = Some(address.parse().expect("an address"));
    }
}

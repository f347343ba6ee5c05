//! A way to a server that can be closed, for a client that is to believe that the server is away while everybody else reaches it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Broken, and new ones too.
    Closed,
    /// Those that are there stay, and nothing goes over them any more, also later; new ones are the same.
    Silent,
}

/// See the module's documentation. Closed for good when dropped.
#[derive(Debug)]
pub struct Passage {
    /// `https://127.0.0.1:PORT`, if the server's address was of that form.
    pub url: String,
    server: String,
    way: watch::Sender<Way>,
    task: tokio::task::JoinHandle<()>,
}

impl Passage {
    /// An open way to a server on this machine.
    pub async fn to(server: &str) -> Result<Self> {
        let (scheme, address) = server.split_once("://").with_context(|| format!("{server} is no address"))?;
        let target: SocketAddr =
            address.trim_end_matches('/').parse().with_context(|| format!("{server} has no port"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let way = watch::Sender::new(Way::Open);
        let task = tokio::spawn(accept(listener, target, way.clone()));
        Ok(Self { url, server: server.trim_end_matches('/').to_owned(), way, task })
    }

    /// A kubeconfig of the server that goes this way, beside the one it is made from.
    pub fn kubeconfig(&self, of: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(of).with_context(|| format!("cannot read {}", of.display()))?;
        anyhow::ensure!(text.contains(&self.server), "{} is not of {}", of.display(), self.server);
        let path = of.with_extension("passage");
        std::fs::write(&path, text.replace(&self.server, &self.url))?;
        Ok(path)
    }

    /// Breaks every connection, and each new one.
    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    /// Keeps every connection and answers on none of them; those never come back to life.
    pub fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// Lets new connections through.
    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.close();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, way: watch::Sender<Way>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut way = way.subscribe();
        tokio::spawn(async move {
            let now = *way.borrow_and_update();
            if now == Way::Open {
                tokio::select! {
                    () = carry(&client, target) => return,
                    _ = way.changed() => {}
                }
            }
            if *way.borrow_and_update() == Way::Silent {
                let _ = way.wait_for(|way| *way == Way::Closed).await;
            }
            drop(client);
        });
    }
}

async fn carry(client: &TcpStream, target: SocketAddr) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (to, from) = (one_way(client, &server), one_way(&server, client));
    tokio::select! {
        () = to => {}
        () = from => {}
    }
}

async fn one_way(from: &TcpStream, to: &TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if from.readable().await.is_err() {
            return;
        }
        let length = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        let mut sent = 0;
        while sent < length {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(&buffer[sent..length]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = client.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        address
    }

    async fn says(connection: &mut TcpStream) -> std::io::Result<u8> {
        connection.write_u8(7).await?;
        connection.read_u8().await
    }

    #[tokio::test]
    async fn it_opens_closes_and_falls_silent() {
        let passage = Passage::to(&format!("http://{}", echo().await)).await.unwrap();
        let address = passage.url.trim_start_matches("http://").to_owned();
        let connect = async || TcpStream::connect(&address).await.unwrap();
        let mut first = connect().await;
        assert_eq!(says(&mut first).await.unwrap(), 7);
        passage.silence();
        let mut mute = connect().await;
        for connection in [&mut first, &mut mute] {
            assert!(tokio::time::timeout(Duration::from_millis(50), says(connection)).await.is_err(), "it answers");
        }
        passage.open();
        assert_eq!(says(&mut connect().await).await.unwrap(), 7);
        assert!(
            tokio::time::timeout(Duration::from_millis(50), says(&mut first)).await.is_err(),
            "it came back to life"
        );
        passage.close();
        assert!(says(&mut first).await.is_err() && says(&mut connect().await).await.is_err());
        passage.open();
        assert_eq!(says(&mut connect().await).await.unwrap(), 7);
    }
}

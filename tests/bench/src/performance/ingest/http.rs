//! Requests to the server: as little of a client as will do, so that it takes little of the processors.
#![expect(clippy::disallowed_methods, reason = "a load generator has connections of its own")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use crate::Fallible;

/// One connection that asks for one thing after the other.
pub(in crate::performance) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(in crate::performance) fn open(port: u16) -> Fallible<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(("127.0.0.1", port))?)))
    }

    /// The status and the body of an answer.
    pub(in crate::performance) fn get(&mut self, path: &str, key: &str) -> Fallible<(u16, String)> {
        self.ask(path, key)?;
        let (status, length) = self.head()?;
        let mut body = vec![0; length.ok_or("an answer without a length")?];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body)?))
    }

    fn ask(&mut self, path: &str, key: &str) -> Fallible<()> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n");
        Ok(self.0.get_mut().write_all(head.as_bytes())?)
    }

    fn head(&mut self) -> Fallible<(u16, Option<usize>)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        read_head(&head)
    }
}

/// Opens a connection that listens to what comes in, and leaves it so.
pub(in crate::performance) fn hold(port: u16, key: &str) -> Fallible<Connection> {
    let mut connection = Connection::open(port)?;
    connection.ask("/api/v1/events", key)?;
    match connection.head()? {
        (200, _) => Ok(connection),
        (status, _) => Err(format!("/api/v1/events: {status}").into()),
    }
}

fn read_head(head: &str) -> Fallible<(u16, Option<usize>)> {
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    Ok((status, length.map(str::parse).transpose()?))
}

/// Sends packed reports over so many connections until all are acknowledged as new.
pub(in crate::performance) async fn flood(
    port: u16,
    key: &str,
    bodies: Vec<(String, Vec<u8>)>,
    connections: usize,
) -> Fallible<()> {
    let bodies = Arc::new(Mutex::new(bodies));
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..connections {
        sending.spawn(send(port, key.to_owned(), Arc::clone(&bodies)));
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    Ok(())
}

/// What is still to be sent.
type Bodies = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

async fn send(port: u16, key: String, bodies: Bodies) -> Fallible<()> {
    let mut stream = tokio::io::BufReader::new(tokio::net::TcpStream::connect(("127.0.0.1", port)).await?);
    loop {
        let next = bodies.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((_, body)) = next else { return Ok(()) };
        let head = format!(
            "POST /api/v1/reports HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             Content-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(&body);
        stream.get_mut().write_all(&request).await?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        let (status, length) = read_head(&head)?;
        let mut answer = vec![0; length.ok_or("an answer without a length")?];
        stream.read_exact(&mut answer).await?;
        let answer = String::from_utf8(answer)?;
        if status != 202 || !answer.contains("\"accepted\"") {
            return Err(format!("a report was answered {status}: {answer}").into());
        }
    }
}

//! A small blocking HTTP/1.1 client: it sends exactly what it is told and hides nothing of the answer. It never retries.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// First header of that name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection, kept open between requests; opened again after an error or when the server closed it.
pub(crate) struct Client {
    server: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, connection: None }
    }

    /// Sends one request and reads its answer. `target` is path and query as they go on the wire. `Host` is added unless
    /// given, `Content-Length` too (for methods with a body also when it is empty).
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect_timeout(&self.server, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !has("Host") {
            head += &format!("Host: {}\r\n", self.server);
        }
        if !has("Content-Length") && (body.is_some() || matches!(method, "POST" | "PUT" | "PATCH")) {
            head += &format!("Content-Length: {}\r\n", body.unwrap_or_default().len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut message = (head + "\r\n").into_bytes();
        message.extend_from_slice(body.unwrap_or_default());
        connection.get_mut().write_all(&message)?;
        let (answer, reusable) = read_answer(&mut connection, method)?;
        if reusable {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    pub(crate) fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.send("GET", target, &[], None)
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn read_line(from: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(1 << 20).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in a header or chunk line"));
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
}

fn read_exactly(from: &mut BufReader<TcpStream>, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(length as u64).read_to_end(into)?;
    if read == length { Ok(()) } else { Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ended early")) }
}

/// The answer, and whether the connection can carry another request.
fn read_answer(from: &mut BufReader<TcpStream>, method: &str) -> io::Result<(Answer, bool)> {
    let status_line = read_line(from)?;
    let mut parts = status_line.splitn(3, ' ');
    let version = parts.next().unwrap_or_default();
    let status = parts.next().and_then(|s| s.parse().ok()).ok_or_else(|| invalid("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    let mut reusable =
        version == "HTTP/1.1" && !answer.header("Connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok((answer, reusable));
    }
    if answer.header("Transfer-Encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without a size"))?;
            read_exactly(from, size, &mut answer.body)?;
            // The end of a chunk, or of the (empty) trailer.
            read_line(from)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = answer.header("Content-Length") {
        let length = length.parse().map_err(|_| invalid("Content-Length is not a number"))?;
        read_exactly(from, length, &mut answer.body)?;
    } else {
        from.read_to_end(&mut answer.body)?;
        reusable = false;
    }
    Ok((answer, reusable))
}

/// `application/x-www-form-urlencoded` text of one name or value.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `a=1&b=2` of pairs.
pub(crate) fn form<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(k, v)| format!("{}={}", encode(k.as_ref()), encode(v.as_ref()))).collect();
    pairs.join("&")
}

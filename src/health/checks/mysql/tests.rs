use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const LOGIN: Login<'_> = Login { user: Some("u"), password: Some("p"), command: Some("select 1") };

/// One packet: length, number, body.
fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = (body.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(number);
    packet.extend_from_slice(body);
    packet
}

/// The greeting of a server of protocol 10 that knows `mysql_native_password`.
fn greeting() -> Vec<u8> {
    let mut body = b"\x0a8.0.0\0\x01\0\0\0saltsalt\0".to_vec();
    // Capabilities (protocol 4.1, plugins, secure connection), character set, status, length of the salt.
    body.extend_from_slice(&[0x00, 0x82, 0x21, 0x02, 0x00, 0x08, 0x00, 21]);
    body.extend_from_slice(&[0; 10]);
    body.extend_from_slice(b"saltsaltsalt\0mysql_native_password\0");
    packet(0, &body)
}

fn sql_error(number: u8) -> Vec<u8> {
    packet(number, b"\xff\x15\x04#28000no")
}

fn done(number: u8) -> Vec<u8> {
    packet(number, &[0, 0, 0, 2, 0, 0, 0])
}

/// A column of text and its name.
fn column(number: u8, name: &str) -> Vec<u8> {
    let mut body = b"\x03def\0\0\0".to_vec();
    body.push(name.len() as u8);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&[0, 0x0c, 0x21, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
    packet(number, &body)
}

fn read_only(value: &str) -> Vec<u8> {
    let end = [0xfe, 0, 0, 2, 0];
    let mut row = b"\x09read_only".to_vec();
    row.push(value.len() as u8);
    row.extend_from_slice(value.as_bytes());
    let columns = [packet(1, &[2]), column(2, "Variable_name"), column(3, "Value"), packet(4, &end)];
    [columns.concat(), packet(5, &row), packet(6, &end)].concat()
}

async fn skip_packet(stream: &mut TcpStream) -> Option<()> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut body).await.ok()?;
    Some(())
}

/// A server that says its lines one by one, a packet of the client between each; then it says nothing more.
async fn scripted(lines: Vec<Vec<u8>>) -> i32 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for line in lines {
            stream.write_all(&line).await.unwrap();
            if skip_packet(&mut stream).await.is_none() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    });
    port.into()
}

async fn finding(lines: Vec<Vec<u8>>, command: &str) -> Finding {
    check("127.0.0.1", scripted(lines).await, Login { command: Some(command), ..LOGIN }).await
}

#[tokio::test]
async fn a_command_that_is_answered() {
    let answered = |rows| vec![greeting(), done(2), rows];
    assert!(matches!(finding(answered(done(1)), "do 1").await, Finding::Ok(ms) if ms < 1_000.0));
    assert!(matches!(finding(answered(read_only("OFF")), READ_ONLY_QUERY).await, Finding::Ok(_)));
    assert_eq!(finding(answered(read_only("ON")), READ_ONLY_QUERY).await, Finding::Fail);
    let other = READ_ONLY_QUERY.to_uppercase();
    assert!(matches!(finding(answered(read_only("ON")), &other).await, Finding::Ok(_)), "only for the exact text");
}

#[tokio::test]
async fn sql_errors_at_login_and_in_the_command() {
    assert_eq!(finding(vec![sql_error(0)], "select 1").await, Finding::FailNow);
    assert_eq!(finding(vec![greeting(), sql_error(2)], "select 1").await, Finding::FailNow);
    assert_eq!(finding(vec![greeting(), done(2), sql_error(1)], "select 1").await, Finding::FailNow);
}

#[tokio::test]
async fn silence_rubbish_and_refusal() {
    assert_eq!(finding(vec![], "select 1").await, Finding::Busy, "no greeting");
    assert_eq!(finding(vec![greeting(), done(2)], "select 1").await, Finding::Busy, "no answer");
    assert_eq!(finding(vec![packet(0, b"SSH-2.0-rubbish\r\n")], "select 1").await, Finding::Fail);
    assert_eq!(finding(vec![vec![0xff; 64]], "select 1").await, Finding::Fail, "more than is taken");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(check("127.0.0.1", port.into(), LOGIN).await, Finding::FailNow);
    assert_eq!(check("127.0.0.1", 70_000, LOGIN).await, Finding::Fail);
}

//! The resolver of filtered steps. It answers for names of their lists and says of all others that nobody has them, without
//! asking anybody: what a step writes into a name goes nowhere.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::A},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::{Gate, policy::Policy, resolver::Failure};

/// The longest question that is read.
const LONGEST: usize = 4096;
/// How long a step may keep an answer, in seconds: it gets the same again.
const KEPT: u32 = 60;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest answer by datagram, where the question does not say more.
const SHORT: u16 = 512;

/// Answers datagrams.
pub(crate) async fn serve(gate: Arc<Gate>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // What an answer met on its way is reported here; the socket goes on.
            Err(error) => {
                tracing::debug!("the resolver of steps: {error}");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let question = buffer[..length].to_vec();
        let (gate, socket) = (Arc::clone(&gate), Arc::clone(&socket));
        tokio::spawn(async move {
            if let Some(answer) = answer(&gate, from.ip(), &question, true).await {
                socket.send_to(&answer, from).await.ok();
            }
        });
    }
}

/// Answers what comes by connections.
pub(crate) async fn serve_long(gate: Arc<Gate>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { converse(&gate, stream, from.ip()).await.ok() });
            }
            Err(error) => {
                tracing::debug!("the resolver of steps: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(gate: &Gate, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
    let Some(policy) = gate.policy_of(from) else {
        return Ok(());
    };
    let talk = async {
        loop {
            let length = tokio::time::timeout(SILENCE, stream.read_u16()).await??;
            let mut question = vec![0; usize::from(length)];
            tokio::time::timeout(SILENCE, stream.read_exact(&mut question)).await??;
            let Some(answer) = answer(gate, from, &question, false).await else {
                return Ok(());
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream
                .write_all(&[&length.to_be_bytes(), &answer[..]].concat())
                .await?;
        }
    };
    tokio::select! {
        done = talk => done,
        () = policy.over.cancelled() => Ok(()),
    }
}

/// The answer to a message; none for one that is no question or comes from nobody.
async fn answer(gate: &Gate, from: IpAddr, message: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
    let policy = gate.policy_of(from)?;
    let _turn = policy.turns.try_acquire().ok()?;
    let asked = Message::from_vec(message).ok()?;
    if asked.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(asked.queries.iter().cloned());
    match &asked.queries[..] {
        [query] if asked.metadata.op_code == OpCode::Query => match records(gate, &policy, query).await {
            Ok(records) => {
                answer.add_answers(records);
            }
            Err(code) => answer.metadata.response_code = code,
        },
        _ => answer.metadata.response_code = ResponseCode::NotImp,
    }
    let longest = asked
        .edns
        .as_ref()
        .map_or(SHORT, |edns| edns.max_payload().max(SHORT));
    let bytes = answer.to_vec().ok()?;
    if is_datagram && bytes.len() > usize::from(longest) {
        return answer.truncate().to_vec().ok();
    }
    Some(bytes)
}

/// What there is to a question: addresses, of version 4, and nothing else.
async fn records(gate: &Gate, policy: &Policy, query: &Query) -> Result<Vec<Record>, ResponseCode> {
    let name = plain(query.name());
    // Who has an address is nobody's business, and nothing that a step has tried to reach.
    if name.ends_with(".arpa") || query.query_class() != DNSClass::IN {
        return Err(ResponseCode::NXDomain);
    }
    let addresses = policy.resolve(&name, &gate.resolver).await;
    let addresses = addresses.map_err(|failure| match failure {
        Failure::NoSuchName => ResponseCode::NXDomain,
        Failure::NoAnswer => ResponseCode::ServFail,
    })?;
    if query.query_type() != RecordType::A {
        return Ok(Vec::new());
    }
    let record = |address| Record::from_rdata(query.name().clone(), KEPT, RData::A(A(address)));
    Ok(addresses.into_iter().map(record).collect())
}

/// A name in the form in which names are compared.
fn plain(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

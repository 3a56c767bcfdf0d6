//! The resolver of the internet in small: a few names, some of which lead inside.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use super::host::PUBLIC;

const HEAD: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// Answers for ever. Questions come from Shipway's forwarder, which sends good ones.
/// `rebound` turns a name that was public into one that leads inside.
pub(super) fn answer(socket: &UdpSocket, rebound: &AtomicBool) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        if let Some(answer) = to(&question[..length], rebound.load(Ordering::Relaxed)) {
            // Who does not wait any more misses nothing.
            drop(socket.send_to(&answer, from));
        }
    }
}

/// The answer to one question: its head and itself, and a record for each address.
fn to(question: &[u8], rebound: bool) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = u16::from_be_bytes(*question.get(end..)?.first_chunk()?);
    let known = addresses(&name, kind, rebound);
    let mut answer = question.get(..end + 4)?.to_vec();
    let count = u16::try_from(known.as_ref().map_or(0, Vec::len)).ok()?;
    // An answer, recursion available; one question, no other sections.
    answer[2..4].copy_from_slice(&[0x81, if known.is_some() { 0x80 } else { 0x83 }]);
    answer[4..HEAD].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    for address in known.into_iter().flatten() {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The question's name, its type, class IN, nothing to keep.
        answer.extend([0xc0, 0x0c]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0, 0, u8::try_from(bytes.len()).ok()?]);
        answer.extend(bytes);
    }
    Some(answer)
}

/// The name asked for, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEAD);
    loop {
        let length = usize::from(*question.get(at)?);
        let label = question.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
}

/// What a name stands for; `None` for one that does not exist.
fn addresses(name: &str, kind: u16, rebound: bool) -> Option<Vec<IpAddr>> {
    let texts: Vec<&str> = match name {
        "public.test" => PUBLIC.to_vec(),
        "inside.test" => vec!["10.66.0.5", "fd66::5"],
        "metadata.test" => vec!["169.254.169.254", "fd00:ec2::254"],
        "host.test" => vec!["127.0.0.1", "::1"],
        "mixed.test" => vec!["10.66.0.5", PUBLIC[0], "169.254.169.254"],
        "rebind.test" if rebound => vec!["169.254.169.254"],
        "rebind.test" => vec![PUBLIC[0]],
        _ => return None,
    };
    let all = texts.iter().map(|text| text.parse::<IpAddr>().expect("these are addresses"));
    Some(all.filter(|address| kind == if address.is_ipv4() { TYPE_A } else { TYPE_AAAA }).collect())
}

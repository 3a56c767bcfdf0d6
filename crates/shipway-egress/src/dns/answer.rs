//! Questions judged, answers cleaned: no I/O here.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use crate::policy::Policy;

/// The largest answer by UDP: what passes every path unbroken.
pub(crate) const UDP_ANSWER_MAX: u16 = 1232;
/// The largest answer of a program that says nothing about it (RFC 1035).
const PLAIN_ANSWER_MAX: u16 = 512;
/// "Filtered", as an extended error (RFC 8914), and the option that carries it.
const EXTENDED_ERROR: u16 = 15;
const FILTERED: u16 = 17;
const WHY: &str = "address not allowed by network.allow";

/// What to do with a question.
#[derive(Debug)]
pub(crate) enum Judged {
    /// Ask it.
    Ask(Box<Asked>),
    /// Answer it at once with this; `true` when that is a refusal to be counted.
    Answer(Vec<u8>, bool),
    /// Do as if it had not come.
    Ignore,
}

/// A question that may be asked, and what is needed to answer it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: u16,
    pub(crate) query: Query,
    recursion_desired: bool,
    checking_disabled: bool,
    /// The size its asker takes by UDP, when it speaks EDNS at all.
    edns: Option<u16>,
}

/// Judges what a container sent.
pub(crate) fn judge(bytes: &[u8], policy: &Policy) -> Judged {
    let Some(id) = bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else { return Judged::Ignore };
    let refuse = |code, counts| Judged::Answer(error(id, None, code), counts);
    // Never answer an answer, or two forwarders could talk for ever.
    if bytes.len() < 12 || bytes[2] & 0x80 != 0 {
        return Judged::Ignore;
    }
    let Ok(message) = Message::from_vec(bytes) else { return refuse(ResponseCode::FormErr, false) };
    if message.metadata.message_type != MessageType::Query {
        return Judged::Ignore;
    }
    if message.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp, true);
    }
    let [query] = &*message.queries else { return refuse(ResponseCode::FormErr, false) };
    if query.query_class != DNSClass::IN || is_too_much(query.query_type) {
        return Judged::Answer(error(id, Some(query), ResponseCode::Refused), true);
    }
    if asks_who_is_forbidden(query, policy) {
        return Judged::Answer(error(id, Some(query), ResponseCode::NXDomain), true);
    }
    Judged::Ask(Box::new(Asked {
        id,
        query: query.clone(),
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        edns: message.edns.as_ref().map(Edns::max_payload),
    }))
}

/// Whole zones, and "everything there is", which is how others are flooded.
fn is_too_much(kind: RecordType) -> bool {
    matches!(kind, RecordType::ANY | RecordType::AXFR | RecordType::IXFR)
}

/// Whether the name of an address is asked for that may not be reached either: what
/// machines are called is nobody's business outside.
fn asks_who_is_forbidden(query: &Query, policy: &Policy) -> bool {
    query.query_type == RecordType::PTR && query.name.parse_arpa_name().is_ok_and(|net| !policy.may_name(net.addr()))
}

impl Asked {
    /// The question as we ask it, under an id nobody can guess.
    pub(crate) fn question(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_ANSWER_MAX);
        message.set_edns(edns);
        message
    }

    /// The largest answer its asker takes by UDP.
    pub(crate) fn udp_size(&self) -> usize {
        usize::from(self.edns.unwrap_or(0).clamp(PLAIN_ANSWER_MAX, UDP_ANSWER_MAX))
    }

    /// The answer for the container, and whether something was withheld from it.
    pub(crate) fn answer(&self, mut found: Message, policy: &Policy) -> (Message, bool) {
        let mut withheld = false;
        for section in [&mut found.answers, &mut found.authorities, &mut found.additionals] {
            let before = section.len();
            section.retain(|record| is_harmless(record, policy));
            withheld |= section.len() != before;
        }
        let mut answer = self.empty(found.metadata.response_code);
        answer.metadata.recursion_available = found.metadata.recursion_available;
        answer.metadata.authentic_data = found.metadata.authentic_data && !withheld;
        answer.answers = found.answers;
        answer.authorities = found.authorities;
        answer.additionals = found.additionals;
        if withheld && let Some(edns) = &mut answer.edns {
            let mut text = FILTERED.to_be_bytes().to_vec();
            text.extend_from_slice(WHY.as_bytes());
            edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, text));
        }
        (answer, withheld)
    }

    /// "Could not find out."
    pub(crate) fn failure(&self) -> Message {
        self.empty(ResponseCode::ServFail)
    }

    fn empty(&self, code: ResponseCode) -> Message {
        let mut answer = Message::error_msg(self.id, OpCode::Query, code);
        answer.metadata.recursion_desired = self.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(self.query.clone());
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_ANSWER_MAX);
            answer.set_edns(edns);
        }
        answer
    }

    /// The bytes of an answer; cut down to "ask again by TCP" when larger than `most`.
    pub(crate) fn bytes(&self, answer: &Message, most: usize) -> Option<Vec<u8>> {
        let whole = answer.to_vec().ok()?;
        if whole.len() <= most {
            return Some(whole);
        }
        answer.truncate().to_vec().ok().filter(|bytes| bytes.len() <= most)
    }
}

/// Whether a message answers this question of ours, and is not somebody's guess.
pub(crate) fn is_answer_to(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.metadata.op_code == OpCode::Query
        && answer.queries == question.queries
}

/// Whether every address a record names may be reached.
fn is_harmless(record: &Record, policy: &Policy) -> bool {
    let may = |address: IpAddr| policy.may_name(address);
    let hints = |values: &[(_, SvcParamValue)]| {
        values.iter().all(|(_, value)| match value {
            SvcParamValue::Ipv4Hint(hint) => hint.0.iter().all(|address| may(address.0.into())),
            SvcParamValue::Ipv6Hint(hint) => hint.0.iter().all(|address| may(address.0.into())),
            _ => true,
        })
    };
    match &record.data {
        RData::A(address) => may(address.0.into()),
        RData::AAAA(address) => may(address.0.into()),
        RData::SVCB(service) => hints(&service.svc_params),
        RData::HTTPS(service) => hints(&service.0.svc_params),
        _ => true,
    }
}

fn error(id: u16, query: Option<&Query>, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::error_msg(id, OpCode::Query, code);
    message.metadata.recursion_available = true;
    message.queries.extend(query.cloned());
    message.to_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests;

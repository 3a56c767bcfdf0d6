//! Answers no resolver should give, and what is left of them.

use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, SVCB};

use super::*;

fn asked(kind: RecordType) -> Box<Asked> {
    let mut message = Message::query();
    message.add_query(Query::query("a.test.".parse().unwrap(), kind));
    message.set_edns(Edns::new());
    match judge(&message.to_vec().unwrap(), &Policy::default()) {
        Judged::Ask(asked) => asked,
        other => panic!("{other:?}"),
    }
}

fn record(data: RData) -> Record {
    Record::from_rdata("a.test.".parse::<Name>().unwrap(), 60, data)
}

fn https(hint: SvcParamValue) -> RData {
    let key = if matches!(hint, SvcParamValue::Ipv4Hint(_)) { SvcParamKey::Ipv4Hint } else { SvcParamKey::Ipv6Hint };
    RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), vec![(key, hint)])))
}

#[test]
fn an_address_hides_in_no_section_and_no_hint() {
    let asked = asked(RecordType::HTTPS);
    let mut found = asked.question();
    found.answers = vec![
        record(RData::CNAME(CNAME("b.test.".parse().unwrap()))),
        record(https(SvcParamValue::Ipv4Hint(IpHint(vec![A::new(12, 1, 1, 1)])))),
        record(https(SvcParamValue::Ipv4Hint(IpHint(vec![A::new(12, 1, 1, 1), A::new(10, 0, 0, 1)])))),
        record(https(SvcParamValue::Ipv6Hint(IpHint(vec![AAAA::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)])))),
    ];
    found.authorities = vec![record(RData::A(A::new(127, 0, 0, 1)))];
    found.additionals =
        vec![record(RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0xffff, 0x0a00, 1))), record(RData::A(A::new(12, 1, 1, 1)))];
    let (answer, withheld) = asked.answer(found, &Policy::default());
    assert!(withheld);
    assert_eq!((answer.answers.len(), answer.authorities.len(), answer.additionals.len()), (2, 0, 1), "{answer:?}");
    let bytes = asked.bytes(&answer, 1232).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("network.allow"), "and it says why to whom can read it");
    assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 2);
}

#[test]
fn an_answer_must_fit_the_question_in_every_part() {
    let question = asked(RecordType::A).question();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.queries = question.queries.clone();
    assert!(is_answer_to(&answer, &question));
    let wrong: [fn(&mut Message); 5] = [
        |message| message.metadata.id ^= 0x100,
        |message| message.metadata.message_type = MessageType::Query,
        |message| message.queries.clear(),
        |message| message.queries[0].query_type = RecordType::AAAA,
        |message| message.queries.push(message.queries[0].clone()),
    ];
    for change in wrong {
        let mut changed = answer.clone();
        change(&mut changed);
        assert!(!is_answer_to(&changed, &question), "{changed:?}");
    }
    answer.queries[0].name = "A.TEST.".parse().unwrap();
    assert!(is_answer_to(&answer, &question), "letters may change their case");
}

#[test]
fn garbage_is_taken_apart_without_harm() {
    let question = {
        let mut message = Message::query();
        message.add_query(Query::query("a.test.".parse().unwrap(), RecordType::A));
        message.to_vec().unwrap()
    };
    for at in 0..question.len() {
        for value in [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff] {
            let mut bytes = question.clone();
            bytes[at] = value;
            drop(judge(&bytes, &Policy::default()));
            drop(judge(&bytes[..at], &Policy::default()));
        }
    }
}

#[test]
fn sizes_follow_what_the_asker_takes() {
    let mut asked = asked(RecordType::A);
    for (edns, size) in [(None, 512), (Some(100), 512), (Some(900), 900), (Some(65_535), 1232)] {
        asked.edns = edns;
        assert_eq!(asked.udp_size(), size);
    }
    let mut large = asked.failure();
    large.answers = (0..200).map(|n| record(RData::A(A::new(12, 1, 1, n)))).collect();
    let cut = Message::from_vec(&asked.bytes(&large, 512).unwrap()).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty());
}

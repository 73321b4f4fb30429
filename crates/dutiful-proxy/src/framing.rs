//! Where messages begin and end in a stream, however its bytes are divided into reads.

use crate::fault::Way;

/// How much of a message is searched for text, in bytes.
pub(crate) const TEXT_MAX: usize = 64 * 1024;
/// The longest startup packet; PostgreSQL accepts no longer one either.
const STARTUP_MAX: u32 = 10_000;
/// The first packet's codes that ask for encryption and are answered by one byte.
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// The code of a packet that cancels another connection's statement; nothing follows it.
const CANCEL_REQUEST: u32 = 80_877_102;
/// The first byte of a TLS handshake, from a client that does not ask before it encrypts.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the bytes on the wire mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Bytes without messages.
    Raw,
    /// PostgreSQL's protocol 3. What follows an accepted request for encryption is only bytes.
    Postgres,
}

/// The part of a message at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) len: usize,
    /// Its first byte is the first of a message.
    pub(crate) begins: bool,
    /// Its last byte is the last of a message.
    pub(crate) ends: bool,
}

/// Both directions of one connection: what the client asked decides how the answer is read.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    client: Stream,
    server: Stream,
    /// Nobody can tell the messages any more.
    opaque: bool,
    /// Requests for encryption that are not answered yet.
    unanswered: u32,
}

/// How far one direction has come.
#[derive(Debug, Clone, Default)]
struct Stream {
    /// The client has not said yet who it is: its packets have no type.
    startup: bool,
    head: Vec<u8>,
    /// Bytes of the message that are still to come; `None` until its head is whole.
    left: Option<u32>,
    text: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            client: Stream { startup: true, ..Stream::default() },
            server: Stream::default(),
            opaque: framing == Framing::Raw,
            unanswered: 0,
        }
    }

    pub(crate) fn opaque(&self) -> bool {
        self.opaque
    }

    /// The client's statement so far, or all of it after a piece that ended one.
    pub(crate) fn text(&self) -> &[u8] {
        &self.client.text
    }

    /// Reads on to the end of the message or of the bytes, of which there is at least one.
    pub(crate) fn step(&mut self, way: Way, bytes: &[u8]) -> Piece {
        if self.opaque {
            return Piece { len: bytes.len(), begins: false, ends: false };
        }
        match way {
            Way::ToServer => self.step_client(bytes),
            Way::ToClient => self.step_server(bytes),
        }
    }

    fn step_client(&mut self, bytes: &[u8]) -> Piece {
        let startup = self.client.startup;
        if startup && !self.client.inside() && bytes[0] == TLS_HANDSHAKE {
            self.opaque = true;
            return Piece { len: bytes.len(), begins: false, ends: false };
        }
        let Some(piece) = self.client.step(bytes) else { return self.lost(bytes) };
        if piece.ends && startup {
            match number(&self.client.head[4..8]) {
                SSL_REQUEST | GSSENC_REQUEST => self.unanswered += 1,
                CANCEL_REQUEST => self.opaque = true,
                _ => self.client.startup = false,
            }
        }
        piece
    }

    fn step_server(&mut self, bytes: &[u8]) -> Piece {
        if self.unanswered > 0 && !self.server.inside() {
            self.unanswered -= 1;
            // A server too old to know the request answers with a whole error instead.
            if bytes[0] != b'E' {
                self.opaque = bytes[0] != b'N';
                return Piece { len: 1, begins: true, ends: true };
            }
        }
        self.server.step(bytes).unwrap_or_else(|| self.lost(bytes))
    }

    /// What cannot be a message makes the rest mere bytes, rather than counts that are wrong.
    fn lost(&mut self, bytes: &[u8]) -> Piece {
        self.opaque = true;
        Piece { len: bytes.len(), begins: false, ends: false }
    }
}

impl Stream {
    fn inside(&self) -> bool {
        self.left != Some(0) && !self.head.is_empty()
    }

    /// Returns `None` if these bytes are no message of the protocol.
    fn step(&mut self, bytes: &[u8]) -> Option<Piece> {
        let begins = !self.inside();
        if begins {
            self.head.clear();
            self.text.clear();
            self.left = None;
        }
        let whole = if self.startup { 8 } else { 5 };
        let of_head = bytes.len().min(whole - self.head.len());
        self.head.extend_from_slice(&bytes[..of_head]);
        if self.left.is_none() && self.head.len() == whole {
            self.left = Some(self.length()?);
        }
        let Some(left) = self.left else {
            return Some(Piece { len: of_head, begins, ends: false });
        };
        let of_body = (bytes.len() - of_head).min(usize::try_from(left).unwrap_or(usize::MAX));
        let body = &bytes[of_head..of_head + of_body];
        if self.startup || matches!(self.head[0], b'Q' | b'P') {
            let room = TEXT_MAX - self.text.len();
            self.text.extend_from_slice(&body[..body.len().min(room)]);
        }
        let left = left - u32::try_from(of_body).expect("no more than `left`, which is a u32");
        self.left = Some(left);
        Some(Piece { len: of_head + of_body, begins, ends: left == 0 })
    }

    /// How much comes behind the head; lengths on the wire count themselves.
    fn length(&self) -> Option<u32> {
        if self.startup {
            let length = number(&self.head[..4]);
            return length.checked_sub(8).filter(|_| length <= STARTUP_MAX);
        }
        number(&self.head[1..5]).checked_sub(4).filter(|left| i32::try_from(*left).is_ok())
    }
}

fn number(four: &[u8]) -> u32 {
    four.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    fn startup(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(4 + body.len()).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    /// Feeds a stream in parts and returns where messages began and ended.
    fn places(wire: &mut Wire, way: Way, stream: &[u8], cuts: &[usize]) -> Vec<(usize, usize)> {
        let mut edges: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        edges.extend([0, stream.len()]);
        edges.sort_unstable();
        let (mut found, mut begun) = (Vec::new(), None);
        for part in edges.windows(2) {
            let mut at = part[0];
            while at < part[1] {
                let piece = wire.step(way, &stream[at..part[1]]);
                if piece.begins {
                    assert_eq!(begun.replace(at), None, "a message began inside another");
                }
                at += piece.len;
                if piece.ends {
                    found.push((begun.take().expect("a message ended that began"), at));
                }
            }
        }
        assert_eq!(begun, None);
        found
    }

    fn expected(messages: &[Vec<u8>]) -> Vec<(usize, usize)> {
        let mut end = 0;
        let place = |message: &Vec<u8>| {
            let begin = end;
            end += message.len();
            (begin, end)
        };
        messages.iter().map(place).collect()
    }

    proptest! {
        #[test]
        fn finds_every_message_however_the_stream_is_split(
            asks in subsequence(&[SSL_REQUEST, GSSENC_REQUEST], 0..=2),
            bodies in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..12),
            cuts in vec(any::<usize>(), 0..30),
        ) {
            let mut wire = Wire::new(Framing::Postgres);
            let mut said: Vec<_> = asks.iter().map(|code| startup(*code, b"")).collect();
            said.push(startup(196_608, b"user\0me\0\0"));
            said.extend(bodies.iter().map(|(kind, body)| typed(*kind, body)));
            let found = places(&mut wire, Way::ToServer, &said.concat(), &cuts);
            prop_assert_eq!(found, expected(&said));

            let mut answers: Vec<_> = asks.iter().map(|_| b"N".to_vec()).collect();
            answers.extend(bodies.iter().map(|(kind, body)| typed(*kind, body)));
            let found = places(&mut wire, Way::ToClient, &answers.concat(), &cuts);
            prop_assert_eq!(found, expected(&answers));
            prop_assert!(!wire.opaque());
        }
    }

    #[test]
    fn encryption_makes_the_rest_mere_bytes() {
        for (code, yes) in [(SSL_REQUEST, b'S'), (GSSENC_REQUEST, b'G')] {
            let mut wire = Wire::new(Framing::Postgres);
            assert!(wire.step(Way::ToServer, &startup(code, b"")).ends);
            assert_eq!(
                wire.step(Way::ToClient, &[yes, 1, 2]),
                Piece { len: 1, begins: true, ends: true }
            );
            assert!(wire.opaque());
        }
        let mut wire = Wire::new(Framing::Postgres);
        assert!(!wire.step(Way::ToServer, &[TLS_HANDSHAKE, 3, 1]).begins);
        assert!(wire.opaque());
    }

    #[test]
    fn an_error_instead_of_the_one_byte_is_a_whole_message() {
        let mut wire = Wire::new(Framing::Postgres);
        wire.step(Way::ToServer, &startup(SSL_REQUEST, b""));
        let error = typed(b'E', b"what?\0");
        let whole = Piece { len: error.len(), begins: true, ends: true };
        assert_eq!(wire.step(Way::ToClient, &error), whole);
        assert!(!wire.opaque());
    }

    #[test]
    fn what_is_no_message_is_not_counted() {
        for bytes in [startup(196_608, &[0; 20_000]), vec![0, 0, 0, 7, 0, 3, 0, 0]] {
            let mut wire = Wire::new(Framing::Postgres);
            assert_eq!(wire.step(Way::ToServer, &bytes).len, bytes.len());
            assert!(wire.opaque());
        }
        let mut wire = Wire::new(Framing::Postgres);
        assert!(!wire.step(Way::ToClient, b"Z\0\0\0\x03").ends);
        assert!(wire.opaque());
    }

    #[test]
    fn keeps_the_text_of_statements_and_of_nothing_else() {
        let mut wire = Wire::new(Framing::Postgres);
        wire.step(Way::ToServer, &startup(196_608, b"user\0me\0\0"));
        assert_eq!(wire.text(), b"user\0me\0\0");
        wire.step(Way::ToServer, &typed(b'p', b"secret\0"));
        assert_eq!(wire.text(), b"");
        let query = typed(b'Q', b"LISTEN a\0");
        wire.step(Way::ToServer, &query[..9]);
        wire.step(Way::ToServer, &query[9..]);
        assert_eq!(wire.text(), b"LISTEN a\0");
    }
}

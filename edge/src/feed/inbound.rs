//! What one client says: a task that reads, as a read that is given up half-way cannot be taken up
//! again (RFC 6455).
//!
//! Owns protocol errors and their close codes. Invariant: whatever a client sends, no more than
//! [`INBOX_MAX`] messages of it wait.

use std::io::ErrorKind;

use fastwebsockets::{Frame, OpCode, WebSocketError, WebSocketRead};
use tokio::io::ReadHalf;
use tokio::sync::mpsc;

use super::masked::MaskedReader;
use super::socket::Stream;

/// Messages a client may send in a row without being read: more is a flood.
pub(super) const INBOX_MAX: usize = 32;

type Reader = MaskedReader<ReadHalf<Stream>>;

/// What the reading task tells the writing loop.
pub(super) enum Inbound {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// Close with this code; 1000 answers the client's own close.
    Close(u16),
}

/// Reads until the client closes, breaks the protocol, or floods.
pub(super) async fn read_all(mut reader: WebSocketRead<Reader>, inbound: mpsc::Sender<Inbound>) {
    loop {
        // Nothing is sent from here: the writing loop answers pings and closes.
        let mut send = |_: Frame<'_>| async { Ok::<_, WebSocketError>(()) };
        let event = match reader.read_frame(&mut send).await {
            Ok(frame) => judge_frame(&frame),
            Err(error) => match close_code(&error) {
                Some(code) => Inbound::Close(code),
                None => return,
            },
        };
        let last = matches!(event, Inbound::Close(_));
        match inbound.try_send(event) {
            Ok(()) if !last => {}
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(_)) => {
                // 1008: more in a row than anyone needs to send.
                let _ = inbound.send(Inbound::Close(1008)).await;
                return;
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

fn judge_frame(frame: &Frame<'_>) -> Inbound {
    match frame.opcode {
        OpCode::Text if frame.fin => Inbound::Message(frame.payload.to_vec()),
        OpCode::Ping => Inbound::Ping(frame.payload.to_vec()),
        OpCode::Pong => Inbound::Pong,
        OpCode::Close if frame.payload.len() == 1 => Inbound::Close(1002),
        OpCode::Close => Inbound::Close(1000),
        OpCode::Binary => Inbound::Close(1003),
        // Every message is small, so fragments are not taken; a stray continuation is an error.
        OpCode::Text => Inbound::Close(1008),
        OpCode::Continuation => Inbound::Close(1002),
    }
}

/// The close code a broken protocol deserves; `None` when there is nobody to tell.
fn close_code(error: &WebSocketError) -> Option<u16> {
    match error {
        WebSocketError::FrameTooLarge => Some(1009),
        WebSocketError::InvalidUTF8 => Some(1007),
        // Not masked: the one thing our own reader refuses.
        WebSocketError::IoError(error) if error.kind() == ErrorKind::InvalidData => Some(1002),
        WebSocketError::UnexpectedEOF
        | WebSocketError::ConnectionClosed
        | WebSocketError::IoError(_)
        | WebSocketError::HTTPError(_) => None,
        _ => Some(1002),
    }
}

#[cfg(test)]
mod tests {
    use fastwebsockets::Payload;

    use super::*;

    fn frame(fin: bool, opcode: OpCode, payload: &'static [u8]) -> Frame<'static> {
        Frame::new(fin, opcode, None, Payload::Borrowed(payload))
    }

    #[track_caller]
    fn closes_with(event: &Inbound, expected: u16) {
        assert!(matches!(event, Inbound::Close(code) if *code == expected));
    }

    #[test]
    fn a_broken_protocol_is_answered_with_the_right_code() {
        closes_with(&judge_frame(&frame(true, OpCode::Continuation, b"")), 1002);
        closes_with(&judge_frame(&frame(false, OpCode::Text, b"")), 1008);
        closes_with(&judge_frame(&frame(true, OpCode::Binary, b"x")), 1003);
        closes_with(&judge_frame(&frame(true, OpCode::Close, b"x")), 1002);
        closes_with(&judge_frame(&frame(true, OpCode::Close, b"\x03\xe8")), 1000);
        assert_eq!(close_code(&WebSocketError::FrameTooLarge), Some(1009));
        assert_eq!(close_code(&WebSocketError::InvalidUTF8), Some(1007));
        assert_eq!(close_code(&WebSocketError::ReservedBitsNotZero), Some(1002));
        assert_eq!(close_code(&WebSocketError::UnexpectedEOF), None);
    }

    #[test]
    fn a_whole_text_frame_is_a_message() {
        let event = judge_frame(&frame(true, OpCode::Text, b"{}"));
        assert!(matches!(event, Inbound::Message(text) if text == b"{}"));
    }
}

//! Follows the frames of a client through the bytes it sends, to refuse one that is not masked.
//!
//! RFC 6455, section 5.1, asks a server to close on one; fastwebsockets takes both and does not say
//! which it was. Invariant: not one byte past the head of an unmasked frame is passed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The first byte of a frame.
    First,
    /// The byte with the mask bit and a short length.
    Length,
    /// So many bytes of a longer length, of which `read` is known.
    LongLength { bytes: u8, read: u64 },
    /// So many bytes of the mask, before so many of the payload.
    Mask { bytes: u8, payload: u64 },
    /// So many bytes of the payload.
    Payload(u64),
}

/// Passes on what a client sends while its frames are masked.
#[derive(Debug)]
pub(super) struct MaskedReader<R> {
    inner: R,
    next: Next,
    unmasked: bool,
}

impl<R> MaskedReader<R> {
    /// `inner` is at the beginning of a frame.
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, next: Next::First, unmasked: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for MaskedReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if !self.unmasked {
            ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
            let read = &buffer.filled()[before..];
            let Some(good) = follow(&mut self.next, read) else { return Poll::Ready(Ok(())) };
            self.unmasked = true;
            buffer.set_filled(before + good);
        }
        // What came before is still answered; no bytes at all would say that the client left.
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an unmasked frame")))
    }
}

/// Where in `bytes` the head of an unmasked frame says so, if one does.
fn follow(next: &mut Next, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let mut passed = 1;
        *next = match *next {
            Next::First => Next::Length,
            Next::Length if byte & 0x80 == 0 => return Some(at),
            Next::Length => match byte & 0x7f {
                126 => Next::LongLength { bytes: 2, read: 0 },
                127 => Next::LongLength { bytes: 8, read: 0 },
                length => Next::Mask { bytes: 4, payload: length.into() },
            },
            Next::LongLength { bytes, read } => {
                let read = read << 8 | u64::from(*byte);
                match bytes {
                    1 => Next::Mask { bytes: 4, payload: read },
                    _ => Next::LongLength { bytes: bytes - 1, read },
                }
            }
            Next::Mask { bytes: 1, payload: 0 } => Next::First,
            Next::Mask { bytes: 1, payload } => Next::Payload(payload),
            Next::Mask { bytes, payload } => Next::Mask { bytes: bytes - 1, payload },
            Next::Payload(left) => {
                passed = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                match left - passed as u64 {
                    0 => Next::First,
                    left => Next::Payload(left),
                }
            }
        };
        at += passed;
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Masked frames of every form of length.
    fn masked() -> Vec<u8> {
        let long = [vec![0x81, 0x80 | 126, 1, 0, 0, 0, 0, 0], vec![b'x'; 256]].concat();
        let longer = [vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4], vec![b'y'; 3]];
        [vec![0x89, 0x80, 0, 0, 0, 0], long, longer.concat(), vec![0x81, 0x81, 9, 9, 9, 9, 1]]
            .concat()
    }

    #[test]
    fn only_an_unmasked_frame_is_found_wherever_the_bytes_are_cut() {
        let good = masked();
        let bad = [good.as_slice(), &[0x81, 0x01, b'x']].concat();
        for cut in 0..=bad.len() {
            let mut next = Next::First;
            let first = follow(&mut next, &bad[..cut]);
            let found = first.or_else(|| Some(cut + follow(&mut next, &bad[cut..])?));
            assert_eq!(found, Some(good.len() + 1), "cut at {cut}");
        }
        let mut next = Next::First;
        assert_eq!(follow(&mut next, &good), None);
        assert_eq!(next, Next::First, "the last frame ended");
    }

    #[tokio::test]
    async fn what_came_before_is_read_and_then_it_is_an_error() {
        let good = masked();
        let bad = [good.as_slice(), &[0x81, 0x01, b'x']].concat();
        let mut reader = MaskedReader::new(bad.as_slice());
        let mut read = Vec::new();
        let error = reader.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(read, bad[..=good.len()]);
        assert!(reader.read_u8().await.is_err(), "nor does it go on");
    }
}

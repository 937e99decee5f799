//! Comparison of an echo with the data sent, while it arrives.

use crate::Failure;
use crate::data::hex;

/// Compares received pieces with the data sent, and records the first difference.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    sent: &'a [u8],
    received: usize,
    different: usize,
    /// Offset of the first difference, and the bytes received there.
    first: Option<(usize, Vec<u8>)>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(sent: &'a [u8]) -> Self {
        Self {
            sent,
            received: 0,
            different: 0,
            first: None,
        }
    }

    /// Bytes not received yet.
    pub(crate) fn left(&self) -> usize {
        self.sent.len().saturating_sub(self.received)
    }

    /// Compares the next received piece.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        let expected = self.sent.get(self.received..).unwrap_or_default();
        let beyond = piece.len().saturating_sub(expected.len());
        let pairs = piece.iter().zip(expected);
        self.different += pairs.filter(|(came, sent)| came != sent).count() + beyond;
        if self.first.is_none()
            && let Some(at) = (0..piece.len()).find(|at| expected.get(*at) != Some(&piece[*at]))
        {
            let excerpt = &piece[at..piece.len().min(at + EXCERPT)];
            self.first = Some((self.received + at, excerpt.to_vec()));
        }
        self.received += piece.len();
    }

    /// Checks that all data was echoed unchanged.
    ///
    /// # Errors
    ///
    /// [`Failure::Wrong`] if not. The message contains the number of bytes that differ, the offset of the first, and the
    /// offset at which the received bytes occur in the data sent, if they do.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Some((at, came)) = self.first else {
            return match self.left() {
                0 => Ok(()),
                left => Err(Failure::Wrong(format!("{left} bytes were not echoed"))),
            };
        };
        let sent = &self.sent[at.min(self.sent.len())..];
        let sent = &sent[..sent.len().min(came.len())];
        let found = self.sent.windows(came.len()).position(|it| it == came);
        let origin = match found {
            Some(origin) => format!("sent at offset {origin}"),
            None => "never sent".to_owned(),
        };
        Err(Failure::Wrong(format!(
            "received {} bytes of {} sent, {} differ; at offset {at} received {} ({origin}) \
            instead of {}",
            self.received,
            self.sent.len(),
            self.different,
            hex(&came),
            hex(sent),
        )))
    }
}

/// Number of bytes of a difference to print.
const EXCERPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::bytes;

    fn compare(sent: &[u8], pieces: &[&[u8]]) -> Result<(), String> {
        let mut comparison = Comparison::new(sent);
        for piece in pieces {
            comparison.update(piece);
        }
        comparison.finish().map_err(|failure| failure.to_string())
    }

    #[test]
    fn equal_data_passes_in_any_pieces() {
        let sent = bytes(1, 100);
        assert_eq!(compare(&sent, &[&sent[..33], &[], &sent[33..]]), Ok(()));
        assert_eq!(compare(&[], &[]), Ok(()));
    }

    #[test]
    fn difference_is_reported_with_its_offset() {
        let sent = bytes(1, 100);
        let problem = compare(&sent, &[&sent[..40], &sent[20..80]]).expect_err("a repetition");
        let expected = format!(
            "at offset 40 received {} (sent at offset 20) instead of {}",
            hex(&sent[20..36]),
            hex(&sent[40..56])
        );
        assert!(problem.contains(&expected), "{problem}");

        let problem = compare(&sent, &[&[0; 100]]).expect_err("zeroes");
        assert!(problem.contains("(never sent)"), "{problem}");
        let problem = compare(&sent, &[&sent, &sent[..3]]).expect_err("too much");
        let start = "received 103 bytes of 100 sent, 3 differ; at offset 100 received";
        assert!(problem.starts_with(start), "{problem}");
        let problem = compare(&sent, &[&sent[1..]]).expect_err("a shift");
        assert!(problem.contains("(sent at offset 1)"), "{problem}");
        let problem = compare(&sent, &[&sent[..99]]).expect_err("too little");
        assert_eq!(problem, "1 bytes were not echoed");
    }
}

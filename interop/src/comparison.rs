//! What came back, held against what was sent as it comes.

use crate::Failure;
use crate::data::hex;

/// Compares what comes back, piece by piece, and notes where it first differs.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    sent: &'a [u8],
    received: usize,
    different: usize,
    /// Where, and what came instead.
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

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> usize {
        self.sent.len().saturating_sub(self.received)
    }

    /// Takes in what came next.
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

    /// Whether all of it came back as it was sent.
    ///
    /// # Errors
    ///
    /// [`Failure::Wrong`] if not: how many bytes differ, which is the first, and where in what was
    /// sent the bytes that came instead are, if anywhere.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Some((at, came)) = self.first else {
            return match self.left() {
                0 => Ok(()),
                left => Err(Failure::Wrong(format!("{left} bytes did not come back"))),
            };
        };
        let sent = &self.sent[at.min(self.sent.len())..];
        let sent = &sent[..sent.len().min(came.len())];
        let found = self.sent.windows(came.len()).position(|it| it == came);
        let origin = match found {
            Some(origin) => format!("was sent at {origin}"),
            None => "was never sent".to_owned(),
        };
        Err(Failure::Wrong(format!(
            "{} bytes came back and {} were sent, {} differ; at {at} came {}, which {origin}, \
             instead of {}",
            self.received,
            self.sent.len(),
            self.different,
            hex(&came),
            hex(sent),
        )))
    }
}

/// Bytes that are shown of a difference.
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
    fn what_was_sent_is_right_in_any_pieces() {
        let sent = bytes(1, 100);
        assert_eq!(compare(&sent, &[&sent[..33], &[], &sent[33..]]), Ok(()));
        assert_eq!(compare(&[], &[]), Ok(()));
    }

    #[test]
    fn difference_is_reported_with_its_place() {
        let sent = bytes(1, 100);
        let problem = compare(&sent, &[&sent[..40], &sent[20..80]]).expect_err("a repetition");
        let expected = format!(
            "at 40 came {}, which was sent at 20, instead of {}",
            hex(&sent[20..36]),
            hex(&sent[40..56])
        );
        assert!(problem.contains(&expected), "{problem}");

        let problem = compare(&sent, &[&[0; 100]]).expect_err("zeroes");
        assert!(problem.contains("which was never sent"), "{problem}");
        let problem = compare(&sent, &[&sent, &sent[..3]]).expect_err("too much");
        let start = "103 bytes came back and 100 were sent, 3 differ; at 100 came";
        assert!(problem.starts_with(start), "{problem}");
        let problem = compare(&sent, &[&sent[1..]]).expect_err("a shift");
        assert!(problem.contains("which was sent at 1"), "{problem}");
        let problem = compare(&sent, &[&sent[..99]]).expect_err("too little");
        assert_eq!(problem, "1 bytes did not come back");
    }
}

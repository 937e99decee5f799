//! Control messages of a send call, as the bytes that Linux reads.
//!
//! On every architecture Linux lays out `cmsghdr` by the size of a pointer: the length of header
//! and data as a `size_t`, level and kind as an `int` each, then the data, padded to the size of a
//! pointer.

use std::net::IpAddr;

/// The control messages of one call, stored inline.
#[derive(Debug, Default)]
pub(in crate::net) struct ControlMessages {
    bytes: [[u8; WORD]; CAPACITY],
    words: usize,
}

impl ControlMessages {
    /// Has the kernel split the bytes of the call into datagrams of `size`.
    #[must_use]
    pub(in crate::net) fn segment_size(self, size: u16) -> Self {
        self.push(SOL_UDP, UDP_SEGMENT, &[&size.to_ne_bytes()])
    }

    /// Sends from the address `ip`.
    #[must_use]
    pub(in crate::net) fn source(self, ip: IpAddr) -> Self {
        const ANY_INTERFACE: [u8; 4] = [0; 4];
        match ip {
            IpAddr::V4(ip) => {
                let data: [&[u8]; 3] = [&ANY_INTERFACE, &ip.octets(), &[0; 4]];
                self.push(IPPROTO_IP, IP_PKTINFO, &data)
            }
            IpAddr::V6(ip) => {
                let data: [&[u8]; 2] = [&ip.octets(), &ANY_INTERFACE];
                self.push(IPPROTO_IPV6, IPV6_PKTINFO, &data)
            }
        }
    }

    pub(in crate::net) fn bytes(&self) -> &[u8] {
        self.bytes[..self.words].as_flattened()
    }

    fn push(mut self, level: i32, kind: i32, data: &[&[u8]]) -> Self {
        let len = HEADER + data.iter().map(|part| part.len()).sum::<usize>();
        let words = len.div_ceil(WORD);
        let header: [&[u8]; 3] = [
            &len.to_ne_bytes(),
            &level.to_ne_bytes(),
            &kind.to_ne_bytes(),
        ];
        let source = header.iter().chain(data).copied().flatten();
        let target = self.bytes[self.words..self.words + words].as_flattened_mut();
        for (target, source) in target.iter_mut().zip(source) {
            *target = *source;
        }
        self.words += words;
        self
    }
}

const WORD: usize = size_of::<usize>();

const HEADER: usize = WORD + 2 * size_of::<i32>();

/// Words of a segment size and a v6 source address, the largest combination.
const CAPACITY: usize = (HEADER + 2).div_ceil(WORD) + (HEADER + 20).div_ceil(WORD);

const IPPROTO_IP: i32 = 0;
const IP_PKTINFO: i32 = 8;
const IPPROTO_IPV6: i32 = 41;
const IPV6_PKTINFO: i32 = 50;
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn control_messages_have_the_layout_of_linux() {
        let messages = ControlMessages::default()
            .segment_size(1400)
            .source(Ipv4Addr::new(127, 0, 0, 2).into());
        let bytes = messages.bytes();
        assert_eq!(bytes.len() % WORD, 0);
        assert_eq!(bytes[..WORD], (HEADER + 2).to_ne_bytes());
        assert_eq!(bytes[WORD..WORD + 4], 17_i32.to_ne_bytes());
        assert_eq!(bytes[WORD + 4..HEADER], 103_i32.to_ne_bytes());
        assert_eq!(bytes[HEADER..HEADER + 2], 1400_u16.to_ne_bytes());
        let second = &bytes[(HEADER + 2).next_multiple_of(WORD)..];
        assert_eq!(second[..WORD], (HEADER + 12).to_ne_bytes());
        assert_eq!(second[HEADER + 4..HEADER + 8], [127, 0, 0, 2]);
    }

    #[test]
    fn largest_messages_fit() {
        let messages = ControlMessages::default()
            .segment_size(u16::MAX)
            .source(Ipv6Addr::LOCALHOST.into());
        assert_eq!(messages.bytes().len(), CAPACITY * WORD);
    }
}

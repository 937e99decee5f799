//! The trait of ciphers that do not authenticate packets.

/// A keyed transformation of whole packets, nonce and checksum included, without authentication:
/// kcp-go's `BlockCrypt`.
///
/// Implement it for a cipher of your own and pass it to
/// [`LegacyCipher::custom`](super::LegacyCipher::custom); for authenticated encryption there is
/// [`AeadCipher`](super::AeadCipher).
///
/// A packet is a nonce of 16 bytes, a CRC-32 and the payload. The cipher transforms all of it in place
/// and keeps its length. No two packets under one key have the same nonce, and the cipher must derive
/// each packet's key stream from it: by chaining what follows to the encrypted nonce, as CFB does, or by
/// leaving part of the nonce in clear and seeding a stream cipher with it, as Salsa20 does. A cipher with
/// blocks of 8 bytes, or one that uses 8 bytes of the nonce, repeats a key stream by chance after about
/// 2^32 blocks or packets; so do kcp-go's.
///
/// A packet to decrypt may have any sender and any content. It has 20 bytes or more, and at most the
/// peer's mtu, which may be larger than this side's.
///
/// ```
/// use kcp_transport::crypto::{LegacyCipher, PacketCipher, Security};
/// use salsa20::cipher::{KeyIvInit, StreamCipher};
///
/// /// Salsa20 with 12 rounds. The first 8 bytes of the packet's nonce are the cipher's, in clear.
/// struct Salsa12([u8; 32]);
///
/// impl PacketCipher for Salsa12 {
///     fn encrypt(&self, packet: &mut [u8]) {
///         if let Some((nonce, rest)) = packet.split_first_chunk_mut::<8>() {
///             let mut stream = salsa20::Salsa12::new(&self.0.into(), &(*nonce).into());
///             stream.apply_keystream(rest);
///         }
///     }
///
///     fn decrypt(&self, packet: &mut [u8]) {
///         self.encrypt(packet);
///     }
/// }
///
/// let cipher = LegacyCipher::custom("salsa12", Salsa12([7; 32]));
/// let security = Security::Legacy(cipher);
/// assert_eq!(security.name(), "salsa12");
/// ```
pub trait PacketCipher: Send + Sync {
    /// Encrypts one packet in place.
    fn encrypt(&self, packet: &mut [u8]);

    /// Decrypts one packet in place: the inverse of [`encrypt`](Self::encrypt).
    ///
    /// Must not panic for any content.
    fn decrypt(&self, packet: &mut [u8]);

    /// Encrypts all packets in place; by default one after the other.
    ///
    /// Implement it for a cipher that is faster with several packets at once. Block ciphers in CFB mode
    /// are, because they are serial within a packet. Packets that remain in the iterator are encrypted
    /// with [`encrypt`](Self::encrypt) afterwards.
    fn encrypt_batch(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
        packets.for_each(|packet| self.encrypt(packet));
    }
}

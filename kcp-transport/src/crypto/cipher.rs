//! What a cipher without authentication does to packets.

/// A keyed transformation of whole packets, nonce and checksum included, without authentication.
///
/// What kcp-go calls a `BlockCrypt`. Implement it for a cipher of your own and pass it to
/// [`LegacyCipher::custom`](super::LegacyCipher::custom); for authenticated encryption there is
/// [`AeadCipher`](super::AeadCipher).
///
/// A packet starts with a nonce of 16 bytes that no other packet under this key has, which makes the
/// key stream of each packet its own: either the cipher chains all that follows to it, or it leaves
/// some of it as it is and derives the rest's key stream from that. A cipher that uses 8 bytes of it
/// only, as Salsa20 does, or has blocks of 8 bytes, repeats a key stream after some 2^32 packets or
/// blocks by chance, in kcp-go too. A CRC-32 follows, then the payload. All of it changes in place and keeps its length.
///
/// Packets to decrypt come from anyone and hold anything. Their length is between 20 bytes and the
/// mtu, but may be larger if the peer has a larger mtu.
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

    /// Undoes [`encrypt`](Self::encrypt), in place. Must not panic, whatever the packet holds.
    fn decrypt(&self, packet: &mut [u8]);

    /// Encrypts all packets in place; by default one after the other.
    ///
    /// For ciphers that are faster with several packets at once, as block ciphers in CFB mode are,
    /// which are serial within a packet. Packets left in the iterator are then given to
    /// [`encrypt`](Self::encrypt).
    fn encrypt_batch(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
        packets.for_each(|packet| self.encrypt(packet));
    }
}

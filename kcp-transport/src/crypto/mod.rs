//! Packet ciphers of kcp-go's wire format.

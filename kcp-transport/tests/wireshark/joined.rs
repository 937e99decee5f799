//! Packets of several datagrams, as Linux captures them before it segments them (GSO) and after it joins them
//! (GRO).

use kcp_transport::crypto::Security;
use kcp_transport::packet::{Sealer, TransmitBatch};
use kcp_transport::wire::{Command, SHARD_HEADER_LEN, SHARD_SIZE_LEN, ShardHeader, ShardKind};

use super::capture::PORT;
use super::expected::{Row, row};
use super::tshark::Tshark;
use super::with_fec;

#[test]
fn joined_datagrams_are_split() {
    let Some(tshark) = Tshark::new() else { return };
    let port = PORT.to_string();
    for name in ["null", "none", "aes-128", "aes-128-gcm"] {
        let security = Security::from_password(name, "a password", Security::KCPTUN_SALT).unwrap();
        let single = datagrams(&security);
        // The size is known from the first one.
        let captured = [single[0].clone(), single[1..].concat()];
        let preferences = [
            ("ports", &*port),
            ("cipher", name),
            ("password", "a password"),
        ];
        let shown = tshark.rows(&captured, &preferences);
        let mut rows = single.iter().map(|it| row(it, &security));
        assert_eq!(shown[0], rows.next().unwrap(), "{name}");
        assert_eq!(shown[1], rows.reduce(joined).unwrap(), "{name}");
    }
}

/// Five of a size, among them parity, and a shorter one.
fn datagrams(security: &Security) -> Vec<Vec<u8>> {
    let layout = with_fec().layout(security.overhead()).unwrap();
    let mut batch = TransmitBatch::new(layout, 6);
    for sequence in 0..6 {
        let kind = if sequence == 3 {
            ShardKind::Parity
        } else {
            ShardKind::Data
        };
        let data = vec![7; if sequence == 5 { 50 } else { 1000 }];
        let segment = super::segment(Command::Push, &data);
        batch.push_with(|out| {
            ShardHeader { sequence, kind }.encode(out);
            let start = SHARD_HEADER_LEN + SHARD_SIZE_LEN;
            let end = start + segment.len();
            out[start..end].copy_from_slice(&segment);
            ShardHeader::encode_size(&mut out[SHARD_HEADER_LEN..end]);
            end
        });
    }
    Sealer::new(security, [1; 32]).seal(&mut batch).unwrap();
    batch.datagrams().map(<[u8]>::to_vec).collect()
}

fn joined(mut row: Row, next: Row) -> Row {
    for (cell, next) in row.iter_mut().zip(next) {
        if !cell.is_empty() && !next.is_empty() {
            cell.push(',');
        }
        *cell += &next;
    }
    row
}

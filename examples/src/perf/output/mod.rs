//! Results as text, in iperf3's shape, and as JSON.

mod json;
mod text;

pub use json::{Document, ServerLine, failed};
pub use text::{connected, header, interval, server_accepted, server_ended, server_sum, summary};

use super::client::Connection;
use super::figures::Figures;
use super::meter::Direction;
use super::wire::{Kind, Side};

/// Both sides' figures of a direction; those of the server are missing if it has not reported.
#[derive(Clone, Copy, Debug)]
struct Ends {
    id: u32,
    direction: Direction,
    sender: Option<Figures>,
    receiver: Option<Figures>,
}

/// The directions in which data flows, as the client sees them.
fn directions(kind: Kind) -> impl Iterator<Item = Direction> {
    Direction::of(kind, Side::Client)
}

/// The results of each connection and direction.
fn ends(kind: Kind, connections: &[Connection]) -> Vec<Ends> {
    let of = |connection: &Connection, direction| {
        let meter = &connection.meter;
        let (own, peer) = (Some(meter.figures(direction)), |it| meter.reported(it));
        let (sender, receiver) = match direction {
            Direction::Sent => (own, peer(Direction::Received)),
            Direction::Received => (peer(Direction::Sent), own),
        };
        Ends {
            id: connection.id,
            direction,
            sender,
            receiver,
        }
    };
    let each = |connection| directions(kind).map(move |direction| of(connection, direction));
    connections.iter().flat_map(each).collect()
}

/// The sum of a direction over all connections. A side is missing if one of its reports is.
fn sum(ends: &[Ends], direction: Direction) -> Ends {
    let total = |side: fn(&Ends) -> Option<Figures>| {
        let of_direction = ends.iter().filter(|it| it.direction == direction);
        let figures: Option<Vec<Figures>> = of_direction.map(side).collect();
        figures.map(|figures| sum_of(figures.into_iter()))
    };
    Ends {
        id: 0,
        direction,
        sender: total(|it| it.sender),
        receiver: total(|it| it.receiver),
    }
}

fn sum_of(figures: impl Iterator<Item = Figures>) -> Figures {
    figures.fold(Figures::default(), |mut sum, more| {
        sum += more;
        sum
    })
}

use super::*;

/// As many large buffers as given, which were in use at one time.
fn with_large(count: usize) -> Buffers {
    let mut buffers = Buffers::default();
    let taken: Vec<_> = (0..count).map(|_| buffers.take(1400)).collect();
    taken.into_iter().for_each(|buffer| buffers.give(buffer));
    buffers
}

/// Spare bytes of large buffers, without the lists.
fn large(buffers: &Buffers) -> usize {
    let lists = (buffers.small.capacity() + buffers.large.capacity()) * size_of::<Vec<u8>>();
    buffers.held() - lists
}

/// Slabs without a slot in use.
fn slabs(buffers: &Buffers) -> usize {
    buffers.slabs.as_ref().map_or(0, |slabs| slabs.empty())
}

#[test]
fn small_data_never_takes_a_large_buffer() {
    let mut buffers = with_large(100);
    assert!(buffers.take(1300).capacity() >= 1400);
    assert!(buffers.take(1).capacity() < LARGE);
}

#[test]
fn data_is_kept_while_buffers_grow() {
    for most in [10, LARGE, 1400, 9000] {
        let mut buffers = Buffers::default();
        let mut written = Vec::new();
        // With and without slots.
        let mut held: Vec<_> = (0..2 * usize::from(MAX_HEAP))
            .map(|_| buffers.take(0))
            .collect();
        for number in 0..most {
            let byte = [number as u8];
            written.extend_from_slice(&byte);
            for data in &mut held {
                buffers.append(data, &byte);
            }
        }
        for data in held {
            assert_eq!(buffers.bytes(&data), written);
            assert!(
                data.capacity() <= 3 * data.len() + 64,
                "{}",
                data.capacity()
            );
            buffers.give(data);
        }
        assert_eq!(buffers.large_used, 0);
        buffers.clear();
        assert_eq!(buffers.held(), 0);
    }
}

#[test]
fn spare_buffers_are_capped() {
    let mut buffers = Buffers::default();
    let taken: Vec<_> = (0..10 * MAX_SPARE).map(|_| buffers.take(10)).collect();
    taken.into_iter().for_each(|buffer| buffers.give(buffer));
    assert_eq!(buffers.small.len(), MAX_SPARE);
    buffers.clear();
    assert_eq!(buffers.held(), 0);
}

#[test]
fn windows_that_empty_and_fill_take_no_other_maps() {
    let mut buffers = with_large(3000);
    let all = large(&buffers);
    assert!(all <= (3000 + SLOTS) * SLOT_LEN + 16 * 1024);
    for _ in 0..3 {
        let taken: Vec<_> = (0..3000).map(|_| buffers.take(1400)).collect();
        assert_eq!(slabs(&buffers), 0);
        taken.into_iter().for_each(|buffer| buffers.give(buffer));
        assert_eq!(large(&buffers), all);
    }
}

#[test]
fn maps_unused_for_a_second_are_freed_except_a_few() {
    let start = Time::from_millis(5000);
    let second = |number| start + KEPT_FOR * number;
    let mut buffers = with_large(1000);
    let all = large(&buffers);
    // They were returned during this period, so they do not count as unused yet.
    buffers.age(start);
    assert_eq!(large(&buffers), all);
    let taken: Vec<_> = (0..600).map(|_| buffers.take(1400)).collect();
    taken.into_iter().for_each(|buffer| buffers.give(buffer));
    buffers.age(start + Duration::from_millis(999));
    assert_eq!(large(&buffers), all);
    buffers.age(second(1));
    let few = (MAX_SPARE + 2 * SLOTS + usize::from(MAX_HEAP)) * SLOT_LEN + 4096;
    assert!((600 * SLOT_LEN..600 * SLOT_LEN + few).contains(&large(&buffers)));
    buffers.age(second(2));
    assert!(large(&buffers) <= few, "{}", large(&buffers));
}

#[test]
fn small_data_takes_what_is_held_if_there_is_to_be_no_more() {
    let mut buffers = Buffers::default();
    let mut taken: Vec<_> = (0..100).map(|_| buffers.take(1400)).collect();
    let last = taken.pop();
    taken.into_iter().for_each(|buffer| buffers.give(buffer));
    buffers.clear();
    let held = buffers.held();
    assert!(held > 0, "beside the last");
    let mut used = 0;
    let small: Vec<_> = (0..3)
        .map(|_| buffers.take_held(10))
        .inspect(|data| used += data.capacity())
        .collect();
    assert_eq!(used + buffers.held(), held);
    small.into_iter().for_each(|buffer| buffers.give(buffer));
    last.into_iter().for_each(|buffer| buffers.give(buffer));
    buffers.clear();
    assert_eq!(buffers.held(), 0);
}

#[test]
fn few_buffers_are_kept_while_memory_is_short() {
    let mut buffers = Buffers::default();
    for scarce in [true, false] {
        buffers.set_scarce(scarce);
        let taken: Vec<_> = (0..2000).map(|_| buffers.take(1400)).collect();
        taken.into_iter().for_each(|buffer| buffers.give(buffer));
        let expected = if scarce {
            MAX_SPARE
        } else {
            2000 - usize::from(MAX_HEAP)
        };
        assert_eq!(slabs(&buffers), expected.div_ceil(SLOTS));
    }
    buffers.set_scarce(true);
    assert_eq!(buffers.held(), 0);
}

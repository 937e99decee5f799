//! Reed-Solomon over a group's shards: adding a shard to the parity, and reconstructing lost
//! shards.
//!
//! The generator matrix is that of kcp-go's library: a Vandermonde matrix, multiplied so that its
//! upper part becomes the identity. Only the rows for parity are stored, 30 bytes for 10/3. Solving
//! for the lost shards alone inverts a small matrix, of the size of their number, so no cache of
//! inverted matrices is needed.

use super::FecRatio;
use super::field::{Gf256, Kernel};

/// The coefficients of a ratio's parity.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    /// For each parity shard, one factor for each data shard.
    rows: Vec<u8>,
    data: usize,
    kernel: Kernel,
}

/// A group could not be reconstructed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inconsistent;

impl Codec {
    /// Computes the coefficients of `ratio`. Received packets, even forged ones, can cause this, so
    /// it must be cheap: 0.15 ms for 255/1, where inverting the upper part of the matrix takes 90
    /// ms.
    ///
    /// Data shards are the values of a polynomial at 0, 1, 2 and so on, and parity shards those at
    /// the places after them. So a coefficient is a Lagrange basis polynomial at the place of the
    /// parity: `(x - k) / (j - k)` multiplied for all places `k` of data but `j`, where a
    /// subtraction is an XOR. The numerators of a row are one product, divided by `x - j` each.
    pub(super) fn new(ratio: FecRatio) -> Self {
        // At most 256 shards, so that each place is an element.
        let places = |range: std::ops::Range<usize>| range.map(|place| place as u8);
        let product = |elements: &mut dyn Iterator<Item = u8>| elements.fold(1, Gf256::multiply);
        let data = || places(0..ratio.data());
        let denominators: Vec<u8> = data()
            .map(|j| product(&mut data().filter(|&k| k != j).map(|k| j ^ k)))
            .collect();
        let kernel = Kernel::best();
        let mut rows = vec![0; ratio.parity() * ratio.data()];
        let parity = places(ratio.data()..ratio.group());
        for (row, x) in rows.chunks_exact_mut(ratio.data()).zip(parity) {
            let numerator = product(&mut data().map(|k| x ^ k));
            let divided: Vec<u8> = data()
                .zip(&denominators)
                .map(|(j, &denominator)| Gf256::inverse(Gf256::multiply(x ^ j, denominator)))
                .collect();
            kernel.mul(numerator, &divided, row);
        }
        Self {
            rows,
            data: ratio.data(),
            kernel,
        }
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        self.rows.capacity()
    }

    /// Adds data shard `index` to the parity of its group.
    ///
    /// Shards count as padded with zeros, which add nothing: only the first bytes of the parity
    /// change, as many as the shard has.
    pub(super) fn accumulate(&self, index: usize, shard: &[u8], parity: &mut [Vec<u8>]) {
        for (parity, row) in parity.iter_mut().zip(self.rows.chunks_exact(self.data)) {
            self.kernel
                .mul_add(row[index], shard, &mut parity[..shard.len()]);
        }
    }

    /// Computes the missing data shards of a group and leaves them in `shards`, in order, each
    /// padded to the length of the parity, which is returned.
    ///
    /// `data` contains the shards that arrived, `parity` as many as are missing, both with their
    /// index.
    ///
    /// The known data is first subtracted from the parity, which leaves sums of the missing shards
    /// only: as many equations as unknowns, which are then solved.
    pub(super) fn reconstruct(
        &self,
        data: &[(usize, &[u8])],
        parity: &[(usize, &[u8])],
        shards: &mut Vec<u8>,
    ) -> Result<usize, Inconsistent> {
        let missing: Vec<usize> = (0..self.data)
            .filter(|at| data.iter().all(|(index, _)| index != at))
            .collect();
        let length = parity.first().ok_or(Inconsistent)?.1.len();
        let fits = parity.len() == missing.len()
            && parity.iter().all(|(_, shard)| shard.len() == length)
            && data.iter().all(|(_, shard)| shard.len() <= length)
            && length > 0;
        if !fits {
            return Err(Inconsistent);
        }
        let row = |parity: usize| &self.rows[parity * self.data..][..self.data];
        let system = parity
            .iter()
            .flat_map(|&(index, _)| missing.iter().map(move |&at| row(index)[at]))
            .collect();
        let inverse = self.invert(system, missing.len())?;

        let total = missing.len() * length;
        shards.clear();
        shards.resize(2 * total, 0);
        let (solutions, sums) = shards.split_at_mut(total);
        for (sum, &(index, shard)) in sums.chunks_exact_mut(length).zip(parity) {
            sum.copy_from_slice(shard);
            for &(at, shard) in data {
                self.kernel
                    .mul_add(row(index)[at], shard, &mut sum[..shard.len()]);
            }
        }
        let rows = inverse.chunks_exact(missing.len());
        for (solution, factors) in solutions.chunks_exact_mut(length).zip(rows) {
            for (&factor, sum) in factors.iter().zip(sums.chunks_exact(length)) {
                self.kernel.mul_add(factor, sum, solution);
            }
        }
        shards.truncate(total);
        Ok(length)
    }

    /// Inverts a matrix of `size` rows and columns by Gauss-Jordan elimination.
    fn invert(&self, mut matrix: Vec<u8>, size: usize) -> Result<Vec<u8>, Inconsistent> {
        let mut inverse = vec![0; size * size];
        for row in 0..size {
            inverse[row * size + row] = 1;
        }
        for column in 0..size {
            let pivot = (column..size)
                .find(|row| matrix[row * size + column] != 0)
                .ok_or(Inconsistent)?;
            let scale = Gf256::inverse(matrix[pivot * size + column]);
            for side in [&mut matrix, &mut inverse] {
                for at in 0..size {
                    side.swap(pivot * size + at, column * size + at);
                    let element = &mut side[column * size + at];
                    *element = Gf256::multiply(*element, scale);
                }
            }
            let factors: Vec<u8> = (0..size).map(|row| matrix[row * size + column]).collect();
            for side in [&mut matrix, &mut inverse] {
                let source = side[column * size..][..size].to_vec();
                for (row, target) in side.chunks_exact_mut(size).enumerate() {
                    if row != column {
                        self.kernel.mul_add(factors[row], &source, target);
                    }
                }
            }
        }
        Ok(inverse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8;

    fn ratios() -> impl Strategy<Value = FecRatio> {
        let any = (1..=255_usize)
            .prop_flat_map(|data| (Just(data), 1..=(256 - data)))
            .prop_map(|(data, parity)| FecRatio::new(data, parity).expect("in range"));
        let small = (1..=20_usize, 1..=8_usize)
            .prop_map(|(data, parity)| FecRatio::new(data, parity).expect("in range"));
        prop_oneof![1 => any, 4 => small]
    }

    /// Data shards of a ratio, not all of one length.
    fn groups() -> impl Strategy<Value = (FecRatio, Vec<Vec<u8>>)> {
        ratios().prop_flat_map(|ratio| {
            let shard = prop::collection::vec(any::<u8>(), 1..40);
            (Just(ratio), prop::collection::vec(shard, ratio.data()))
        })
    }

    fn accumulated(codec: &Codec, ratio: FecRatio, shards: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let length = shards.iter().map(Vec::len).max().expect("not empty");
        let mut parity = vec![vec![0; length]; ratio.parity()];
        for (index, shard) in shards.iter().enumerate() {
            codec.accumulate(index, shard, &mut parity);
        }
        parity
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn parity_added_up_shard_by_shard_is_that_of_padded_shards((ratio, shards) in groups()) {
            let parity = accumulated(&Codec::new(ratio), ratio, &shards);
            let pad = |shard: &Vec<u8>| {
                let mut shard = shard.clone();
                shard.resize(parity[0].len(), 0);
                shard
            };
            let padded: Vec<Vec<u8>> = shards.iter().map(pad).collect();
            let mut theirs = vec![vec![0; parity[0].len()]; ratio.parity()];
            galois_8::ReedSolomon::new(ratio.data(), ratio.parity())
                .expect("in range")
                .encode_sep(&padded, &mut theirs)
                .expect("equal lengths");
            prop_assert_eq!(&parity, &theirs);
        }

        #[test]
        fn any_sufficient_shards_give_the_others_back(
            (ratio, shards) in groups(),
            order in Just(()).prop_perturb(|(), mut rng| {
                let mut order: Vec<usize> = (0..256).collect();
                for at in 0..256 {
                    order.swap(at, rng.random_range(at..256));
                }
                order
            }),
        ) {
            let codec = Codec::new(ratio);
            let parity_shards = accumulated(&codec, ratio, &shards);
            let kept: Vec<usize> =
                order.into_iter().filter(|&at| at < ratio.group()).take(ratio.data()).collect();
            let data: Vec<_> = kept
                .iter()
                .filter(|&&at| at < ratio.data())
                .map(|&at| (at, &shards[at][..]))
                .collect();
            let parity: Vec<_> = kept
                .iter()
                .filter(|&&at| at >= ratio.data())
                .map(|&at| (at - ratio.data(), &parity_shards[at - ratio.data()][..]))
                .collect();
            if parity.is_empty() {
                return Ok(());
            }
            let mut rebuilt = vec![1; 3];
            let length = codec.reconstruct(&data, &parity, &mut rebuilt).expect("consistent");
            let missing = (0..ratio.data()).filter(|at| !kept.contains(at));
            for (at, rebuilt) in missing.zip(rebuilt.chunks_exact(length)) {
                let (shard, padding) = rebuilt.split_at(shards[at].len());
                prop_assert_eq!(shard, &shards[at][..]);
                prop_assert!(padding.iter().all(|&byte| byte == 0));
            }
            prop_assert_eq!(rebuilt.len(), parity.len() * length);
        }
    }

    /// Other ratios with as many data shards use the first rows of these.
    #[test]
    fn coefficients_of_the_largest_groups_are_those_of_galois_8() {
        for data in (1..=255).step_by(127).chain([10, 254]) {
            let ratio = FecRatio::new(data, 256 - data).expect("in range");
            let theirs = galois_8::ReedSolomon::new(ratio.data(), ratio.parity());
            let shard = |at: usize| vec![(at * 7 + 1) as u8];
            let shards: Vec<Vec<u8>> = (0..data).map(shard).collect();
            let mut expected = vec![vec![0]; ratio.parity()];
            let encoded = theirs.expect("in range").encode_sep(&shards, &mut expected);
            encoded.expect("equal lengths");
            assert_eq!(accumulated(&Codec::new(ratio), ratio, &shards), expected);
        }
    }

    #[test]
    fn shards_of_contradicting_lengths_are_refused() {
        let codec = Codec::new(FecRatio::new(3, 2).expect("in range"));
        let refuse = |data: &[(usize, &[u8])], parity: &[(usize, &[u8])]| {
            let result = codec.reconstruct(data, parity, &mut Vec::new());
            assert_eq!(result, Err(Inconsistent));
        };
        refuse(&[(0, &[1, 2])], &[(0, &[1, 2]), (1, &[1])]);
        refuse(&[(0, &[1, 2]), (1, &[1, 2, 3])], &[(0, &[1, 2])]);
        refuse(&[(0, &[1])], &[(0, &[1])]);
        refuse(&[(0, &[]), (1, &[])], &[(0, &[])]);
        refuse(&[(0, &[1]), (1, &[1]), (2, &[1])], &[]);
    }
}

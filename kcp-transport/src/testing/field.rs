//! The arithmetic under FEC, kernel by kernel.

use crate::fec;

/// Shows `look` the name of every kernel that this processor can run, and the kernel.
///
/// A kernel multiplies a slice by a factor, into an output of the same length or adding to it:
///
/// ```
/// use kcp_transport::testing::field;
///
/// field::each_kernel(|name, kernel| {
///     let mut out = [1, 1];
///     kernel(true, 2, &[3, 0x80], &mut out);
///     assert_eq!(out, [7, 0x1c], "{name}");
/// });
/// ```
pub fn each_kernel(mut look: impl FnMut(&str, &Kernel<'_>)) {
    fec::each_kernel(&mut look);
}

/// Whether to add, the factor, the input, and the output.
pub type Kernel<'a> = dyn Fn(bool, u8, &[u8], &mut [u8]) + 'a;

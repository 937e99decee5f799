//! The arithmetic of FEC, kernel by kernel.

use crate::fec;

/// Calls `look` with the name and the function of every kernel that this processor supports.
///
/// A kernel multiplies a slice by a factor, and writes the result to an output of the same length
/// or adds it:
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

/// Arguments: whether to add, the factor, the input, and the output.
pub type Kernel<'a> = dyn Fn(bool, u8, &[u8], &mut [u8]) + 'a;

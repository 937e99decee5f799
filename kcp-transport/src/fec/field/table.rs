//! Multiplication in GF(2^8) as tables, all computed at compile time.

/// The polynomial x^8 + x^4 + x^3 + x^2 + 1 that the field is reduced by, without its x^8.
const POLYNOMIAL: u8 = 0x1d;

/// Products of each factor with the 16 low and the 16 high nibbles.
///
/// Since multiplication is linear, `a * b` is the sum of `a` times both halves of `b`. 8 KiB in
/// place of the 64 KiB of a full table, and just what byte shuffles look up.
pub(super) static NIBBLES: [[u8; 32]; 256] = nibbles();

/// The inverse of each element; 0 for 0, which has none.
pub(super) static INVERSE: [u8; 256] = inverses();

/// Each factor as the 8x8 bit matrix that GFNI's affine instruction multiplies bytes with.
///
/// GFNI's own multiplication cannot be used: it is reduced by the polynomial of AES.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(super) static AFFINE: [u64; 256] = affine();

/// Multiplies bit by bit.
const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        let carry = a >> 7;
        a = (a << 1) ^ (carry * POLYNOMIAL);
        b >>= 1;
    }
    product
}

// The casts below narrow loop counters of at most 255, which `for` and `From` could avoid if they
// were allowed in constants.

const fn nibbles() -> [[u8; 32]; 256] {
    let mut tables = [[0; 32]; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            tables[factor][nibble] = multiply(factor as u8, nibble as u8);
            tables[factor][nibble + 16] = multiply(factor as u8, (nibble << 4) as u8);
            nibble += 1;
        }
        factor += 1;
    }
    tables
}

/// Walks the powers of 2, which reach every element but 0: 2^i times 2^(255-i) is 1.
const fn inverses() -> [u8; 256] {
    let mut powers = [1; 256];
    let mut i = 1;
    while i < 256 {
        powers[i] = multiply(powers[i - 1], 2);
        i += 1;
    }
    let mut inverses = [0; 256];
    let mut i = 0;
    while i < 256 {
        inverses[powers[i] as usize] = powers[255 - i];
        i += 1;
    }
    inverses
}

/// Row 7-i of a matrix, its byte 7-i, selects the bits of the input that are added to bit i of the
/// product.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
const fn affine() -> [u64; 256] {
    let mut matrices = [0; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut bit_in = 0;
        while bit_in < 8 {
            let product = multiply(factor as u8, 1 << bit_in);
            let mut bit_out = 0;
            while bit_out < 8 {
                let bit = (product >> bit_out & 1) as u64;
                matrices[factor] |= bit << ((7 - bit_out) * 8 + bit_in);
                bit_out += 1;
            }
            bit_in += 1;
        }
        factor += 1;
    }
    matrices
}

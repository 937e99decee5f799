//! Names of options with a few values.

/// Implements `Display` and `FromStr` for an enum of unit variants, from the option's name in
/// errors and the name of each variant.
macro_rules! names {
    ($type:ident, $option:literal, { $first:literal => $head:ident $(, $name:literal => $variant:ident)* }) => {
        #[doc = concat!("The name: ", "`", $first, "`", $(", `", $name, "`",)* ".")]
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self {
                    Self::$head => $first,
                    $(Self::$variant => $name,)*
                })
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::ConfigError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $first => Ok(Self::$head),
                    $($name => Ok(Self::$variant),)*
                    other => Err($crate::error::ConfigError::OutOfRange {
                        option: $option,
                        given: other.to_owned(),
                        allowed: concat!($first $(, ", ", $name)*),
                    }),
                }
            }
        }
    };
}
pub(crate) use names;

//! Enums whose values are counted by the programs and named in metrics.

/// Declares such an enum: `ALL` in the order of the counters, `COUNT`, `index` and
/// `label`.
macro_rules! labelled {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$doc:meta])* $value:ident = $label:literal,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $value,)* }

        impl $name {
            /// Every one, in the order of their places in a map.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The place in a map.
            #[must_use]
            #[inline]
            pub const fn index(self) -> u32 {
                self as u32
            }

            /// The name in options, metrics, `show` and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$value => $label,)* }
            }
        }
    };
}
pub(crate) use labelled;

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::steer::Group;
    use crate::verdict::Verdict;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_and_indices_count_up() {
        macro_rules! check {
            ($name:ident) => {
                let labels: HashSet<_> = $name::ALL.iter().map(|value| value.label()).collect();
                assert_eq!(labels.len(), $name::COUNT);
                for (i, value) in $name::ALL.iter().enumerate() {
                    assert_eq!(value.index() as usize, i);
                }
            };
        }
        check!(Class);
        check!(Verdict);
        check!(Group);
    }
}
